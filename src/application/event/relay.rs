//! The relay: dispatches events to their destinations, and runs the workers that deliver them.
//!
//! Each instance has a relay, and relays share the work through the database alone. Dispatching writes one delivery per
//! event and destination. It happens after the transaction of the change, so the cost of a sale doesn't depend on the
//! number of receivers. Each receiver has its own [worker](super::worker), so a slow one delays no other.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::{
    sync::Notify,
    task::{AbortHandle, JoinSet},
    time::{Instant as Stopwatch, sleep},
};
use tokio_util::sync::CancellationToken;

use super::{
    deliveries::Deliveries,
    pause::{POLL_INTERVAL, after_failure},
    worker::Worker,
};
use crate::{
    application::{Ports, error::AppError},
    domain::event::{Destination, EventSender, NewDelivery, Receiver, RetryPolicy, Undispatched},
};

/// The most events that one transaction dispatches.
const DISPATCH_BATCH: u32 = 500;

/// The time for which the relay waits after a commit, so that a busy sale's events are dispatched in batches.
const COALESCING_DELAY: Duration = Duration::from_millis(20);

/// The interval between reads of the receivers.
const RECEIVER_REFRESH_INTERVAL: Duration = Duration::from_secs(1);

/// The interval between counts of the backlog, and the most deliveries that one counts.
const BACKLOG_INTERVAL: Duration = Duration::from_secs(5);
const MAX_COUNTED_BACKLOG: u32 = 100_000;

/// Dispatches and delivers events.
pub struct EventRelay {
    ports: Ports,
    deliveries: Arc<Deliveries>,
}

impl EventRelay {
    /// A relay that sends through `sender`. A transaction that takes longer than `transaction_timeout` hangs on a
    /// silent connection, and is repeated on another one.
    pub fn new(ports: Ports, sender: Arc<dyn EventSender>, retry: RetryPolicy, transaction_timeout: Duration) -> Self {
        let deliveries = Deliveries::new(ports.clone(), sender, retry, transaction_timeout);
        Self { deliveries: Arc::new(deliveries), ports }
    }

    /// Dispatches and delivers events until `stop` is cancelled. Then it waits up to five seconds for requests in
    /// flight, and releases the leases of the others.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut workers = Workers::new(Arc::clone(&self.deliveries), stop.child_token());
        let mut pause = POLL_INTERVAL;
        while !stop.is_cancelled() {
            match self.run_tick(&mut workers).await {
                Ok(true) => {}
                Ok(false) => {
                    pause = POLL_INTERVAL;
                    stop.run_until_cancelled(self.wait_for_events()).await;
                }
                Err(error) => {
                    metrics::counter!("job_failures_total", "name" => "relay").increment(1);
                    tracing::warn!(error = &error as &dyn std::error::Error, "events could not be dispatched");
                    pause = after_failure(pause);
                    stop.run_until_cancelled(sleep(pause)).await;
                }
            }
        }
        workers.finish().await;
    }

    /// Dispatches a batch, and starts and stops workers. Returns whether more events may be undispatched.
    async fn run_tick(&self, workers: &mut Workers) -> Result<bool, AppError> {
        if is_due(&mut workers.assigned_at, RECEIVER_REFRESH_INTERVAL) {
            workers.reconcile_workers(self.deliveries.on_connection(self.receivers()).await?);
        }
        if is_due(&mut workers.measured_at, BACKLOG_INTERVAL) {
            self.deliveries.on_connection(self.record_backlog()).await?;
        }
        let dispatched = self.deliveries.on_connection(self.dispatch()).await?;
        if dispatched > 0 {
            workers.wake();
        }
        Ok(dispatched >= DISPATCH_BATCH)
    }

    /// Dispatches every event, attempts every due delivery, and waits for the outcomes.
    ///
    /// # Errors
    ///
    /// Those of [every use case](crate::application) alone: a failed delivery is no error.
    pub async fn run_once(&self) -> Result<(), AppError> {
        while self.deliveries.on_connection(self.dispatch()).await? > 0 {}
        for receiver in self.deliveries.on_connection(self.receivers()).await? {
            let deliveries = Arc::clone(&self.deliveries);
            Worker::new(deliveries, receiver, Arc::default(), CancellationToken::new()).run_until_idle().await?;
        }
        Ok(())
    }

    /// Dispatches a batch of events to their receivers. Returns the number of events.
    async fn dispatch(&self) -> Result<u32, AppError> {
        if !self.ports.database.read().await?.outbox().has_undispatched().await? {
            return Ok(0);
        }
        let now = self.ports.now();
        let mut uow = self.ports.database.begin().await?;
        let events = uow.outbox().claim_undispatched(DISPATCH_BATCH).await?;
        // Read after the events, so that every receiver that was registered before an event is included.
        let receivers = self.ports.receivers.list(&mut *uow).await?;
        let delivery = |receiver: &Receiver, event: &Undispatched| NewDelivery {
            event_id: event.id,
            destination: receiver.destination,
            at: event.at,
        };
        let deliveries: Vec<_> = receivers
            .iter()
            .flat_map(|receiver| {
                events
                    .iter()
                    .filter(|event| receiver.subscribes_to(&event.kind))
                    .map(move |event| delivery(receiver, event))
            })
            .collect();
        uow.deliveries().insert(&deliveries, now).await?;
        let ids: Vec<_> = events.iter().map(|event| event.id).collect();
        uow.outbox().mark_dispatched(&ids, now).await?;
        uow.commit().await?;
        Ok(u32::try_from(ids.len()).unwrap_or(u32::MAX))
    }

    async fn receivers(&self) -> Result<Vec<Receiver>, AppError> {
        Ok(self.ports.receivers.list(&mut *self.ports.database.read().await?).await?)
    }

    async fn record_backlog(&self) -> Result<(), AppError> {
        let backlog = self.ports.database.read().await?.deliveries().backlog(MAX_COUNTED_BACKLOG).await?;
        let lag = backlog.oldest.map_or(0, |at| (self.ports.now() - at).num_milliseconds().max(0));
        #[expect(clippy::cast_precision_loss, reason = "a gauge is a float, and these are small")]
        {
            metrics::gauge!("outbox_lag_seconds").set(lag as f64 / 1_000.0);
            metrics::gauge!("outbox_pending").set(backlog.pending as f64);
            metrics::gauge!("outbox_parked").set(backlog.parked as f64);
        }
        Ok(())
    }

    /// Waits until events may be undispatched.
    async fn wait_for_events(&self) {
        tokio::select! {
            () = self.ports.event_written.notified() => sleep(COALESCING_DELAY).await,
            () = sleep(POLL_INTERVAL) => {}
        }
    }
}

