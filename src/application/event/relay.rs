//! The relay: hands events out to their destinations, and sends them.
//!
//! Every instance has one, and they share the work through the database alone. Handing out writes one delivery per
//! event and destination, away from the transaction of the change: a sale costs nothing more, however many receivers
//! there are. Each destination has a worker of its own ([`worker`](super::worker)), so none waits for another.

use std::{collections::HashMap, sync::Arc, time::Duration};

use tokio::{
    sync::{Notify, Semaphore, SemaphorePermit},
    task::{AbortHandle, JoinSet},
    time::{Instant as Stopwatch, sleep},
};
use tokio_util::sync::CancellationToken;

use super::worker::Worker;
use crate::{
    application::{Ports, error::AppError},
    domain::{
        event::{Destination, EventSender, NewDelivery, Receiver, RetryPolicy, SigningSecret, Undispatched},
        randomness::below,
        repository_error::RepositoryError,
        unit_of_work::Repositories,
    },
};

/// How many events are handed out in one transaction.
const DISPATCH_BATCH: u32 = 500;

/// How often it is looked for what other instances have written, and for what is due again.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// The longest pause after failures.
pub(super) const MAX_PAUSE: Duration = Duration::from_secs(5);

/// How long events gather after a commit, so that a busy sale is handed out by the batch.
const COALESCING_DELAY: Duration = Duration::from_millis(20);

/// How often the receivers are read.
const RECEIVER_REFRESH_INTERVAL: Duration = Duration::from_secs(1);

/// How often the backlog is counted, and how far.
const BACKLOG_INTERVAL: Duration = Duration::from_secs(5);
const MAX_COUNTED_BACKLOG: u32 = 100_000;

/// How many connections the relay uses at once, whatever the number of receivers: the others are the requests'.
const MAX_CONNECTIONS: usize = 2;

/// How events are sent.
#[derive(Clone, Debug)]
pub struct RelaySettings {
    /// Where the data platform listens, if there is one.
    pub data_platform: Option<String>,
    /// What its events are signed with, if they are.
    pub data_platform_secret: Option<SigningSecret>,
    /// How often an event is tried.
    pub retry: RetryPolicy,
}

/// Use cases of sending events.
pub struct EventRelay {
    pub(super) ports: Ports,
    pub(super) sender: Arc<dyn EventSender>,
    pub(super) settings: RelaySettings,
    connections: Semaphore,
}

impl EventRelay {
    /// Sends through `sender`.
    pub fn new(ports: Ports, sender: Arc<dyn EventSender>, settings: RelaySettings) -> Self {
        Self { ports, sender, settings, connections: Semaphore::new(MAX_CONNECTIONS) }
    }

