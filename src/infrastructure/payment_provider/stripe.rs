//! Stripe: one Checkout Session for each top-up, over its HTTP API.

use std::{fmt, time::Duration};

use async_trait::async_trait;
use chrono::TimeDelta;
use reqwest::{Client, Method, StatusCode, redirect};
use rust_decimal::{Decimal, prelude::ToPrimitive};
use serde::Deserialize;
use url::form_urlencoded::Serializer;
use uuid::Uuid;

use super::signature::verifies;
use crate::{
    domain::{
        clock::Instant,
        id::TopUpId,
        points::Points,
        top_up::{
            Checkout, CheckoutState, Notification, NotificationError, PaidCheckout, PaymentProvider, ProviderError,
            TopUp,
        },
    },
    infrastructure::http_client::{build, describe},
};

/// The version of the API whose responses this adapter reads.
const API_VERSION: &str = "2024-06-20";

/// The time limit of connecting.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// The time limit of a whole call. Two calls in a row are shorter than a lease.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// The shortest lifetime of a session that this adapter requests. The server itself ends a session at the top-up's
/// deadline.
const MIN_LIFETIME: TimeDelta = TimeDelta::hours(1);

/// The greatest price of a session, in the currency's smallest unit.
const MAX_UNITS: u64 = 99_999_999;

/// Currencies without a smaller unit: <https://docs.stripe.com/currencies#zero-decimal>.
const ZERO_DECIMAL: [&str; 16] =
    ["bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "ugx", "vnd", "vuv", "xaf", "xof", "xpf"];

/// Currencies whose amounts aren't in hundredths: <https://docs.stripe.com/currencies#three-decimal>.
const UNSUPPORTED: [&str; 7] = ["bhd", "jod", "kwd", "omr", "tnd", "isk", "huf"];

/// The sessions of one page: the most that Stripe allows.
const PAGE: usize = 100;

/// The most pages of a list.
const MAX_PAGES: usize = 1_000;

/// The settings of the Stripe account.
#[derive(Clone)]
pub struct StripeSettings {
    /// The base URL of the API, without a slash at the end.
    pub api_url: String,
    /// The key of all calls, `sk_…`.
    pub secret_key: String,
    /// The secret with which Stripe signs notifications, `whsec_…`.
    pub webhook_secret: String,
    /// The currency of all payments: an ISO 4217 code in lower case. One point costs one unit of it.
    pub currency: String,
    /// The URL to which the payer's browser returns, without a slash at the end.
    pub return_url: String,
}

impl fmt::Debug for StripeSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StripeSettings")
            .field("api_url", &self.api_url)
            .field("currency", &self.currency)
            .field("return_url", &self.return_url)
            .finish_non_exhaustive()
    }
}

/// Whether amounts of a currency can be converted.
pub fn is_supported(currency: &str) -> bool {
    currency.len() == 3 && currency.bytes().all(|byte| byte.is_ascii_lowercase()) && !UNSUPPORTED.contains(&currency)
}

/// Takes payments by Stripe.
pub struct Stripe {
    settings: StripeSettings,
    client: Client,
}

#[derive(Deserialize)]
struct Session {
    id: String,
    url: Option<String>,
    status: Option<String>,
    payment_status: Option<String>,
    amount_total: Option<u64>,
    currency: Option<String>,
    client_reference_id: Option<String>,
    payment_intent: Option<PaymentIntent>,
    created: i64,
}

/// An id, or the object if the request expands it.
#[derive(Deserialize)]
#[serde(untagged)]
enum PaymentIntent {
    Id(String),
    Object { id: String, status: Option<String> },
}

impl PaymentIntent {
    fn id(&self) -> &str {
        match self {
            Self::Id(id) | Self::Object { id, .. } => id,
        }
    }

    /// Whether a payment was declined after the payer left the page.
    fn has_failed(&self) -> bool {
        let Self::Object { status: Some(status), .. } = self else { return false };
        matches!(status.as_str(), "canceled" | "requires_payment_method")
    }
}

