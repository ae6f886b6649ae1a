//! Whether the database answers.
//!
//! A connection of its own asks it a few times a second. So everybody knows within seconds of a server that hangs, is
//! gone or can't be reached, and is told so at once, instead of each finding out by waiting; and within a moment of its
//! return that it is back. What a database that is there says no to (it is read-only, it has no connection left) is the
//! business of whoever asked.

use std::time::Duration;

use sqlx::{
    Connection, Error,
    mysql::{MySqlConnectOptions, MySqlConnection},
};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

/// How often it is asked.
const PERIOD: Duration = Duration::from_millis(250);

/// How often while it is away.
const PERIOD_AWAY: Duration = Duration::from_millis(100);

/// How long an answer may take: longer than a disk that is busy, or a server that pauses, ever needs.
const PATIENCE: Duration = Duration::from_secs(2);

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
    pub async fn feel(&self, options: MySqlConnectOptions) {
        let mut connection = None;
        loop {
            let answers = match ask(&mut connection, &options).await {
                Answer::Lost => !matches!(ask(&mut connection, &options).await, Answer::Lost | Answer::None),
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

async fn ask(connection: &mut Option<MySqlConnection>, options: &MySqlConnectOptions) -> Answer {
    let had_one = connection.is_some();
    let asking = async {
        match connection {
            Some(connection) => connection.ping().await,
            None => MySqlConnection::connect_with(options).await.map(|new| *connection = Some(new)),
        }
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
