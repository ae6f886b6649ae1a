//! The page of the payment sandbox: a developer chooses the outcome of a checkout. Plain forms, without a script.

use axum::{
    Router,
    extract::{Path, State},
    http::{HeaderMap, HeaderValue, header},
    response::{Html, IntoResponse, Redirect, Response},
    routing::get,
};
use base64::{Engine, engine::general_purpose::STANDARD};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{
    body::read_form,
    problem::{Code, HandlerResult, Problem},
    query::canonical_uuid,
    state::App,
};
use crate::{
    application::top_up::{SandboxChoice, SandboxFacade},
    domain::{
        clock::Instant,
        top_up::{CheckoutState, SandboxCheckout},
    },
};

const PATH: &str = "/payment-providers/sandbox/checkouts/{checkoutId}";

const STYLE: &str = "body{font:1rem/1.5 system-ui;max-width:40rem;margin:3rem auto;padding:0 1rem}\
                     button{font:inherit;margin:.25rem .5rem .25rem 0;padding:.4rem .8rem}";

/// The choices for an open checkout: the value of the form, and the button's text.
const CHOICES: [(&str, SandboxChoice, &str); 4] = [
    ("success", SandboxChoice::Success, "Pay"),
    ("failure", SandboxChoice::Failure, "Have the payment declined"),
    ("double", SandboxChoice::Double, "Pay, and notify the server twice"),
    ("late", SandboxChoice::Late, "Pay, and notify the server late or never"),
];

/// The choice for a concluded checkout.
const NOTIFY: (&str, SandboxChoice, &str) = ("notify", SandboxChoice::Notify, "Notify the server now");

/// The page, outside of the API's base path and of its document.
pub(super) fn routes() -> Router<App> {
    Router::new().route(PATH, get(show_checkout).post(choose_outcome))
}

fn facade(app: &App) -> HandlerResult<&SandboxFacade> {
    app.sandbox.as_ref().ok_or_else(not_found)
}

fn not_found() -> Problem {
    Problem::new(Code::NOT_FOUND, "There is no such checkout.")
}

fn checkout_id(text: &str) -> HandlerResult<Uuid> {
    canonical_uuid(text).ok_or_else(not_found)
}

async fn show_checkout(State(app): State<App>, Path(id): Path<String>) -> HandlerResult<Response> {
    let sandbox = facade(&app)?;
    let checkout = sandbox.checkout(checkout_id(&id)?).await?.ok_or_else(not_found)?;
    Ok((headers(), Html(page(&checkout, sandbox.now()))).into_response())
}

async fn choose_outcome(
    State(app): State<App>,
    Path(id): Path<String>,
    request: axum::extract::Request,
) -> HandlerResult<Response> {
    let sandbox = facade(&app)?;
    let id = checkout_id(&id)?;
    let form = read_form(request).await?;
    let outcome = form.iter().find(|(name, _)| name == "outcome").map_or("", |(_, value)| value.as_str());
    let choice = CHOICES.iter().chain([&NOTIFY]).find(|(value, ..)| *value == outcome);
    let Some((_, choice, _)) = choice else {
        let names = CHOICES.map(|(value, ..)| value).join(", ");
        return Err(Problem::new(Code::MALFORMED_REQUEST, format!("outcome must be one of {names}, notify.")));
    };
    sandbox.choose(id, *choice).await?.ok_or_else(not_found)?;
    Ok(Redirect::to(&PATH.replace("{checkoutId}", &id.to_string())).into_response())
}

/// Headers that permit only the page's own style and forms.
fn headers() -> HeaderMap {
    let hash = STANDARD.encode(Sha256::digest(STYLE));
    let policy = format!(
        "default-src 'none'; style-src 'sha256-{hash}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    );
    let fixed = HeaderValue::from_static;
    let policy = HeaderValue::try_from(policy).unwrap_or(fixed("default-src 'none'"));
    HeaderMap::from_iter([
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::CACHE_CONTROL, fixed("no-store")),
        (header::REFERRER_POLICY, fixed("no-referrer")),
        (header::X_CONTENT_TYPE_OPTIONS, fixed("nosniff")),
    ])
}

fn page(checkout: &SandboxCheckout, now: Instant) -> String {
    let (state, choices) = match checkout.state_at(now) {
        CheckoutState::Open => ("It can be paid.", &CHOICES[..]),
        CheckoutState::Paid(_) if checkout.refunded_at.is_some() => ("It was paid, and refunded.", &[NOTIFY][..]),
        CheckoutState::Paid(_) => ("It is paid.", &[NOTIFY][..]),
        CheckoutState::Failed => ("The payment was declined.", &[NOTIFY][..]),
        CheckoutState::Expired => ("It has expired.", &[NOTIFY][..]),
    };
    let button =
        |(value, _, text): &(&str, _, &str)| format!("<button name=\"outcome\" value=\"{value}\">{text}</button>");
    let buttons: String = choices.iter().map(button).collect();
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Payment sandbox</title><style>{STYLE}</style>\
         <h1>Payment sandbox</h1><p>No money moves here. {amount} points, top-up <code>{top_up}</code>.</p>\
         <p><strong>{state}</strong></p><form method=\"post\">{buttons}</form>\
         <p><a href=\"/?topUpId={top_up}\">Back to the shop</a></p></html>",
        amount = checkout.amount,
        top_up = checkout.top_up_id,
    )
}
