//! Ways of giving work to connections: closed loop, open loop, all at once.

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
    statistics::{Latencies, number, rate},
};

/// Something that is done again and again, each time a little differently.
pub(crate) trait Work {
    /// Does the `number`th piece.
    async fn run(&self, number: usize, connection: &mut Connection) -> anyhow::Result<()>;
}

/// What came of a run.
pub(crate) struct Outcome {
    /// How many pieces of work were done.
    pub(crate) count: usize,
    pub(crate) started: Instant,
    pub(crate) elapsed: Duration,
    pub(crate) samples: Vec<Sample>,
}

impl Outcome {
    /// Pieces of work a second.
    pub(crate) fn rate(&self) -> f64 {
        rate(self.count, self.elapsed)
    }

    /// Of all requests.
    pub(crate) fn latencies(&self) -> Latencies {
        Latencies::of(&self.samples)
    }

    /// How long all of it took, in milliseconds.
    pub(crate) fn milliseconds(&self) -> f64 {
        self.elapsed.as_secs_f64() * 1_000.0
    }

    /// Whether some of it was given up.
    pub(crate) fn is_stopped(&self) -> bool {
        self.samples.len() < self.count
    }
}

/// Does all the work over so many connections, each taking the next piece as soon as its last one is done.
pub(crate) async fn closed<W: Work + 'static>(
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
                let number = next.replace(next.get() + 1);
                if number >= count {
                    return anyhow::Ok(connection.samples);
                }
                work.run(number, &mut connection).await?;
            }
        });
    }
    collect(tasks, count, started, Duration::MAX).await
}

/// Starts pieces of work at instants that don't depend on how fast the ones before are answered. Latencies count from
/// those instants, so that what waits for a free connection is seen to wait.
pub(crate) async fn open<W: Work + 'static>(
    work: &Rc<W>,
    addresses: &Addresses,
    connections: usize,
    schedule: &Schedule,
) -> anyhow::Result<Outcome> {
    let opened = open_all(addresses, connections).await?;
    let schedule = Rc::new(schedule.clone());
    let count = schedule.count();
    let arrived = Arc::new(Semaphore::new(0));
    let next = Rc::new(Cell::new(0));
    let started = Instant::now() + Duration::from_millis(5);
    let pacer = pace(started, (*schedule).clone(), Arc::clone(&arrived));
    let mut tasks = JoinSet::new();
    for mut connection in opened {
        let (work, next, schedule) = (Rc::clone(work), Rc::clone(&next), Rc::clone(&schedule));
        let arrived = Arc::clone(&arrived);
        tasks.spawn_local(async move {
            while next.get() < count {
                arrived.acquire().await?.forget();
                let number = next.replace(next.get() + 1);
                if number >= count {
                    break;
                }
                connection.due = Some(started + schedule.instant(number));
                work.run(number, &mut connection).await?;
                if number + 1 == count {
                    // Nothing comes any more: whoever still waits goes home.
                    arrived.add_permits(Semaphore::MAX_PERMITS / 2);
                }
            }
            anyhow::Ok(connection.samples)
        });
    }
    let outcome = collect(tasks, count, started, Duration::MAX).await;
    let _ = pacer.join();
    outcome
}

/// A thread of its own, since the runtime's timer has a grain of a millisecond.
fn pace(started: Instant, schedule: Schedule, arrived: Arc<Semaphore>) -> std::thread::JoinHandle<()> {
    const GRAIN: Duration = Duration::from_micros(200);
    std::thread::spawn(move || {
        let mut sent = 0;
        while sent < schedule.count() {
            let due = started + schedule.instant(sent);
            std::thread::sleep(due.saturating_duration_since(Instant::now()).max(GRAIN));
            let now = Instant::now().saturating_duration_since(started);
            let until = schedule.due_by(now);
            if until > sent {
                arrived.add_permits(until - sent);
                sent = until;
            }
        }
    })
}

/// When pieces of work start: one rate after another, each for a time.
#[derive(Clone, Debug)]
pub(crate) struct Schedule(Vec<(f64, Duration)>);

impl Schedule {
    /// So many a second, for so long; then the next.
    pub(crate) fn new(steps: Vec<(f64, Duration)>) -> Self {
        Self(steps)
    }

    /// One rate.
    pub(crate) fn steady(rate: f64, time: Duration) -> Self {
        Self(vec![(rate, time)])
    }

    /// How many pieces there are in all.
    pub(crate) fn count(&self) -> usize {
        self.0.iter().map(|(rate, time)| whole(rate * time.as_secs_f64())).sum()
    }

    /// How long after the start the `number`th piece is due.
    fn instant(&self, mut number: usize) -> Duration {
        let mut begun = Duration::ZERO;
        for (rate, time) in &self.0 {
            let count = whole(rate * time.as_secs_f64());
            if number < count {
                return begun + Duration::from_secs_f64(number_of(number) / rate);
            }
            number -= count;
            begun += *time;
        }
        begun
    }

    /// How many pieces are due by then.
    fn due_by(&self, mut now: Duration) -> usize {
        let mut due = 0;
        for (rate, time) in &self.0 {
            let count = whole(rate * time.as_secs_f64());
            due += count.min(whole(rate * now.as_secs_f64()) + 1);
            if now < *time {
                break;
            }
            now -= *time;
        }
        due
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate times a time: small, positive")]
fn whole(value: f64) -> usize {
    value as usize
}

use number as number_of;

/// Does so many pieces of work at the same instant, each over a connection of its own, and waits until all are answered.
pub(crate) async fn burst<W: Work + 'static>(
    work: &Rc<W>,
    addresses: &Addresses,
    count: usize,
) -> anyhow::Result<Outcome> {
    burst_within(work, addresses, count, Duration::MAX).await
}

/// The same, but what isn't answered in time is given up.
pub(crate) async fn burst_within<W: Work + 'static>(
    work: &Rc<W>,
    addresses: &Addresses,
    count: usize,
    time: Duration,
) -> anyhow::Result<Outcome> {
    let opened = open_all(addresses, count).await?;
    let barrier = Rc::new(Barrier::new(count + 1));
    let mut tasks = JoinSet::new();
    for (number, mut connection) in opened.into_iter().enumerate() {
        let (work, barrier) = (Rc::clone(work), Rc::clone(&barrier));
        tasks.spawn_local(async move {
            barrier.wait().await;
            work.run(number, &mut connection).await?;
            anyhow::Ok(connection.samples)
        });
    }
    barrier.wait().await;
    collect(tasks, count, Instant::now(), time).await
}

async fn open_all(addresses: &Addresses, connections: usize) -> anyhow::Result<Vec<Connection>> {
    let mut opened = Vec::with_capacity(connections);
    for turn in 0..connections {
        opened.push(Connection::open(addresses, turn).await?);
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
    // What isn't done in time ends with the set of tasks.
    if let Ok(result) = tokio::time::timeout(time, all).await {
        result?;
    }
    Ok(Outcome { count, started, elapsed: started.elapsed(), samples })
}
