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
const PERIOD: Duration = Duration::from_millis(250);

/// How often while it is away.
const PERIOD_AWAY: Duration = Duration::from_millis(100);

/// How long an answer may take: longer than a disk that is busy, or a server that pauses, ever needs.
const PATIENCE: Duration = Duration::from_secs(2);

/// A reading of the database's clock that took longer says too little about when it was made.
const PRECISE: Duration = Duration::from_secs(1);

const TIME: &str = "SELECT UTC_TIMESTAMP(6)";

/// Tells whether the database is away.
#[derive(Clone, Debug)]
pub struct Pulse {
    away: watch::Sender<bool>,
}

impl Default for Pulse {
    /// Until it is [felt](Self::feel) the database counts as there.
    fn default() -> Self {
        Self { away: watch::Sender::new(false) }
    }
}

impl Pulse {
    /// Asks for ever.
    pub async fn feel(&self, options: MySqlConnectOptions, clock: &ClockCheck) {
        let mut connection = None;
        let mut is_right = true;
        loop {
            let answers = match ask(&mut connection, &options, clock).await {
                Answer::Lost => !matches!(ask(&mut connection, &options, clock).await, Answer::Lost | Answer::None),
                Answer::Some => true,
                Answer::None => false,
            };
            if self.away.send_if_modified(|away| std::mem::replace(away, !answers) == answers) {
                metrics::gauge!("database_away").set(if answers { 0.0 } else { 1.0 });
                if answers {
                    tracing::info!("the database is back");
                } else {
                    tracing::error!("the database doesn't answer: whoever needs it is turned away");
                }
            }
            report_clock(clock, &mut is_right);
            sleep(if answers { PERIOD } else { PERIOD_AWAY }).await;
        }
    }

    pub(super) fn is_away(&self) -> bool {
        *self.away.borrow()
    }

    /// Returns once the database is away: at once, if it is.
    pub(super) async fn stopped(&self) {
        let mut away = self.away.subscribe();
        // The sender is here, so it isn't gone.
        let _ = away.wait_for(|away| *away).await;
    }
}

enum Answer {
    /// It is there, whatever it says.
    Some,
    /// This connection is gone, which says little: it may have been the only one.
    Lost,
    /// Nothing is there, or it hangs.
    None,
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

async fn ask(connection: &mut Option<MySqlConnection>, options: &MySqlConnectOptions, clock: &ClockCheck) -> Answer {
    let had_one = connection.is_some();
    let asking = async {
        let connection = match connection {
            Some(connection) => connection,
            None => connection.insert(MySqlConnection::connect_with(options).await?),
        };
        let started = Stopwatch::now();
        let row = sqlx::raw_sql(TIME).fetch_one(connection).await?;
        let took = started.elapsed();
        if took <= PRECISE {
            clock.record_reading(row.try_get::<NaiveDateTime, _>(0)?.and_utc(), started + took / 2);
        }
        Ok(())
    };
    match timeout(PATIENCE, asking).await {
        Ok(Ok(()) | Err(Error::Database(_))) => Answer::Some,
        Ok(Err(_)) => {
            *connection = None;
            if had_one { Answer::Lost } else { Answer::None }
        }
        Err(_) => {
            *connection = None;
            Answer::None
        }
    }
}
