//! Deliveries of events.

use axum::{extract::State, http::StatusCode, response::IntoResponse};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    domain::{
        event::{DeliveryRecord, DeliveryStatus},
        id::EventId,
    },
    interfaces::http::{
        auth::Administrator,
        body::{ADMIN_MAX_BYTES, EmptyBody},
        problem::{BODY_CODES, Code, HandlerResult},
        query::{Id, PageParameters, Query, cursor, cursor_part},
        state::App,
        values::{Timestamp, private_response},
        words::DeliveryStatuses,
    },
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_events)).routes(routes!(redeliver_event))
}

/// The delivery of one event to one destination.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct DeliveryResponse {
    event_id: Uuid,
    /// An `EventType`, `code.issued` for a mailed code, or a type that another version of the server records.
    #[schema(example = "booking.held")]
    r#type: String,
    /// The id of the booking, payment, transaction of points, performance, or mailed code.
    #[schema(example = "01939e6b-0c5e-7c6e-9d0a-3f1f2a6f7b10")]
    subject: String,
    /// `data-platform`, `kafka`, `mail`, or the id of a webhook.
    #[schema(example = "data-platform")]
    destination: String,
    #[schema(value_type = DeliveryStatuses)]
    status: &'static str,
    /// The number of attempts since the event was dispatched or last redelivered.
    #[schema(example = 2)]
    attempts: u16,
    /// Why the last attempt failed.
    #[schema(example = "status 503")]
    last_error: Option<String>,
    created_at: Timestamp,
    /// The time of the next attempt; null unless the delivery is pending.
    next_attempt_at: Option<Timestamp>,
}

impl From<DeliveryRecord> for DeliveryResponse {
    fn from(record: DeliveryRecord) -> Self {
        let next_attempt_at = (record.status == DeliveryStatus::Pending).then_some(Timestamp(record.next_attempt_at));
        Self {
            event_id: record.event_id.0,
            r#type: record.kind,
            subject: record.subject,
            destination: record.destination.to_string(),
            status: record.status.name(),
            attempts: record.attempts,
            last_error: record.last_error,
            created_at: Timestamp(record.created_at),
            next_attempt_at,
        }
    }
}

/// A page of deliveries, newest event first.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct DeliveryListResponse {
    items: Vec<DeliveryResponse>,
    next_cursor: Option<String>,
}

/// Lists the deliveries of events, newest event first.
#[utoipa::path(get, path = "/admin/events", tag = "administration", security(("accessToken" = [])),
    params(
        ("status" = Option<DeliveryStatuses>, Query, description = "Only the deliveries of this status."),
        PageParameters,
    ),
    responses((status = 200, body = DeliveryListResponse)))]
async fn list_events(State(app): State<App>, _: Administrator, mut query: Query) -> HandlerResult<impl IntoResponse> {
    let status = query.choice("status");
    let request =
        query.page_of_parts(|[id, destination]| Ok((EventId(cursor_part(&id)?), cursor_part(&destination)?)))?;
    query.finish()?;
    let page = app.events.list_deliveries(status, request).await?;
    let next_cursor = page.last_of_more().map(|last| cursor(&[&last.event_id, &last.destination]));
    let items = page.items.into_iter().map(Into::into).collect();
    Ok(private_response(DeliveryListResponse { items, next_cursor }))
}

/// Redelivers an event, with the same id, to every destination that it was dispatched to.
#[utoipa::path(post, path = "/admin/events/{eventId}/redeliver", tag = "administration",
    extensions(("x-problems" = json!([BODY_CODES, Code::EVENT_NOT_FOUND]))),
    security(("accessToken" = [])), params(("eventId" = Uuid, Path)),
    responses((status = 202, description = "The deliveries are due.")))]
async fn redeliver_event(
    State(app): State<App>,
    Administrator(caller): Administrator,
    Id(id): Id<EventId>,
    _: EmptyBody<ADMIN_MAX_BYTES>,
) -> HandlerResult<StatusCode> {
    app.events.redeliver(caller.user_id, id).await?;
    Ok(StatusCode::ACCEPTED)
}
