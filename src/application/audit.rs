//! The audit of the invariants.

use std::time::Duration;

use tokio::{sync::Mutex, time::timeout};

use super::{Ports, error::AppError};
use crate::domain::{audit::Invariant, clock::Instant};

/// The result of an audit.
#[derive(Clone, Debug)]
pub struct AuditReport {
    /// The instant for which the invariants were checked.
    pub checked_at: Instant,
    /// Every invariant with the number of its violations.
    pub invariants: Vec<Invariant>,
}

impl AuditReport {
    /// Whether every invariant holds.
    pub fn is_ok(&self) -> bool {
        self.invariants.iter().all(|invariant| invariant.violations == 0)
    }
}

/// Checks the invariants.
pub struct AuditFacade {
    ports: Ports,
    seat_limit: u32,
    /// One audit at a time: it occupies a connection and reads the whole database.
    turn: Mutex<()>,
}

/// The time by which the database's limit exceeds the caller's, so that the caller's limit ends first.
const STATEMENT_MARGIN: Duration = Duration::from_secs(1);

impl AuditFacade {
    /// An audit of the rule that a user has at most `seat_limit` live seats of a performance, among others.
    pub fn new(ports: Ports, seat_limit: u32) -> Self {
        Self { ports, seat_limit, turn: Mutex::new(()) }
    }

    /// Checks every invariant in one consistent snapshot of the database, without a time limit.
    ///
    /// # Errors
    ///
    /// Those of [every use case](crate::application) alone.
    pub async fn check(&self) -> Result<AuditReport, AppError> {
        self.run(None).await
    }

    /// Checks every invariant within a time limit, which includes the wait for an audit that runs already.
    ///
    /// # Errors
    ///
    /// [`AppError::TimedOut`] once the limit has passed.
    pub async fn check_within(&self, limit: Duration) -> Result<AuditReport, AppError> {
        timeout(limit, self.run(Some(limit + STATEMENT_MARGIN))).await.unwrap_or(Err(AppError::TimedOut))
    }

    async fn run(&self, limit: Option<Duration>) -> Result<AuditReport, AppError> {
        let _turn = self.turn.lock().await;
        let checked_at = self.ports.now();
        let mut snapshot = self.ports.database.snapshot().await?;
        let invariants = snapshot.audit().check(checked_at, self.seat_limit, limit).await?;
        for invariant in &invariants {
            let violations = u32::try_from(invariant.violations).unwrap_or(u32::MAX);
            metrics::gauge!("audit_violations", "invariant" => invariant.number.to_string()).set(violations);
        }
        Ok(AuditReport { checked_at, invariants })
    }
}
