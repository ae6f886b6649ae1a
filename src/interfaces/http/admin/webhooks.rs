//! Webhooks: receivers of events.

use axum::{extract::State, http::StatusCode, response::IntoResponse};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use crate::{
    domain::{
        event::{EventTypes, KINDS, Webhook, WebhookUrl},
        id::WebhookId,
    },
    interfaces::http::{
        auth::Administrator,
        body::{ADMIN_MAX_BYTES, AdminBody, EmptyBody, FromBody, Object},
        problem::{BODY_CODES, Code, FieldError, HandlerResult, Problem},
        query::{Id, PageParameters, Query, cursor},
        state::App,
        values::{Timestamp, private_response},
        words,
    },
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(create_webhook, list_webhooks)).routes(routes!(delete_webhook))
}

/// A webhook.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct WebhookResponse {
    webhook_id: Uuid,
    #[schema(example = "https://example.org/events")]
    url: String,
    /// Each an `EventType`, or a type that another version of the server records.
    #[schema(example = json!(["booking.confirmed", "booking.refunded"]))]
    types: Vec<String>,
    created_at: Timestamp,
    /// The time when the webhook was disabled, because it answered 410; null for an active one.
    disabled_at: Option<Timestamp>,
}

impl From<Webhook> for WebhookResponse {
    fn from(webhook: Webhook) -> Self {
        Self {
            webhook_id: webhook.id.0,
            url: webhook.url.as_str().to_owned(),
            types: webhook.types.as_slice().to_vec(),
            created_at: Timestamp(webhook.created_at),
            disabled_at: webhook.disabled_at.map(Timestamp),
        }
    }
}

/// A webhook to register.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct CreateWebhookRequest {
    /// An http or https URL on the public internet, without user name or password.
    #[schema(value_type = String, max_length = 2_000, example = "https://example.org/events")]
    url: WebhookUrl,
    /// The types of events that it receives.
    #[schema(value_type = Vec<words::EventTypes>, min_items = 1, max_items = 13, example = json!(["booking.confirmed", "booking.refunded"]))]
    types: EventTypes,
}

// utoipa accepts only a literal for `max_items`.
const _: () = assert!(KINDS.len() == 13, "the schema of a webhook's types allows another number of types");

impl FromBody for CreateWebhookRequest {
    fn read(object: &Object<'_>) -> Option<Self> {
        let url = object.required("url").and_then(|field| field.parse(WebhookUrl::new));
        let types = object.required("types").and_then(|field| {
            let known =
                |text: &str| EventTypes::find_kind(text).ok_or_else(|| format!("must be one of {}", KINDS.join(", ")));
            field.list(1..=KINDS.len(), |item| item.parse(known))
        });
        Some(Self { url: url?, types: EventTypes::new(&types?)? })
    }
}

/// A registered webhook with its secret.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct NewWebhookResponse {
    #[serde(flatten)]
    webhook: WebhookResponse,
    /// The key of the deliveries' signatures (Standard Webhooks). It isn't shown again.
    #[schema(example = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")]
    secret: String,
}

/// Registers a webhook. It receives every event recorded after its registration.
///
/// Deliveries are POST requests with a CloudEvents 1.0 body, signed as in Standard Webhooks with the secret of this
/// response.
#[utoipa::path(post, path = "/admin/webhooks", tag = "administration", security(("accessToken" = [])),
    request_body = CreateWebhookRequest,
    responses((status = 201, body = NewWebhookResponse)))]
async fn create_webhook(
    State(app): State<App>,
    Administrator(caller): Administrator,
    body: AdminBody<CreateWebhookRequest>,
) -> HandlerResult<impl IntoResponse> {
    let CreateWebhookRequest { url, types } = body.value;
    if app.events.rejects_address(&url) {
        let error = FieldError::pointer("/url", "must not lead to this machine or into a private network");
        return Err(Problem::validation(&[error]));
    }
    let webhook = app.events.create_webhook(caller.user_id, url, types).await?;
    let secret = format!("whsec_{}", STANDARD.encode(webhook.secret.0));
    Ok((StatusCode::CREATED, private_response(NewWebhookResponse { webhook: webhook.into(), secret })))
}

/// A page of webhooks, oldest first.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct WebhookListResponse {
    items: Vec<WebhookResponse>,
    next_cursor: Option<String>,
}

/// Lists the webhooks, oldest first.
#[utoipa::path(get, path = "/admin/webhooks", tag = "administration", security(("accessToken" = [])),
    params(
        PageParameters,
    ),
    responses((status = 200, body = WebhookListResponse)))]
async fn list_webhooks(State(app): State<App>, _: Administrator, mut query: Query) -> HandlerResult<impl IntoResponse> {
    let request = query.page(WebhookId)?;
    query.finish()?;
    let page = app.events.list_webhooks(request).await?;
    let next_cursor = page.last_of_more().map(|webhook| cursor(&[&webhook.id]));
    let items = page.items.into_iter().map(Into::into).collect();
    Ok(private_response(WebhookListResponse { items, next_cursor }))
}

/// Deletes a webhook. Its undelivered events are parked.
#[utoipa::path(delete, path = "/admin/webhooks/{webhookId}", tag = "administration",
    extensions(("x-problems" = json!([BODY_CODES, Code::WEBHOOK_NOT_FOUND]))),
    security(("accessToken" = [])), params(("webhookId" = Uuid, Path)),
    responses((status = 204, description = "Deleted.")))]
async fn delete_webhook(
    State(app): State<App>,
    Administrator(caller): Administrator,
    Id(id): Id<WebhookId>,
    _: EmptyBody<ADMIN_MAX_BYTES>,
) -> HandlerResult<StatusCode> {
    app.events.delete_webhook(caller.user_id, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
