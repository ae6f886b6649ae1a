//! Operations: liveness, readiness, metrics, version, and the pages that explain problems.

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

/// Probes and metrics, which may have their own listener.
pub(super) fn probes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(get_livez)).routes(routes!(get_readyz)).routes(routes!(get_metrics))
}

/// The pages to which the `type` of each problem leads.
pub(super) fn problem_pages() -> Router<App> {
    Router::new().route("/problems/{code}", get(get_problem_page))
}

/// A passed probe.
#[derive(Serialize, ToSchema)]
struct StatusResponse {
    /// Always `ok`.
    #[schema(pattern = "^ok$", example = "ok")]
    status: &'static str,
}

/// Returns 200 while the process runs.
#[utoipa::path(get, path = "/livez", tag = "operation", responses((status = 200, body = StatusResponse)))]
async fn get_livez() -> Json<StatusResponse> {
    Json(StatusResponse { status: "ok" })
}

/// Returns 200 while the server can serve requests.
///
/// The database answers with the expected schema, the server's clock agrees with the database's, and no shutdown has
/// begun.
#[utoipa::path(get, path = "/readyz", tag = "operation",
    extensions(("x-problems" = json!([Code::DRAINING, Code::DATABASE_UNAVAILABLE, Code::CLOCK_SKEWED]))),
    responses((status = 200, body = StatusResponse)))]
async fn get_readyz(State(app): State<App>) -> HandlerResult<Json<StatusResponse>> {
    if app.leaving.is_cancelled() {
        return Err(Problem::new(Code::DRAINING, "The server is shutting down."));
    }
    if !app.clock_check.is_right() {
        return Err(Problem::clock_skewed());
    }
    let current = app.database.schema_is_current().await.map_err(AppError::from)?;
    if current {
        Ok(Json(StatusResponse { status: "ok" }))
    } else {
        Err(Problem::new(Code::DATABASE_UNAVAILABLE, "The database doesn't have the schema that this server needs."))
    }
}

/// Returns the metrics in the Prometheus text format.
#[utoipa::path(get, path = "/metrics", tag = "operation",
    responses((status = 200, body = String, content_type = "text/plain")))]
async fn get_metrics(State(app): State<App>) -> impl IntoResponse {
    let content_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(header::CONTENT_TYPE, content_type)], (app.metrics)())
}

/// The running build.
#[derive(Serialize, ToSchema)]
struct VersionResponse {
    name: &'static str,
    version: &'static str,
}

/// Returns the name and version of the running build.
#[utoipa::path(get, path = "/version", tag = "operation", responses((status = 200, body = VersionResponse)))]
async fn get_version() -> Json<VersionResponse> {
    Json(VersionResponse { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION") })
}

async fn get_problem_page(Path(page): Path<String>) -> Response {
    let path = format!("/problems/{page}");
    let Some(code) = Code::ALL.iter().find(|code| code.page() == path) else {
        return Problem::new(Code::NOT_FOUND, "No problem has this name.").into_response();
    };
    let status: StatusCode = code.status();
    let (title, name, advice) = (code.title(), code.name(), advice(*code));
    Html(format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>{title}</title>\
         <style>body{{font:1rem/1.5 system-ui;max-width:40rem;margin:3rem auto;padding:0 1rem}}</style>\
         <h1>{title}</h1><p>Status <b>{status}</b>, code <code>{name}</code>.</p><p>{advice}</p>\
         <p>The problem's <code>requestId</code> names the request in the server's log.</p>\
         <p><a href=\"/swagger-ui/\">All operations and their responses</a></p></html>"
    ))
    .into_response()
}

/// What a client can do about a problem.
fn advice(code: Code) -> &'static str {
    match code {
        Code::UNAUTHENTICATED => "Log in (POST /api/v1/auth/login) and send the access token as a Bearer token.",
        Code::QUEUE_TOKEN_REQUIRED | Code::QUEUE_TOKEN_INVALID | Code::QUEUE_TOKEN_EXPIRED => {
            "Join the concert's queue (POST /api/v1/queue/tokens) and send the token in the header Queue-Token."
        }
        Code::QUEUE_TOKEN_NOT_ACTIVE => "Wait: request GET /api/v1/queue/tokens/current again after pollAfterSeconds.",
        Code::INSUFFICIENT_POINTS => "Charge points (POST /api/v1/points/charges), then pay with a new key.",
        Code::SEATS_UNAVAILABLE => {
            "The member conflicts lists the seats that are held, sold or blocked: choose others."
        }
        Code::HOLD_EXPIRED => "The seats are available again: hold them again, unless another user has.",
        Code::IDEMPOTENCY_KEY_REQUIRED | Code::IDEMPOTENCY_KEY_REUSED => {
            "Send a new Idempotency-Key for each new operation, and the same one when you repeat a request."
        }
        Code::VALIDATION_FAILED => "The member errors lists every invalid field or parameter with the reason.",
        Code::RATE_LIMITED | Code::OVERLOADED | Code::DATABASE_UNAVAILABLE | Code::DRAINING | Code::CLOCK_SKEWED => {
            "Try again after the seconds that the header Retry-After names."
        }
        Code::TIMEOUT | Code::IDEMPOTENCY_IN_PROGRESS => {
            "Repeat the request with the same Idempotency-Key: it has one effect, however often it is sent."
        }
        Code::INTERNAL => "This is a defect of the server. Report it with the requestId.",
        _ => "The member detail has the reason.",
    }
}
