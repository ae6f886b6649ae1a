//! Payments of bookings with points.

use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};
use uuid::Uuid;

use super::{
    auth::Caller,
    body::{Body, FromBody, Object},
    booking::BookingResponse,
    client_language::ClientLanguage,
    gate::GateVerdict,
    idempotency::IdempotencyRequest,
    openapi::examples,
    problem::{Code, HandlerResult},
    query::{Id, PageParameters, Query, cursor},
    state::App,
    values::{Amount, Timestamp, private_response, to_json},
    words::PaymentStatuses,
};
use crate::domain::{
    clock::Instant,
    id::{BookingId, PaymentId},
    payment::{Payment, PaymentState},
    settlement::Paid,
};

pub(super) fn gated_routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(pay))
}

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(list_payments)).routes(routes!(get_payment))
}

/// The booking to pay for. The server determines the price.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct PayRequest {
    #[schema(value_type = Uuid, example = "01939e6b-0c5e-7c6e-9d0a-3f1f2a6f7b10")]
    booking_id: BookingId,
}

impl FromBody for PayRequest {
    fn read(object: &Object<'_>) -> Option<Self> {
        let booking_id = object.required("bookingId").and_then(|field| field.uuid());
        Some(Self { booking_id: BookingId(booking_id?) })
    }
}

/// A completed payment with its booking.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PaidResponse {
    payment_id: Uuid,
    booking_id: Uuid,
    amount: Amount,
    /// Always `COMPLETED`.
    #[schema(value_type = PaymentStatuses)]
    status: &'static str,
    /// The balance after the payment.
    balance: Amount,
    paid_at: Timestamp,
    /// The booking, confirmed.
    booking: BookingResponse,
}

impl PaidResponse {
    fn at(paid: &Paid, now: Instant) -> Self {
        Self {
            payment_id: paid.payment.id.0,
            booking_id: paid.payment.booking_id.0,
            amount: paid.payment.amount.into(),
            status: paid.payment.state.name(),
            balance: paid.balance.into(),
            paid_at: Timestamp(paid.payment.paid_at),
            booking: BookingResponse::at(&paid.booking, now),
        }
    }
}

/// Pays for one of the caller's holds with points.
///
/// Balance, payment, booking, seats and queue token change in one transaction.
#[utoipa::path(post, path = "/payments", tag = "payments",
    extensions(("x-problems" = json!([
        Code::BOOKING_NOT_FOUND, Code::INSUFFICIENT_POINTS, Code::BOOKING_NOT_PAYABLE, Code::HOLD_EXPIRED,
    ]))),
    security(("accessToken" = [], "queueToken" = [])),
    params(("Idempotency-Key" = String, Header)),
    request_body = PayRequest,
    responses((status = 201, body = PaidResponse,
        headers(("Location" = String, description = "The payment.")),
        examples(("paid" = (summary = "Paid", value = json!(examples::paid())))))))]
async fn pay(
    State(app): State<App>,
    caller: Caller,
    verdict: GateVerdict,
    ClientLanguage(language): ClientLanguage,
    idempotency: IdempotencyRequest,
    body: Body<PayRequest>,
) -> HandlerResult<Response> {
    idempotency.require_key()?;
    let clock = std::sync::Arc::clone(&app.clock);
    let (key, response) =
        idempotency.prepare(caller.user_id, &body.bytes, StatusCode::CREATED, move |paid: &Paid| {
            to_json(&PaidResponse::at(paid, clock.now()))
        })?;
    let PayRequest { booking_id } = body.value;
    let reply = app.payments.pay(caller.user_id, verdict.into_result(), booking_id, language, key).await?;
    response.located("/payments", "paymentId").respond(reply)
}

/// A payment.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PaymentResponse {
    payment_id: Uuid,
    booking_id: Uuid,
    amount: Amount,
    #[schema(value_type = PaymentStatuses)]
    status: &'static str,
    paid_at: Timestamp,
    refunded_at: Option<Timestamp>,
}

impl From<&Payment> for PaymentResponse {
    fn from(payment: &Payment) -> Self {
        let refunded_at = match payment.state {
            PaymentState::Completed => None,
            PaymentState::Refunded(at) => Some(Timestamp(at)),
        };
        Self {
            payment_id: payment.id.0,
            booking_id: payment.booking_id.0,
            amount: payment.amount.into(),
            status: payment.state.name(),
            paid_at: Timestamp(payment.paid_at),
            refunded_at,
        }
    }
}

/// A page of payments, newest first.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PaymentListResponse {
    items: Vec<PaymentResponse>,
    next_cursor: Option<String>,
}

/// Lists the caller's payments, newest first.
#[utoipa::path(get, path = "/payments", tag = "payments", security(("accessToken" = [])),
    params(
        PageParameters,
    ),
    responses((status = 200, body = PaymentListResponse)))]
async fn list_payments(State(app): State<App>, caller: Caller, mut query: Query) -> HandlerResult<impl IntoResponse> {
    let request = query.page(PaymentId)?;
    query.finish()?;
    let page = app.payments.payments(caller.user_id, request).await?;
    let next_cursor = page.last_of_more().map(|payment| cursor(&[&payment.id]));
    let items = page.items.iter().map(Into::into).collect();
    Ok(private_response(PaymentListResponse { items, next_cursor }))
}

/// Returns one of the caller's payments.
#[utoipa::path(get, path = "/payments/{paymentId}", tag = "payments",
    extensions(("x-problems" = json!([Code::PAYMENT_NOT_FOUND]))),
    security(("accessToken" = [])),
    params(("paymentId" = Uuid, Path)),
    responses((status = 200, body = PaymentResponse)))]
async fn get_payment(
    State(app): State<App>,
    caller: Caller,
    Id(payment_id): Id<PaymentId>,
) -> HandlerResult<impl IntoResponse> {
    let payment = app.payments.payment(caller.user_id, payment_id).await?;
    Ok(private_response(PaymentResponse::from(&payment)))
}