    /// Sends until `stop` is cancelled; then what is under way is finished, or given back.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut workers = Workers::new(Arc::clone(&self), stop.child_token());
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
                    tracing::warn!(error = &error as &dyn std::error::Error, "events could not be handed out");
                    pause = (pause * 2).min(MAX_PAUSE);
                    stop.run_until_cancelled(sleep(pause)).await;
                }
            }
        }
        workers.finish().await;
    }

    /// Hands out a batch, and sees to it that every receiver has a worker; tells whether there may be more at once.
    async fn run_tick(&self, workers: &mut Workers) -> Result<bool, AppError> {
        if is_due(&mut workers.assigned_at, RECEIVER_REFRESH_INTERVAL) {
            workers.reconcile_workers(self.receivers().await?);
        }
        if is_due(&mut workers.measured_at, BACKLOG_INTERVAL) {
            self.record_backlog().await?;
        }
        let dispatched = self.dispatch().await?;
        if dispatched > 0 {
            workers.wake();
        }
        Ok(dispatched >= DISPATCH_BATCH)
    }

    /// Hands out and sends everything that is due, and waits for what comes of it.
    pub async fn run_once(self: &Arc<Self>) -> Result<(), AppError> {
        while self.dispatch().await? > 0 {}
        for receiver in self.receivers().await? {
            Worker::new(Arc::clone(self), receiver, Arc::default(), CancellationToken::new()).run_until_idle().await?;
        }
        Ok(())
    }

    /// Hands a batch of events out to those who are to get them, and tells how many it was.
    async fn dispatch(&self) -> Result<u32, AppError> {
        let _permit = self.acquire_connection_permit().await;
        if !self.ports.database.read().await?.outbox().has_undispatched().await? {
            return Ok(0);
        }
        let now = self.ports.now();
        let mut uow = self.ports.database.begin().await?;
        let events = uow.outbox().claim_undispatched(DISPATCH_BATCH).await?;
        // Read after the events: whoever was registered before one was written gets it.
        let receivers = list_receivers(&self.settings, &mut *uow).await?;
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
        let _permit = self.acquire_connection_permit().await;
        Ok(list_receivers(&self.settings, &mut *self.ports.database.read().await?).await?)
    }

    async fn record_backlog(&self) -> Result<(), AppError> {
        let _permit = self.acquire_connection_permit().await;
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

    /// Waits for something to do.
    async fn wait_for_events(&self) {
        tokio::select! {
            () = self.ports.event_written.notified() => sleep(COALESCING_DELAY).await,
            () = sleep(POLL_INTERVAL) => {}
        }
    }

    /// One of the few connections that the relay may use.
    pub(super) async fn acquire_connection_permit(&self) -> Option<SemaphorePermit<'_>> {
        self.connections.acquire().await.ok()
    }

    /// How much of a delay is waited.
    pub(super) fn jitter_percent(&self) -> u8 {
        75 + u8::try_from(below(&*self.ports.randomness, 51)).unwrap_or(0)
    }
}

async fn list_receivers(
    settings: &RelaySettings,
    repositories: &mut (impl Repositories + ?Sized),
) -> Result<Vec<Receiver>, RepositoryError> {
    let webhooks = repositories.webhooks().list_active().await?.into_iter().map(Receiver::from);
    let secret = &settings.data_platform_secret;
    let platform = settings.data_platform.iter().map(|url| Receiver::data_platform(url.clone(), secret.clone()));
    Ok(platform.chain(webhooks).collect())
}

fn is_due(last: &mut Option<Stopwatch>, every: Duration) -> bool {
    let due = last.is_none_or(|last| last.elapsed() >= every);
    if due {
        *last = Some(Stopwatch::now());
    }
    due
}

/// A worker from outside.
struct WorkerHandle {
    wake: Arc<Notify>,
    stop: CancellationToken,
    task: AbortHandle,
}

/// The workers of one instance.
struct Workers {
    relay: Arc<EventRelay>,
    stop: CancellationToken,
    handles: HashMap<Destination, WorkerHandle>,
    tasks: JoinSet<()>,
    /// When the receivers were read, and when the backlog was counted.
    assigned_at: Option<Stopwatch>,
    measured_at: Option<Stopwatch>,
}

impl Workers {
    fn new(relay: Arc<EventRelay>, stop: CancellationToken) -> Self {
        Self { relay, stop, handles: HashMap::new(), tasks: JoinSet::new(), assigned_at: None, measured_at: None }
    }

    /// Starts the workers of new receivers and of those whose worker has ended, and stops those whose receiver is no
    /// more.
    fn reconcile_workers(&mut self, receivers: Vec<Receiver>) {
        self.handles.retain(|destination, handle| {
            let stays = receivers.iter().any(|receiver| receiver.destination == *destination);
            if !stays {
                handle.stop.cancel();
            }
            stays && !handle.task.is_finished()
        });
        for receiver in receivers {
            let (relay, stop) = (&self.relay, &self.stop);
            self.handles.entry(receiver.destination).or_insert_with(|| {
                let (wake, stop) = (Arc::new(Notify::new()), stop.child_token());
                let worker = Worker::new(Arc::clone(relay), receiver, Arc::clone(&wake), stop.clone());
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
