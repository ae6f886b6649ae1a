//! Load generation: closed loop, open loop, and a burst of concurrent requests.

use std::{
    cell::Cell,
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    sync::{Barrier, Semaphore},
    task::JoinSet,
};

use crate::{
    client::{Addresses, Connection, Sample},
    statistics::{Latencies, rate, to_f64},
};

/// A repeatable unit of work, parameterised by its index.
pub(crate) trait Workload {
    /// Does the unit of work with this index, counted from 0.
    async fn run(&self, index: usize, connection: &mut Connection) -> anyhow::Result<()>;
}

/// The result of a run.
pub(crate) struct Outcome {
    /// Units of work that were started.
    pub(crate) count: usize,
    pub(crate) started: Instant,
    pub(crate) elapsed: Duration,
    pub(crate) samples: Vec<Sample>,
}

impl Outcome {
    /// Units of work per second.
    pub(crate) fn rate(&self) -> f64 {
        rate(self.count, self.elapsed)
    }

    pub(crate) fn latencies(&self) -> Latencies {
        Latencies::from_samples(&self.samples)
    }

    /// The duration of the run, in milliseconds.
    pub(crate) fn milliseconds(&self) -> f64 {
        self.elapsed.as_secs_f64() * 1_000.0
    }

    /// Whether a timeout stopped some of the work.
    pub(crate) fn is_stopped(&self) -> bool {
        self.samples.len() < self.count
    }
}

/// Runs a closed loop: each connection starts the next unit of work as soon as its last one is done.
pub(crate) async fn closed_loop<W: Workload + 'static>(
    work: &Rc<W>,
    addresses: &Addresses,
    connections: usize,
    count: usize,
) -> anyhow::Result<Outcome> {
    let opened = open_all(addresses, connections).await?;
    let next = Rc::new(Cell::new(0));
    let started = Instant::now();
    let mut tasks = JoinSet::new();
    for mut connection in opened {
        let (work, next) = (Rc::clone(work), Rc::clone(&next));
        tasks.spawn_local(async move {
            loop {
                let index = next.replace(next.get() + 1);
                if index >= count {
                    return anyhow::Ok(connection.samples);
                }
                work.run(index, &mut connection).await?;
            }
        });
    }
    collect(tasks, count, started, Duration::MAX).await
}

/// Runs an open loop: units of work start at scheduled instants, independent of response times. Latencies count from
/// these instants, so they include the wait for a free connection.
pub(crate) async fn open_loop<W: Workload + 'static>(
    work: &Rc<W>,
    addresses: &Addresses,
    connections: usize,
    schedule: &Schedule,
) -> anyhow::Result<Outcome> {
    let opened = open_all(addresses, connections).await?;
    let schedule = Rc::new(schedule.clone());
    let count = schedule.count();
    let due = Arc::new(Semaphore::new(0));
    let next = Rc::new(Cell::new(0));
    let started = Instant::now() + Duration::from_millis(5);
    let pacer = release_on_schedule(started, (*schedule).clone(), Arc::clone(&due));
    let mut tasks = JoinSet::new();
    for mut connection in opened {
        let (work, next, schedule) = (Rc::clone(work), Rc::clone(&next), Rc::clone(&schedule));
        let due = Arc::clone(&due);
        tasks.spawn_local(async move {
            while next.get() < count {
                due.acquire().await?.forget();
                let index = next.replace(next.get() + 1);
                if index >= count {
                    break;
                }
                connection.due_at = Some(started + schedule.due_after(index));
                work.run(index, &mut connection).await?;
                if index + 1 == count {
                    // No work follows: wake the connections that still wait, so that they end.
                    due.add_permits(Semaphore::MAX_PERMITS / 2);
                }
            }
            anyhow::Ok(connection.samples)
        });
    }
    let outcome = collect(tasks, count, started, Duration::MAX).await;
    let _ = pacer.join();
    outcome
}

