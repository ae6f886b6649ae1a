//! Top-ups: sending a payment back.

use axum::{extract::State, http::StatusCode, response::IntoResponse};
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    domain::{id::TopUpId, text::Reason},
    interfaces::http::{
        auth::Administrator,
        body::{AdminBody, FromBody, Object},
        problem::{Code, HandlerResult},
        query::Id,
        state::App,
        top_up::TopUpResponse,
        values::private_response,
    },
};

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(refund_top_up))
}

/// Why the payment goes back.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct RefundTopUpRequest {
    /// For the action log.
    #[schema(value_type = String, min_length = 1, max_length = 500, pattern = r"\S", example = "Paid by mistake.")]
    reason: Reason,
}

impl FromBody for RefundTopUpRequest {
    fn read(object: &Object<'_>) -> Option<Self> {
        Some(Self { reason: object.required("reason").and_then(|field| field.parse(Reason::new))? })
    }
}

/// Sends the payment of a completed top-up back to the payer.
///
/// Its points are taken back at once, as an `ADJUSTMENT`; so they must be unspent. The payment provider then sends the
/// money back, which `refundedAt` confirms. Repeating it has no effect.
#[utoipa::path(post, path = "/admin/top-ups/{topUpId}/refund", tag = "administration", security(("accessToken" = [])),
    extensions(("x-problems" = json!([
        Code::TOP_UP_NOT_FOUND, Code::USER_NOT_FOUND, Code::TOP_UP_NOT_REFUNDABLE, Code::INSUFFICIENT_POINTS,
    ]))),
    params(("topUpId" = Uuid, Path)),
    request_body = RefundTopUpRequest,
    responses((status = 202, body = TopUpResponse)))]
async fn refund_top_up(
    State(app): State<App>,
    Administrator(caller): Administrator,
    Id(id): Id<TopUpId>,
    AdminBody { value, .. }: AdminBody<RefundTopUpRequest>,
) -> HandlerResult<impl IntoResponse> {
    let top_up = app.top_ups.refund(caller.user_id, id, &value.reason).await?;
    Ok((StatusCode::ACCEPTED, private_response(TopUpResponse::at(&top_up, app.top_ups.now()))))
}