fn is_due(last: &mut Option<Stopwatch>, every: Duration) -> bool {
    let due = last.is_none_or(|last| last.elapsed() >= every);
    if due {
        *last = Some(Stopwatch::now());
    }
    due
}

/// The relay's handle to a running worker.
struct WorkerHandle {
    wake: Arc<Notify>,
    stop: CancellationToken,
    task: AbortHandle,
}

/// The workers of one instance.
struct Workers {
    deliveries: Arc<Deliveries>,
    stop: CancellationToken,
    handles: HashMap<Destination, WorkerHandle>,
    tasks: JoinSet<()>,
    /// The time of the last read of the receivers.
    assigned_at: Option<Stopwatch>,
    /// The time of the last count of the backlog.
    measured_at: Option<Stopwatch>,
}

impl Workers {
    fn new(deliveries: Arc<Deliveries>, stop: CancellationToken) -> Self {
        Self { deliveries, stop, handles: HashMap::new(), tasks: JoinSet::new(), assigned_at: None, measured_at: None }
    }

    /// Starts a worker for each receiver without one, and stops the workers whose receiver no longer exists.
    fn reconcile_workers(&mut self, receivers: Vec<Receiver>) {
        self.handles.retain(|destination, handle| {
            let stays = receivers.iter().any(|receiver| receiver.destination == *destination);
            if !stays {
                handle.stop.cancel();
            }
            stays && !handle.task.is_finished()
        });
        for receiver in receivers {
            let (deliveries, stop) = (&self.deliveries, &self.stop);
            self.handles.entry(receiver.destination).or_insert_with(|| {
                let (wake, stop) = (Arc::new(Notify::new()), stop.child_token());
                let worker = Worker::new(Arc::clone(deliveries), receiver, Arc::clone(&wake), stop.clone());
                let task = self.tasks.spawn(worker.run());
                WorkerHandle { wake, stop, task }
            });
        }
        while self.tasks.try_join_next().is_some() {}
    }

    fn wake(&self) {
        for handle in self.handles.values() {
            handle.wake.notify_one();
        }
    }

    async fn finish(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}