/// Adds a permit for each unit of work that becomes due. It uses a thread, because the runtime's timer has a resolution
/// of a millisecond.
fn release_on_schedule(started: Instant, schedule: Schedule, due: Arc<Semaphore>) -> std::thread::JoinHandle<()> {
    const RESOLUTION: Duration = Duration::from_micros(200);
    std::thread::spawn(move || {
        let mut released = 0;
        while released < schedule.count() {
            let next = started + schedule.due_after(released);
            std::thread::sleep(next.saturating_duration_since(Instant::now()).max(RESOLUTION));
            let now = Instant::now().saturating_duration_since(started);
            let target = schedule.count_due(now);
            if target > released {
                due.add_permits(target - released);
                released = target;
            }
        }
    })
}

/// The start times of an open loop: a sequence of rates per second, each for a duration.
#[derive(Clone, Debug)]
pub(crate) struct Schedule(Vec<(f64, Duration)>);

impl Schedule {
    pub(crate) fn new(steps: Vec<(f64, Duration)>) -> Self {
        Self(steps)
    }

    /// A single rate per second.
    pub(crate) fn constant(rate: f64, time: Duration) -> Self {
        Self(vec![(rate, time)])
    }

    /// Units of work in total.
    pub(crate) fn count(&self) -> usize {
        self.0.iter().map(|(rate, time)| truncated(rate * time.as_secs_f64())).sum()
    }

    /// The time from the start until the unit of work with this index is due.
    fn due_after(&self, mut index: usize) -> Duration {
        let mut elapsed = Duration::ZERO;
        for (rate, time) in &self.0 {
            let count = truncated(rate * time.as_secs_f64());
            if index < count {
                return elapsed + Duration::from_secs_f64(to_f64(index) / rate);
            }
            index -= count;
            elapsed += *time;
        }
        elapsed
    }

    /// Units of work that are due by `now`, counted from the start.
    fn count_due(&self, mut now: Duration) -> usize {
        let mut due = 0;
        for (rate, time) in &self.0 {
            let count = truncated(rate * time.as_secs_f64());
            due += count.min(truncated(rate * now.as_secs_f64()) + 1);
            if now < *time {
                break;
            }
            now -= *time;
        }
        due
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate times a time: small, positive")]
fn truncated(value: f64) -> usize {
    value as usize
}

/// Starts `count` units of work at the same instant, each over its own connection, and waits for all responses.
pub(crate) async fn burst<W: Workload + 'static>(
    work: &Rc<W>,
    addresses: &Addresses,
    count: usize,
) -> anyhow::Result<Outcome> {
    burst_with_timeout(work, addresses, count, Duration::MAX).await
}

/// The same, but stops after `time`.
pub(crate) async fn burst_with_timeout<W: Workload + 'static>(
    work: &Rc<W>,
    addresses: &Addresses,
    count: usize,
    time: Duration,
) -> anyhow::Result<Outcome> {
    let opened = open_all(addresses, count).await?;
    let barrier = Rc::new(Barrier::new(count + 1));
    let mut tasks = JoinSet::new();
    for (index, mut connection) in opened.into_iter().enumerate() {
        let (work, barrier) = (Rc::clone(work), Rc::clone(&barrier));
        tasks.spawn_local(async move {
            barrier.wait().await;
            work.run(index, &mut connection).await?;
            anyhow::Ok(connection.samples)
        });
    }
    barrier.wait().await;
    collect(tasks, count, Instant::now(), time).await
}

async fn open_all(addresses: &Addresses, connections: usize) -> anyhow::Result<Vec<Connection>> {
    let mut opened = Vec::with_capacity(connections);
    for index in 0..connections {
        opened.push(Connection::open(addresses, index).await?);
    }
    Ok(opened)
}

async fn collect(
    mut tasks: JoinSet<anyhow::Result<Vec<Sample>>>,
    count: usize,
    started: Instant,
    time: Duration,
) -> anyhow::Result<Outcome> {
    let mut samples = Vec::new();
    let all = async {
        while let Some(result) = tasks.join_next().await {
            samples.extend(result??);
        }
        anyhow::Ok(())
    };
    // Dropping the set of tasks aborts the rest.
    if let Ok(result) = tokio::time::timeout(time, all).await {
        result?;
    }
    Ok(Outcome { count, started, elapsed: started.elapsed(), samples })
}
