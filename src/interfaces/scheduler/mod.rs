//! Recurring jobs: each is one facade call with a bounded batch, safe on any number of instances.
//!
//! A job that processed a full batch runs again at once; housekeeping pauses first, to leave the database to the sale.
//! A failing job backs off. All jobs stop with the server, after their current batch.

use std::{future::Future, time::Duration};

use tokio::time::{sleep, timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::http::state::App;
use crate::{
    application::{database_loss::or_unavailable, error::AppError, housekeeping::HousekeepingFacade},
    domain::randomness::below,
};

/// The most holds that one batch expires.
const EXPIRY_BATCH: u32 = 200;

/// The longest pause after failures.
const MAX_PAUSE: Duration = Duration::from_secs(5);

/// The longest run of a job. A longer one waits for a connection that the database no longer answers.
const MAX_RUN: Duration = Duration::from_mins(2);

/// The pause of housekeeping after a full batch, as a multiple of the time that the batch took.
///
/// Without a pause, removing a backlog of millions of rows halves the rate of holds and payments
/// (`docs/benchmarks/findings.md`).
const HOUSEKEEPING_REST: u32 = 4;

/// The pauses between runs. Jitter of 25 % keeps instances from running in step.
#[derive(Clone, Copy, Debug)]
pub struct SchedulerSettings {
    /// Admits waiting users.
    pub admission: Duration,
    /// Records expired holds.
    pub expiry: Duration,
    /// Reads the revocations of other instances.
    pub revocations: Duration,
    /// Settles the bookings of cancelled performances.
    pub cancellations: Duration,
    /// Queries the payment provider about due top-ups without a notification, and sends refunds.
    pub top_ups: Duration,
    /// Compares top-ups with the provider's list, once a day.
    pub reconciliation: Duration,
    /// Removes full rate-limit buckets.
    pub limits: Duration,
    /// Removes rows past their retention.
    pub housekeeping: Duration,
    /// Counts waiting and active users for the metrics.
    pub census: Duration,
}

impl Default for SchedulerSettings {
    fn default() -> Self {
        Self {
            admission: Duration::from_millis(250),
            expiry: Duration::from_millis(500),
            revocations: Duration::from_millis(250),
            cancellations: Duration::from_secs(2),
            top_ups: Duration::from_secs(1),
            reconciliation: Duration::from_mins(1),
            limits: Duration::from_secs(10),
            housekeeping: Duration::from_mins(1),
            census: Duration::from_secs(5),
        }
    }
}

/// Starts all jobs on `tasks`; they end once `stop` is cancelled.
pub fn start(
    app: &App,
    housekeeping: HousekeepingFacade,
    settings: SchedulerSettings,
    tasks: &TaskTracker,
    stop: &CancellationToken,
) {
    let jobs = Jobs { app: app.clone(), stop: stop.clone(), rest: 0 };
    tasks.spawn(jobs.clone().repeat("admission", settings.admission, |app| async move {
        app.queue.admission.admit_due().await.map(|_| false)
    }));
    tasks.spawn(jobs.clone().repeat("expiry", settings.expiry, |app| async move {
        app.bookings.expire_holds(EXPIRY_BATCH).await.map(|expired| expired >= EXPIRY_BATCH)
    }));
    tasks.spawn(jobs.clone().repeat("revocations", settings.revocations, |app| async move {
        app.users.refresh_revocations().await.map(|()| false)
    }));
    tasks.spawn(jobs.clone().repeat("cancellations", settings.cancellations, |app| async move {
        app.concerts.finish_cancellations().await
    }));
    tasks.spawn(jobs.clone().repeat("census", settings.census, |app| async move {
        app.queue.admission.measure_queue_sizes().await.map(|()| false)
    }));
    tasks.spawn(jobs.clone().repeat("top_ups", settings.top_ups, |app| async move { app.top_ups.attend_due().await }));
    tasks.spawn(jobs.clone().repeat("reconciliation", settings.reconciliation, |app| async move {
        app.top_ups.reconcile_daily().await.map(|()| false)
    }));
    tasks.spawn(jobs.clone().repeat("limits", settings.limits, |app| async move {
        app.rate_limits.forget_idle();
        app.users.forget_failed_logins();
        Ok(false)
    }));
    let housekeeping = std::sync::Arc::new(housekeeping);
    let jobs = Jobs { rest: HOUSEKEEPING_REST, ..jobs };
    tasks.spawn(jobs.repeat("housekeeping", settings.housekeeping, move |_| {
        let housekeeping = std::sync::Arc::clone(&housekeeping);
        async move { housekeeping.clean().await }
    }));
}

#[derive(Clone)]
struct Jobs {
    app: App,
    stop: CancellationToken,
    /// The pause after a full batch, as a multiple of the time that the batch took.
    rest: u32,
}

impl Jobs {
    /// Runs a job until the server stops. The job returns whether its batch was full.
    async fn repeat<F: Future<Output = Result<bool, AppError>> + Send>(
        self,
        name: &'static str,
        every: Duration,
        job: impl Fn(App) -> F + Send,
    ) {
        let mut pause = every;
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = sleep(self.jittered(pause)) => {}
            }
            // With a wrong clock no deadline can be judged. The health probe has logged it.
            if !self.app.clock_check.is_right() {
                pause = every;
                continue;
            }
            let started = tokio::time::Instant::now();
            let result = timeout(MAX_RUN, or_unavailable(&*self.app.database, job(self.app.clone()))).await;
            let result = result.unwrap_or_else(|_| {
                self.app.database.suspect_connections();
                Ok(Err(AppError::TimedOut))
            });
            let result = result.unwrap_or_else(|error| Err(error.into()));
            let elapsed = started.elapsed();
            metrics::histogram!("job_run_seconds", "name" => name).record(elapsed.as_secs_f64());
            pause = match result {
                Ok(true) => elapsed * self.rest,
                Ok(false) => every,
                // The database may be back at once, and a run without it costs nothing. The loss is logged elsewhere.
                Err(AppError::Unavailable(_)) => {
                    metrics::counter!("job_failures_total", "name" => name).increment(1);
                    every
                }
                Err(error) => {
                    metrics::counter!("job_failures_total", "name" => name).increment(1);
                    tracing::warn!(job = name, error = &error as &dyn std::error::Error, "a job failed");
                    (pause * 2).clamp(every, MAX_PAUSE.max(every))
                }
            };
        }
    }

    fn jittered(&self, pause: Duration) -> Duration {
        let percent = 75 + below(&*self.app.randomness, 51);
        pause * u32::try_from(percent).unwrap_or(100) / 100
    }
}