#[derive(Deserialize)]
struct SessionList {
    data: Vec<Session>,
    has_more: bool,
}

#[derive(Deserialize)]
struct Event {
    r#type: String,
    data: EventData,
}

#[derive(Deserialize)]
struct EventData {
    object: Session,
}

/// The part of an event from which the type of its object is read.
#[derive(Deserialize)]
struct EventType {
    r#type: String,
}

#[derive(Deserialize)]
struct Failure {
    error: FailureDetail,
}

#[derive(Default, Deserialize)]
struct FailureDetail {
    code: Option<String>,
    r#type: Option<String>,
}

/// A call that wasn't successful.
enum CallError {
    Unavailable(String),
    Refused { status: StatusCode, code: String },
}

impl From<CallError> for ProviderError {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Unavailable(text) => Self::Unavailable(text),
            CallError::Refused { status, code } => Self::Refused(format!("status {}, {code}", status.as_u16())),
        }
    }
}

impl Stripe {
    /// A client of the account.
    ///
    /// # Errors
    ///
    /// When TLS can't be set up.
    pub fn new(settings: StripeSettings) -> Result<Self, reqwest::Error> {
        let client = build("Stripe can't be reached over https", || {
            Client::builder()
                .connect_timeout(CONNECT_TIMEOUT)
                .timeout(CALL_TIMEOUT)
                .redirect(redirect::Policy::none())
                .no_proxy()
                .user_agent(concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")))
        })?;
        Ok(Self { settings, client })
    }

    fn decimals(&self) -> u32 {
        if ZERO_DECIMAL.contains(&self.settings.currency.as_str()) { 0 } else { 2 }
    }

    /// Converts points into the currency's smallest unit. `None` if they aren't a whole number of it, or too many.
    fn units(&self, amount: Points) -> Option<u64> {
        let units = amount.as_decimal().checked_mul(Decimal::from(10_u32.pow(self.decimals())))?;
        units.is_integer().then(|| units.to_u64()).flatten().filter(|units| *units <= MAX_UNITS)
    }

    /// The amount of a session in points. 0 if it isn't in the account's currency or isn't a valid amount of points.
    fn amount(&self, session: &Session) -> Points {
        let in_currency =
            session.currency.as_ref().is_some_and(|name| name.eq_ignore_ascii_case(&self.settings.currency));
        let units = session.amount_total.filter(|_| in_currency).and_then(|units| i64::try_from(units).ok());
        let amount = units.and_then(|units| Points::new(Decimal::new(units, self.decimals())).ok());
        amount.unwrap_or(Points::ZERO)
    }

    fn state(&self, session: &Session) -> CheckoutState {
        match (session.payment_status.as_deref(), session.status.as_deref()) {
            (Some("paid"), _) => CheckoutState::Paid(self.amount(session)),
            (_, Some("expired")) => CheckoutState::Expired,
            (_, Some("complete")) if session.payment_intent.as_ref().is_some_and(PaymentIntent::has_failed) => {
                CheckoutState::Failed
            }
            // A payment that is being processed isn't final.
            _ => CheckoutState::Open,
        }
    }

    /// Makes one call. A call with an effect has a key, so that repeating it has the effect once.
    async fn call<T: for<'de> Deserialize<'de>>(
        &self,
        method: Method,
        path: &str,
        key: Option<&str>,
        fields: &[(&str, &str)],
    ) -> Result<T, CallError> {
        let form = Serializer::new(String::new()).extend_pairs(fields).finish();
        let is_read = method == Method::GET;
        let query = if is_read && !form.is_empty() { format!("?{form}") } else { String::new() };
        let url = format!("{}{path}{query}", self.settings.api_url);
        let mut request = self.client.request(method, url).bearer_auth(&self.settings.secret_key);
        request = request.header("Stripe-Version", API_VERSION);
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        if !is_read {
            request = request.header("Content-Type", "application/x-www-form-urlencoded").body(form);
        }
        let response = request.send().await.map_err(|error| CallError::Unavailable(describe(&error)))?;
        let status = response.status();
        let body = response.bytes().await.map_err(|error| CallError::Unavailable(describe(&error)))?;
        if status.is_success() {
            return serde_json::from_slice(&body)
                .map_err(|error| CallError::Unavailable(format!("an answer of another form: {error}")));
        }
        let detail = serde_json::from_slice::<Failure>(&body).map(|failure| failure.error).unwrap_or_default();
        let code = detail.code.or(detail.r#type).unwrap_or_else(|| "no code".to_owned());
        // The operator may correct a wrong key, and a conflict comes from a concurrent call: a later call may succeed.
        let may_pass = status.is_server_error() || matches!(status.as_u16(), 401 | 403 | 408 | 409 | 425 | 429);
        Err(if may_pass || status.is_redirection() {
            CallError::Unavailable(format!("status {}, {code}", status.as_u16()))
        } else {
            CallError::Refused { status, code }
        })
    }

    async fn session(&self, id: &str) -> Result<Session, CallError> {
        let path = format!("/v1/checkout/sessions/{id}");
        self.call(Method::GET, &path, None, &[("expand[]", "payment_intent")]).await
    }
}

/// The id of the top-up that a session was created for.
fn top_up_id(session: &Session) -> Option<TopUpId> {
    session.client_reference_id.as_deref().and_then(|id| Uuid::try_parse(id).ok()).map(TopUpId)
}

#[async_trait]
impl PaymentProvider for Stripe {
    fn name(&self) -> &'static str {
        "stripe"
    }

    fn signature_header(&self) -> &'static str {
        "stripe-signature"
    }

