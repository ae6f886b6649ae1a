//! Checking the invariants.

use std::time::Duration;

use tokio::{sync::Mutex, time::timeout};

use super::{Ports, error::AppError};
use crate::domain::{audit::Invariant, clock::Instant};

/// What an audit found.
#[derive(Clone, Debug)]
pub struct AuditReport {
    /// The instant it was made for.
    pub checked_at: Instant,
    /// Each invariant with its violations.
    pub invariants: Vec<Invariant>,
}

impl AuditReport {
    /// Whether nothing was found.
    pub fn is_ok(&self) -> bool {
        self.invariants.iter().all(|invariant| invariant.violations == 0)
    }
}

/// The audit.
pub struct AuditFacade {
    ports: Ports,
    seat_limit: u32,
    /// One audit at a time: each keeps a connection busy and reads everything there is.
    turn: Mutex<()>,
}

/// How much longer the database goes on than an audit is waited for: so much that the wait ends first.
const STATEMENT_MARGIN: Duration = Duration::from_secs(1);

impl AuditFacade {
    /// Reads through these ports; a user may have `seat_limit` seats of a performance.
    pub fn new(ports: Ports, seat_limit: u32) -> Self {
        Self { ports, seat_limit, turn: Mutex::new(()) }
    }

    /// Checks every invariant in one consistent snapshot of the database, however long it takes.
    pub async fn check(&self) -> Result<AuditReport, AppError> {
        self.run(None).await
    }

    /// The same within a limit, waiting for an audit that runs already included.
    ///
    /// # Errors
    ///
    /// [`AppError::Overloaded`] when the limit is over.
    pub async fn check_within(&self, limit: Duration) -> Result<AuditReport, AppError> {
        timeout(limit, self.run(Some(limit + STATEMENT_MARGIN))).await.unwrap_or(Err(AppError::Overloaded))
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
