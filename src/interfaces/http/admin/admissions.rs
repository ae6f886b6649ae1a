//! The use of tickets at a venue's door.

use axum::{extract::State, response::IntoResponse};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    application::ticket::AdmittedInfo,
    domain::id::PerformanceId,
    interfaces::http::{
        auth::Administrator,
        body::{AdminBody, FromBody, Object, read_optional},
        booking::BookedSeatResponse,
        problem::{Code, HandlerResult},
        state::App,
        values::{Timestamp, private_response},
    },
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(use_ticket))
}

/// A scanned ticket.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct ScanRequest {
    /// The text of the QR picture.
    #[schema(example = "AEWVWJ4UAAAAAAAAAAD2QDZ2GDC5N5EP")]
    code: String,
    /// The performance of this door. A ticket of another performance is refused, and stays unused.
    #[schema(value_type = Option<u64>, minimum = 1, example = 1)]
    performance_id: Option<PerformanceId>,
}

impl FromBody for ScanRequest {
    fn read(object: &Object<'_>) -> Option<Self> {
        let code = object.required("code").and_then(|field| field.text());
        let performance_id = read_optional(object.optional("performanceId"), |field| field.catalogue_id());
        Some(Self { code: code?, performance_id: performance_id?.map(PerformanceId) })
    }
}

/// The ticket that was used.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct AdmissionResponse {
    ticket_id: Uuid,
    booking_id: Uuid,
    performance_id: u64,
    seat: BookedSeatResponse,
    admitted_at: Timestamp,
}

impl From<AdmittedInfo> for AdmissionResponse {
    fn from(info: AdmittedInfo) -> Self {
        Self {
            ticket_id: info.ticket_id.0,
            booking_id: info.booking_id.0,
            performance_id: info.performance_id.0,
            seat: (&info.seat).into(),
            admitted_at: Timestamp(info.admitted_at),
        }
    }
}

/// Uses a ticket at a door, once.
///
/// Of two doors that scan a ticket at once, one succeeds. The owner of a used ticket can't cancel its booking any more.
#[utoipa::path(post, path = "/admin/admissions", tag = "administration", security(("accessToken" = [])),
    extensions(("x-problems" = json!([
        Code::TICKET_NOT_FOUND, Code::TICKET_ALREADY_USED, Code::TICKET_NOT_VALID,
    ]))),
    request_body = ScanRequest,
    responses((status = 200, body = AdmissionResponse)))]
async fn use_ticket(
    State(app): State<App>,
    Administrator(caller): Administrator,
    AdminBody { value, .. }: AdminBody<ScanRequest>,
) -> HandlerResult<impl IntoResponse> {
    let admitted = app.tickets.scan(caller.user_id, &value.code, value.performance_id).await?;
    Ok(private_response(AdmissionResponse::from(admitted)))
}