    fn check_amount(&self, amount: Points) -> Result<(), String> {
        if self.units(amount).is_some() {
            return Ok(());
        }
        let currency = self.settings.currency.to_uppercase();
        let most = Decimal::new(i64::try_from(MAX_UNITS).unwrap_or(i64::MAX), self.decimals());
        let whole = if self.decimals() == 0 { "a whole number of " } else { "" };
        Err(format!("must be {whole}at most {most} with payments in {currency}"))
    }

    async fn create_checkout(&self, top_up: &TopUp) -> Result<Checkout, ProviderError> {
        let refused = || ProviderError::Refused("the amount can't be paid in this currency".to_owned());
        let units = self.units(top_up.amount).ok_or_else(refused)?.to_string();
        let id = top_up.id.to_string();
        // The same in every repetition: Stripe refuses a key that is reused with other fields.
        let expires_at = top_up.expires_at.max(top_up.created_at + MIN_LIFETIME).timestamp().to_string();
        let name = format!("{} points", top_up.amount);
        let return_url = format!("{}/?topUpId={id}", self.settings.return_url);
        let fields = [
            ("mode", "payment"),
            ("client_reference_id", &id),
            ("metadata[top_up_id]", &id),
            ("payment_intent_data[metadata][top_up_id]", &id),
            ("line_items[0][quantity]", "1"),
            ("line_items[0][price_data][currency]", &self.settings.currency),
            ("line_items[0][price_data][unit_amount]", &units),
            ("line_items[0][price_data][product_data][name]", &name),
            ("success_url", &return_url),
            ("cancel_url", &return_url),
            ("expires_at", &expires_at),
        ];
        let key = format!("top-up-{id}");
        let session: Session = self.call(Method::POST, "/v1/checkout/sessions", Some(&key), &fields).await?;
        Ok(Checkout { id: session.id, url: session.url })
    }

    async fn find_checkout(&self, checkout_id: &str) -> Result<CheckoutState, ProviderError> {
        Ok(self.state(&self.session(checkout_id).await?))
    }

    async fn end_checkout(&self, checkout_id: &str) -> Result<CheckoutState, ProviderError> {
        let path = format!("/v1/checkout/sessions/{checkout_id}/expire");
        match self.call::<Session>(Method::POST, &path, None, &[]).await {
            Ok(session) => Ok(self.state(&session)),
            // The session isn't open any more.
            Err(CallError::Refused { .. }) => self.find_checkout(checkout_id).await,
            Err(error) => Err(error.into()),
        }
    }

