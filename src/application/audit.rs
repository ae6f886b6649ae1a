//! Checking the invariants.

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
}

impl AuditFacade {
    /// Reads through these ports.
    pub fn new(ports: Ports) -> Self {
        Self { ports }
    }

    /// Checks every invariant in one consistent snapshot of the database.
    pub async fn check(&self) -> Result<AuditReport, AppError> {
        let checked_at = self.ports.now();
        let mut snapshot = self.ports.database.snapshot().await?;
        let invariants = snapshot.audit().check(checked_at).await?;
        for invariant in &invariants {
            let violations = u32::try_from(invariant.violations).unwrap_or(u32::MAX);
            metrics::gauge!("audit_violations", "invariant" => invariant.number.to_string()).set(violations);
        }
        Ok(AuditReport { checked_at, invariants })
    }
}
