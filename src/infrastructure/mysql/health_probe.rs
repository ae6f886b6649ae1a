//! The health probe of the database: a circuit breaker, and the measurement of the clock's skew.
//!
//! A connection of its own queries the database a few times a second. When the database hangs, stops or can't be
//! reached, callers fail at once instead of each waiting for a timeout. They succeed again once it answers. A database
//! that answers with an error (read-only, too many connections) counts as available: the statement's caller handles the
//! error.
//!
//! The query reads the database's time. An instance whose clock differs too much from it makes no decisions
//! ([`ClockCheck`]).

use std::time::{Duration, Instant as Stopwatch};

use chrono::NaiveDateTime;
use sqlx::{
    Connection, Error, Row,
    mysql::{MySqlConnectOptions, MySqlConnection},
};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

use crate::domain::clock::ClockCheck;

/// The pause between probes while the database answers.
const PROBE_INTERVAL: Duration = Duration::from_millis(250);

/// The pause between probes while it doesn't.
const UNAVAILABLE_PROBE_INTERVAL: Duration = Duration::from_millis(100);

/// Without an answer for this long the database counts as unavailable. A busy disk delays an answer for less.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// A reading of the clock with a longer round trip is ignored: the instant of the reading is too uncertain.
const MAX_ROUND_TRIP: Duration = Duration::from_secs(1);

/// The longest wait for the first reading of the clock. A database that answers has almost always given one by then.
const FIRST_READING_TIMEOUT: Duration = Duration::from_secs(5);

const READ_CLOCK: &str = "SELECT UTC_TIMESTAMP(6)";

/// Whether the last probe found the database available. Clones share the state.
#[derive(Clone, Debug)]
pub struct HealthProbe {
    unavailable: watch::Sender<bool>,
    has_read_clock: watch::Sender<bool>,
}

impl Default for HealthProbe {
    /// Before [`run`](Self::run) the database counts as available.
    fn default() -> Self {
        Self { unavailable: watch::Sender::new(false), has_read_clock: watch::Sender::new(false) }
    }
}

impl HealthProbe {
    /// Probes until it is cancelled, and compares the database's clock with this instance's.
    pub async fn run(&self, options: MySqlConnectOptions, clock: &ClockCheck) {
        let mut connection = None;
        let mut is_right = true;
        loop {
            let answers = match probe(&mut connection, &options, clock).await {
                ProbeResult::ConnectionLost => !matches!(
                    probe(&mut connection, &options, clock).await,
                    ProbeResult::ConnectionLost | ProbeResult::NoAnswer
                ),
                ProbeResult::Alive => true,
                ProbeResult::NoAnswer => false,
            };
            if self.unavailable.send_if_modified(|unavailable| std::mem::replace(unavailable, !answers) == answers) {
                metrics::gauge!("database_away").set(if answers { 0.0 } else { 1.0 });
                if answers {
                    tracing::info!("the database answers again");
                } else {
                    tracing::error!("the database doesn't answer: requests that need it fail at once");
                }
            }
            report_clock(clock, &mut is_right);
            self.has_read_clock.send_replace(clock.has_reading());
            sleep(if answers { PROBE_INTERVAL } else { UNAVAILABLE_PROBE_INTERVAL }).await;
        }
    }

    /// Waits for the first reading of the database's clock. Returns without one if the database is unavailable, or if
    /// it answers with errors or too slowly for five seconds.
    pub async fn wait_for_clock_reading(&self) {
        let mut has_read_clock = self.has_read_clock.subscribe();
        tokio::select! {
            _ = has_read_clock.wait_for(|has_read| *has_read) => {}
            () = self.wait_until_unavailable() => {}
            () = sleep(FIRST_READING_TIMEOUT) => {}
        }
    }

    pub(super) fn is_unavailable(&self) -> bool {
        *self.unavailable.borrow()
    }

    /// Returns as soon as the database is unavailable.
    pub(super) async fn wait_until_unavailable(&self) {
        let mut unavailable = self.unavailable.subscribe();
        // The wait fails only without a sender, and `self` is one.
        let _ = unavailable.wait_for(|unavailable| *unavailable).await;
    }
}

enum ProbeResult {
    /// The database answered, possibly with an error.
    Alive,
    /// An established connection failed. Another connection may still work.
    ConnectionLost,
    /// No connection could be made, or no answer came in time.
    NoAnswer,
}

/// Records the clock's lead in a metric, and logs when the clock becomes wrong or right.
fn report_clock(clock: &ClockCheck, was_right: &mut bool) {
    let Some(lead) = clock.lead() else { return };
    metrics::gauge!("clock_ahead_seconds").set(lead.as_seconds_f64());
    let (is_right, ahead_seconds) = (clock.is_right(), lead.as_seconds_f64());
    if std::mem::replace(was_right, is_right) == is_right {
        return;
    }
    if is_right {
        tracing::info!(ahead_seconds, "this instance's clock agrees with the database's again");
    } else {
        tracing::error!(ahead_seconds, "this instance's clock is too far from the database's: it makes no decisions");
    }
}

async fn probe(
    connection: &mut Option<MySqlConnection>,
    options: &MySqlConnectOptions,
    clock: &ClockCheck,
) -> ProbeResult {
    let had_connection = connection.is_some();
    let probing = async {
        let connection = match connection {
            Some(connection) => connection,
            None => connection.insert(MySqlConnection::connect_with(options).await?),
        };
        let started = Stopwatch::now();
        let row = sqlx::raw_sql(READ_CLOCK).fetch_one(connection).await?;
        let took = started.elapsed();
        if took <= MAX_ROUND_TRIP {
            clock.record_reading(row.try_get::<NaiveDateTime, _>(0)?.and_utc(), started + took / 2);
        }
        Ok(())
    };
    match timeout(PROBE_TIMEOUT, probing).await {
        Ok(Ok(()) | Err(Error::Database(_))) => ProbeResult::Alive,
        Ok(Err(_)) => {
            *connection = None;
            if had_connection { ProbeResult::ConnectionLost } else { ProbeResult::NoAnswer }
        }
        Err(_) => {
            *connection = None;
            ProbeResult::NoAnswer
        }
    }
}