    async fn refund(&self, top_up_id: TopUpId, checkout_id: &str) -> Result<(), ProviderError> {
        let session = self.session(checkout_id).await?;
        let refused = || ProviderError::Refused("the session has no payment".to_owned());
        let payment_intent = session.payment_intent.as_ref().ok_or_else(refused)?.id();
        let key = format!("refund-{top_up_id}");
        let fields = [("payment_intent", payment_intent)];
        match self.call::<serde_json::Value>(Method::POST, "/v1/refunds", Some(&key), &fields).await {
            Ok(_) => Ok(()),
            Err(CallError::Refused { code, .. }) if code == "charge_already_refunded" => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn list_paid(&self, since: Instant) -> Result<Vec<PaidCheckout>, ProviderError> {
        let since = since.timestamp().to_string();
        let (mut paid, mut last) = (Vec::new(), None::<String>);
        for _ in 0..MAX_PAGES {
            let limit = PAGE.to_string();
            let mut fields = vec![("limit", limit.as_str()), ("status", "complete"), ("created[gte]", since.as_str())];
            fields.extend(last.as_deref().map(|last| ("starting_after", last)));
            let page: SessionList = self.call(Method::GET, "/v1/checkout/sessions", None, &fields).await?;
            last = page.data.last().map(|session| session.id.clone());
            for session in page.data {
                if let CheckoutState::Paid(amount) = self.state(&session) {
                    let created_at = Instant::from_timestamp(session.created, 0).unwrap_or_default();
                    paid.push(PaidCheckout {
                        top_up_id: top_up_id(&session),
                        checkout_id: session.id,
                        amount,
                        created_at,
                    });
                }
            }
            if !page.has_more || last.is_none() {
                return Ok(paid);
            }
        }
        Err(ProviderError::Refused("the list of sessions doesn't end".to_owned()))
    }

    fn read_notification(
        &self,
        signature: Option<&str>,
        body: &[u8],
        now: Instant,
    ) -> Result<Option<Notification>, NotificationError> {
        let secret = self.settings.webhook_secret.as_bytes();
        if !signature.is_some_and(|signature| verifies(signature, secret, now, body)) {
            return Err(NotificationError::Forged);
        }
        let unreadable = NotificationError::Unreadable;
        let EventType { r#type } = serde_json::from_slice(body).map_err(|_| unreadable)?;
        if !r#type.starts_with("checkout.session.") {
            return Ok(None);
        }
        let event: Event = serde_json::from_slice(body).map_err(|_| unreadable)?;
        let session = event.data.object;
        let state = match event.r#type.as_str() {
            "checkout.session.async_payment_failed" => CheckoutState::Failed,
            _ => self.state(&session),
        };
        // A session of another application of the account has no top-up's id.
        let Some(top_up_id) = top_up_id(&session).filter(|_| state != CheckoutState::Open) else { return Ok(None) };
        Ok(Some(Notification { top_up_id, checkout: Checkout { id: session.id, url: session.url }, state }))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{super::signature::sign, *};

    const ID: &str = "0192f3c4-5b6a-7c8d-9e0f-112233445566";

    fn stripe(currency: &str) -> Stripe {
        let settings = StripeSettings {
            api_url: "http://127.0.0.1:1".to_owned(),
            secret_key: "sk_test".to_owned(),
            webhook_secret: "whsec_test".to_owned(),
            currency: currency.to_owned(),
            return_url: "http://127.0.0.1".to_owned(),
        };
        Stripe::new(settings).unwrap()
    }

    /// The parts of an event as Stripe's documentation shows it that matter here, among some that don't.
    fn event(kind: &str, changes: &Value) -> Vec<u8> {
        let mut event = json!({
            "id": "evt_1", "object": "event", "api_version": "2024-06-20", "created": 1_700_000_000, "livemode": false,
            "type": kind,
            "data": {"object": {
                "id": "cs_test_a1", "object": "checkout.session", "amount_subtotal": 50_000, "amount_total": 50_000,
                "client_reference_id": ID, "created": 1_700_000_000, "currency": "krw", "mode": "payment",
                "payment_intent": "pi_1", "payment_status": "unpaid", "status": "open", "url": null,
            }},
        });
        for (name, value) in changes.as_object().unwrap() {
            event["data"]["object"][name] = value.clone();
        }
        event.to_string().into_bytes()
    }

    fn read(body: &[u8]) -> Result<Option<CheckoutState>, NotificationError> {
        let now = "2026-11-20T08:00:00Z".parse().unwrap();
        let signature = sign(b"whsec_test", now, body);
        Ok(stripe("krw").read_notification(Some(&signature), body, now)?.map(|notification| {
            assert_eq!(notification.top_up_id.to_string(), ID);
            assert_eq!(notification.checkout.id, "cs_test_a1");
            notification.state
        }))
    }

    #[test]
    fn notifications_of_stripe_are_read() {
        let paid = json!({"payment_status": "paid", "status": "complete"});
        let amount = CheckoutState::Paid("50000".parse().unwrap());
        assert_eq!(read(&event("checkout.session.completed", &paid)), Ok(Some(amount)));
        assert_eq!(read(&event("checkout.session.async_payment_succeeded", &paid)), Ok(Some(amount)));
        let processing = json!({"status": "complete"});
        assert_eq!(read(&event("checkout.session.completed", &processing)), Ok(None));
        let failed = event("checkout.session.async_payment_failed", &processing);
        assert_eq!(read(&failed), Ok(Some(CheckoutState::Failed)));
        let expired = event("checkout.session.expired", &json!({"status": "expired"}));
        assert_eq!(read(&expired), Ok(Some(CheckoutState::Expired)));
    }

    #[test]
    fn messages_about_other_things_have_no_effect() {
        assert_eq!(read(br#"{"type": "charge.refunded", "data": {"object": {"id": "ch_1"}}}"#), Ok(None));
        let paid = json!({"payment_status": "paid", "client_reference_id": null});
        assert_eq!(read(&event("checkout.session.completed", &paid)), Ok(None));
        assert_eq!(read(b"{"), Err(NotificationError::Unreadable));
        assert_eq!(read(br#"{"type": "checkout.session.completed"}"#), Err(NotificationError::Unreadable));
        let forged = stripe("krw").read_notification(Some("t=1,v1=00"), b"{}", Instant::default());
        assert_eq!(forged, Err(NotificationError::Forged));
        assert_eq!(stripe("krw").read_notification(None, b"{}", Instant::default()), Err(NotificationError::Forged));
    }

    #[test]
    fn an_amount_in_another_currency_is_no_amount_of_points() {
        let paid = json!({"payment_status": "paid", "currency": "usd"});
        assert_eq!(read(&event("checkout.session.completed", &paid)), Ok(Some(CheckoutState::Paid(Points::ZERO))));
    }

    #[test]
    fn amounts_are_stated_in_the_smallest_unit_of_the_currency() {
        let units = |currency, amount: &str| stripe(currency).units(amount.parse().unwrap());
        assert_eq!(units("krw", "50000"), Some(50_000));
        assert_eq!(units("krw", "50000.00"), Some(50_000));
        assert_eq!(units("krw", "50000.50"), None);
        assert_eq!(units("eur", "50000.50"), Some(5_000_050));
        assert_eq!((units("eur", "999999.99"), units("eur", "1000000")), (Some(99_999_999), None));
        assert_eq!(units("krw", "10000000"), Some(10_000_000));
        let rule = stripe("krw").check_amount("0.5".parse().unwrap()).unwrap_err();
        assert_eq!(rule, "must be a whole number of at most 99999999 with payments in KRW");
        assert!(is_supported("krw") && !is_supported("KRW") && !is_supported("kwd") && !is_supported("won!"));
    }
}
