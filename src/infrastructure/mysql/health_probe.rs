//! Whether the database answers, and what its clock shows.
//!
//! A connection of its own asks it a few times a second. So everybody knows within seconds of a server that hangs, is
//! gone or can't be reached, and is told so at once, instead of each finding out by waiting; and within a moment of its
//! return that it is back. What a database that is there says no to (it is read-only, it has no connection left) is the
//! business of whoever asked.
//!
//! What it is asked for is its time: the one statement that does so. An instance whose own clock is too far from it
//! decides nothing ([`ClockCheck`]).

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

/// How often it is asked.
const PROBE_INTERVAL: Duration = Duration::from_millis(250);

/// How often while it is away.
const UNAVAILABLE_PROBE_INTERVAL: Duration = Duration::from_millis(100);

/// How long an answer may take: longer than a disk that is busy, or a server that pauses, ever needs.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);

/// A reading of the database's clock that took longer says too little about when it was made.
const MAX_ROUND_TRIP: Duration = Duration::from_secs(1);

const READ_CLOCK: &str = "SELECT UTC_TIMESTAMP(6)";

/// Tells whether the database is away.
#[derive(Clone, Debug)]
pub struct HealthProbe {
    unavailable: watch::Sender<bool>,
}

impl Default for HealthProbe {
    /// Until it is [run](Self::run) the database counts as there.
    fn default() -> Self {
        Self { unavailable: watch::Sender::new(false) }
    }
}

impl HealthProbe {
    /// Asks for ever.
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
                    tracing::info!("the database is back");
                } else {
                    tracing::error!("the database doesn't answer: whoever needs it is turned away");
                }
            }
            report_clock(clock, &mut is_right);
            sleep(if answers { PROBE_INTERVAL } else { UNAVAILABLE_PROBE_INTERVAL }).await;
        }
    }

    pub(super) fn is_unavailable(&self) -> bool {
        *self.unavailable.borrow()
    }

    /// Returns once the database is away: at once, if it is.
    pub(super) async fn wait_until_unavailable(&self) {
        let mut unavailable = self.unavailable.subscribe();
        // The sender is here, so it isn't gone.
        let _ = unavailable.wait_for(|unavailable| *unavailable).await;
    }
}

enum ProbeResult {
    /// It is there, whatever it says.
    Alive,
    /// This connection is gone, which says little: it may have been the only one.
    ConnectionLost,
    /// Nothing is there, or it hangs.
    NoAnswer,
}

/// Measures how far the clock is off, and logs when it becomes wrong or right.
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
        tracing::error!(ahead_seconds, "this instance's clock is too far from the database's: it decides nothing");
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
