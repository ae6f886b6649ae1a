//! For operators: liveness, readiness, metrics, version; and the pages that explain problems.

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderValue, StatusCode, header},
    response::{Html, IntoResponse, Response},
    routing::get,
};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::{
    problem::{Code, HandlerResult, Problem},
    state::App,
};
use crate::application::error::AppError;

pub(super) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(get_version))
}

/// What monitoring asks for: it may have a listener of its own.
pub(super) fn probes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(get_livez)).routes(routes!(get_readyz)).routes(routes!(get_metrics))
}

/// The pages at the `type` of each problem, for people.
pub(super) fn problem_pages() -> Router<App> {
    Router::new().route("/problems/{code}", get(get_problem_page))
}

/// Whether something is as it should be.
#[derive(Serialize, ToSchema)]
struct StatusResponse {
    /// Always `ok`.
    #[schema(pattern = "^ok$", example = "ok")]
    status: &'static str,
}

/// Whether the process runs.
#[utoipa::path(get, path = "/livez", tag = "operation", responses((status = 200, body = StatusResponse)))]
async fn get_livez() -> Json<StatusResponse> {
    Json(StatusResponse { status: "ok" })
}

/// Whether requests can be served: the database answers, its schema is current, the server's clock agrees with the
/// database's, and the server isn't stopping.
#[utoipa::path(get, path = "/readyz", tag = "operation",
    extensions(("x-problems" = json!([Code::DRAINING, Code::DATABASE_UNAVAILABLE, Code::CLOCK_SKEWED]))),
    responses((status = 200, body = StatusResponse)))]
async fn get_readyz(State(app): State<App>) -> HandlerResult<Json<StatusResponse>> {
    if app.leaving.is_cancelled() {
        return Err(Problem::new(Code::DRAINING, "The server is stopping."));
    }
    if !app.clock_check.is_right() {
        return Err(Problem::clock_skewed());
    }
    let current = app.database.schema_is_current().await.map_err(AppError::from)?;
    if current {
        Ok(Json(StatusResponse { status: "ok" }))
    } else {
        Err(Problem::new(Code::DATABASE_UNAVAILABLE, "The database's schema is not the one this server needs."))
    }
}

/// What was measured, in Prometheus' text format.
#[utoipa::path(get, path = "/metrics", tag = "operation",
    responses((status = 200, body = String, content_type = "text/plain")))]
async fn get_metrics(State(app): State<App>) -> impl IntoResponse {
    let content_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(header::CONTENT_TYPE, content_type)], (app.metrics)())
}

/// Which build this is.
#[derive(Serialize, ToSchema)]
struct VersionResponse {
    name: &'static str,
    version: &'static str,
}

/// Which build this is.
#[utoipa::path(get, path = "/version", tag = "operation", responses((status = 200, body = VersionResponse)))]
async fn get_version() -> Json<VersionResponse> {
    Json(VersionResponse { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION") })
}

async fn get_problem_page(Path(page): Path<String>) -> Response {
    let path = format!("/problems/{page}");
    let Some(code) = Code::ALL.iter().find(|code| code.page() == path) else {
        return Problem::new(Code::NOT_FOUND, "There is no such problem.").into_response();
    };
    let status: StatusCode = code.status();
    let (title, name, advice) = (code.title(), code.name(), advice(*code));
    Html(format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title>\
         <style>body{{font:1rem/1.5 system-ui;max-width:40rem;margin:3rem auto;padding:0 1rem}}</style>\
         <h1>{title}</h1><p>Status <b>{status}</b>, code <code>{name}</code>.</p><p>{advice}</p>\
         <p>Nothing was changed by the request. Its <code>requestId</code> names it in the server's log.</p>\
         <p><a href=\"/swagger-ui/\">All operations and what they can answer</a></p></html>"
    ))
    .into_response()
}

/// What to do about it.
fn advice(code: Code) -> &'static str {
    match code {
        Code::UNAUTHENTICATED => "Log in (POST /api/v1/auth/login) and send the access token as a Bearer token.",
        Code::QUEUE_TOKEN_REQUIRED | Code::QUEUE_TOKEN_INVALID | Code::QUEUE_TOKEN_EXPIRED => {
            "Join the concert's queue (POST /api/v1/queue/tokens) and send the token in the header Queue-Token."
        }
        Code::QUEUE_TOKEN_NOT_ACTIVE => "Wait: ask GET /api/v1/queue/tokens/current again after pollAfterSeconds.",
        Code::INSUFFICIENT_POINTS => "Charge points (POST /api/v1/points/charges), then pay with a new key.",
        Code::SEATS_UNAVAILABLE => "The member conflicts says which seats are held or sold: choose others.",
        Code::HOLD_EXPIRED => "The seats are free again: hold them anew, if nobody else has.",
        Code::IDEMPOTENCY_KEY_REQUIRED | Code::IDEMPOTENCY_KEY_REUSED => {
            "Send a new Idempotency-Key for each new intention, and the same one when you repeat a request."
        }
        Code::VALIDATION_FAILED => "The member errors names every field or parameter that is wrong, and why.",
        Code::RATE_LIMITED | Code::OVERLOADED | Code::DATABASE_UNAVAILABLE | Code::DRAINING | Code::CLOCK_SKEWED => {
            "Try again after the seconds that the header Retry-After names."
        }
        Code::TIMEOUT | Code::IDEMPOTENCY_IN_PROGRESS => {
            "Repeat the request with the same Idempotency-Key: it has one effect, however often it is sent."
        }
        Code::INTERNAL => "This is a defect of the server. Report it with the requestId.",
        _ => "The member detail says what stood in the way.",
    }
}
