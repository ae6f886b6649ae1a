//! The settings of a concert's queue.

use axum::{extract::State, response::IntoResponse};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    application::concert::QueueInfo,
    domain::{
        clock::Instant,
        id::ConcertId,
        queue::{QueueMode, QueueSettings},
    },
    interfaces::http::{
        auth::Administrator,
        body::{AdminBody, FromBody, Object, read_optional},
        problem::{Code, HandlerResult},
        query::Id,
        state::App,
        values::{Timestamp, private_response, read_choice},
        words::QueueModes,
    },
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(get_queue_settings, set_queue_settings))
}

/// The settings of a queue, and the number of its users.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct QueueSettingsResponse {
    #[schema(example = 3)]
    concert_id: u64,
    #[schema(value_type = QueueModes)]
    mode: &'static str,
    #[schema(example = 200)]
    admit_count: u32,
    #[schema(example = 10)]
    admit_interval_seconds: u32,
    #[schema(example = 2_000)]
    max_active: u32,
    #[schema(example = 600)]
    active_seconds: u32,
    #[schema(example = 60)]
    claim_seconds: u32,
    sales_open_at: Option<Timestamp>,
    live: LiveQueueResponse,
}

/// The users in a queue.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct LiveQueueResponse {
    #[schema(example = 10_482)]
    waiting: u32,
    #[schema(example = 1_904)]
    active: u32,
    #[schema(example = 1_198)]
    admitted_last_minute: u32,
}

impl From<QueueInfo> for QueueSettingsResponse {
    fn from(QueueInfo { concert_id, settings, live }: QueueInfo) -> Self {
        Self {
            concert_id: concert_id.0,
            mode: settings.mode.name(),
            admit_count: settings.admit_count,
            admit_interval_seconds: settings.admit_interval_seconds,
            max_active: settings.max_active,
            active_seconds: settings.active_seconds,
            claim_seconds: settings.claim_seconds,
            sales_open_at: settings.sales_open_at.map(Timestamp),
            live: LiveQueueResponse {
                waiting: live.waiting,
                active: live.active,
                admitted_last_minute: live.admitted_last_minute,
            },
        }
    }
}

/// Returns the settings of a concert's queue, and the number of its users.
#[utoipa::path(get, path = "/admin/concerts/{concertId}/queue", tag = "administration",
    extensions(("x-problems" = json!([Code::CONCERT_NOT_FOUND]))),
    security(("accessToken" = [])), params(("concertId" = u64, Path)),
    responses((status = 200, body = QueueSettingsResponse)))]
async fn get_queue_settings(
    State(app): State<App>,
    _: Administrator,
    Id(id): Id<ConcertId>,
) -> HandlerResult<impl IntoResponse> {
    Ok(private_response(QueueSettingsResponse::from(app.concerts.queue_settings(id).await?)))
}

/// The settings of a queue.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct QueueSettingsRequest {
    /// `QUEUE` admits at a bounded rate, `OPEN` at once while there is room; `PAUSED` admits none.
    #[schema(value_type = QueueModes)]
    mode: QueueMode,
    /// The most users admitted in any interval of `admitIntervalSeconds`.
    #[schema(minimum = 1, maximum = 100_000, example = 200)]
    admit_count: u32,
    /// The length of the interval in seconds.
    #[schema(minimum = 1, maximum = 3_600, example = 10)]
    admit_interval_seconds: u32,
    /// The most active users at once.
    #[schema(minimum = 1, maximum = 1_000_000, example = 2_000)]
    max_active: u32,
    /// The lifetime of an active token in seconds.
    #[schema(minimum = 1, maximum = 86_400, example = 600)]
    active_seconds: u32,
    /// The most seconds between a token's admission and its first use.
    #[schema(minimum = 1, maximum = 3_600, example = 60)]
    claim_seconds: u32,
    /// The opening of the sale: no token is admitted before it. Null or absent opens the sale now. After the draw, null
    /// changes nothing, and another opening is refused.
    #[schema(value_type = Option<Timestamp>)]
    sales_open_at: Option<Instant>,
}

impl FromBody for QueueSettingsRequest {
    fn read(object: &Object<'_>) -> Option<Self> {
        let number = |name, high| object.required(name).and_then(|field| field.integer32(1..=high));
        let mode = object.required("mode").and_then(|field| field.parse(read_choice));
        let admit_count = number("admitCount", 100_000);
        let admit_interval_seconds = number("admitIntervalSeconds", 3_600);
        let max_active = number("maxActive", 1_000_000);
        let active_seconds = number("activeSeconds", 86_400);
        let claim_seconds = number("claimSeconds", 3_600);
        let sales_open_at = read_optional(object.optional("salesOpenAt"), |field| field.instant());
        Some(Self {
            mode: mode?,
            admit_count: admit_count?,
            admit_interval_seconds: admit_interval_seconds?,
            max_active: max_active?,
            active_seconds: active_seconds?,
            claim_seconds: claim_seconds?,
            sales_open_at: sales_open_at?,
        })
    }
}

impl From<QueueSettingsRequest> for QueueSettings {
    fn from(request: QueueSettingsRequest) -> Self {
        Self {
            mode: request.mode,
            admit_count: request.admit_count,
            admit_interval_seconds: request.admit_interval_seconds,
            max_active: request.max_active,
            active_seconds: request.active_seconds,
            claim_seconds: request.claim_seconds,
            sales_open_at: request.sales_open_at,
        }
    }
}

/// Replaces all settings of a concert's queue.
///
/// The first `salesOpenAt` fixes the draw's seed. After the draw, `salesOpenAt` can't change; the mode `PAUSED` stops
/// admission.
#[utoipa::path(put, path = "/admin/concerts/{concertId}/queue", tag = "administration",
    extensions(("x-problems" = json!([Code::CONCERT_NOT_FOUND, Code::SALES_ALREADY_OPEN]))),
    security(("accessToken" = [])), params(("concertId" = u64, Path)),
    request_body(content = QueueSettingsRequest, examples(("open now" = (summary = "Open now", value = json!({
        "mode": "QUEUE", "admitCount": 200, "admitIntervalSeconds": 10, "maxActive": 2_000, "activeSeconds": 600,
        "claimSeconds": 60, "salesOpenAt": null
    }))))),
    responses((status = 200, body = QueueSettingsResponse)))]
async fn set_queue_settings(
    State(app): State<App>,
    Administrator(caller): Administrator,
    Id(id): Id<ConcertId>,
    body: AdminBody<QueueSettingsRequest>,
) -> HandlerResult<impl IntoResponse> {
    let info = app.concerts.set_queue(Some(caller.user_id), id, body.value.into()).await?;
    Ok(private_response(QueueSettingsResponse::from(info)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::interfaces::http::admin::test_bodies::{error_pointers, read};

    #[tokio::test]
    async fn only_the_opening_of_a_queue_is_optional() {
        let settings = r#"{"mode":"OPEN","admitCount":100000,"admitIntervalSeconds":3600,"maxActive":1000000,"activeSeconds":86400,"claimSeconds":3600}"#;
        let request: QueueSettingsRequest = read(settings).await.unwrap();
        assert_eq!(QueueSettings::from(request).sales_open_at, None);
        let wrong = settings.replace("OPEN", "open").replace("3600", "3601").replace("100000,", "0,");
        assert_eq!(
            error_pointers::<QueueSettingsRequest>(&wrong).await,
            ["/mode", "/admitCount", "/admitIntervalSeconds", "/claimSeconds"]
        );
        assert_eq!(error_pointers::<QueueSettingsRequest>("{}").await.len(), 6);
    }
}
