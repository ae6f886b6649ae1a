//! The audit: whether the stored data keeps every invariant.

use std::time::Duration;

use axum::{extract::State, response::IntoResponse};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    application::audit::AuditReport,
    domain::audit::Invariant,
    interfaces::http::{
        auth::Administrator,
        problem::HandlerResult,
        state::App,
        values::{Timestamp, private_response},
    },
};

/// The time limit of an audit over HTTP.
const AUDIT_LIMIT: Duration = Duration::from_secs(20);

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(get_audit))
}

/// The result of an audit.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AuditResponse {
    /// Whether every invariant holds.
    #[schema(example = true)]
    ok: bool,
    checked_at: Timestamp,
    invariants: Vec<InvariantResponse>,
}

/// A statement about the stored data that must always hold.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct InvariantResponse {
    #[schema(example = 1)]
    number: u8,
    #[schema(example = "A seat belongs to at most one live booking.")]
    name: &'static str,
    /// The number of rows that violate the invariant.
    #[schema(example = 0)]
    violations: u64,
}

impl From<Invariant> for InvariantResponse {
    fn from(invariant: Invariant) -> Self {
        Self { number: invariant.number, name: invariant.name, violations: invariant.violations }
    }
}

impl From<AuditReport> for AuditResponse {
    fn from(report: AuditReport) -> Self {
        Self {
            ok: report.is_ok(),
            checked_at: Timestamp(report.checked_at),
            invariants: report.invariants.into_iter().map(Into::into).collect(),
        }
    }
}

/// Checks every invariant in one consistent snapshot.
///
/// An instance runs one audit at a time, for at most 20 seconds (`OVERLOADED`). The command `concert-reservation audit`
/// has no limit.
#[utoipa::path(get, path = "/admin/audit", tag = "administration", security(("accessToken" = [])),
    responses((status = 200, body = AuditResponse)))]
async fn get_audit(State(app): State<App>, _: Administrator) -> HandlerResult<impl IntoResponse> {
    Ok(private_response(AuditResponse::from(app.audit.check_within(AUDIT_LIMIT).await?)))
}
