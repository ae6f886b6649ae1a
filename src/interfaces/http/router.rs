//! The routes and their middleware.

use std::time::Duration;

use axum::{
    Router,
    body::Bytes,
    http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header},
    middleware::from_fn_with_state,
    routing::get,
};
use tower_http::{
    compression::{
        CompressionLayer,
        predicate::{DefaultPredicate, NotForContentType, Predicate},
    },
    cors::{AllowOrigin, CorsLayer},
};
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::{Config, SwaggerUi};

use super::{
    admin, booking, concert, draw, gate, mailed_code,
    middleware::{assign_request_id, convert_failures},
    openapi::{self, DemoAccounts, Document},
    operation, page,
    paths::BASE_PATH,
    payment, point, queue, queue_events, sandbox, seat, seat_events, session,
    state::{App, HttpSettings},
    ticket, top_up, user,
    values::to_json,
};

/// The routes behind the gate: each request needs an active queue token of the concert.
///
/// `tests/api/gate.rs` requests each of them with every kind of token, and fails when a route is missing there.
pub fn gated_routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .merge(seat::gated_routes())
        .merge(seat_events::gated_routes())
        .merge(booking::gated_routes())
        .merge(payment::gated_routes())
}

fn open_routes() -> OpenApiRouter<App> {
    let large = concert::routes().merge(draw::routes()).merge(booking::routes()).merge(admin::routes());
    OpenApiRouter::new()
        .merge(large.layer(compression()))
        .merge(user::routes())
        .merge(admin::user_routes())
        .merge(session::routes())
        .merge(mailed_code::routes())
        .merge(queue::routes())
        .merge(queue_events::routes())
        .merge(point::routes())
        .merge(top_up::routes())
        .merge(payment::routes())
        .merge(ticket::routes())
        .merge(admin::event_routes())
        .merge(seat::admin_routes())
}

/// The OpenAPI document. With `demo` it names the accounts of a demonstration server.
pub fn document(demo: Option<&DemoAccounts>) -> Document {
    let api = OpenApiRouter::new()
        .nest(BASE_PATH, gated_routes().merge(open_routes()))
        .merge(operation::probes())
        .merge(operation::routes());
    openapi::add_shared_parts(api.into_openapi(), demo)
}

/// The routes of the main listener, with all middleware.
///
/// From the outside in: [`assign_request_id`] names, logs and measures the request. CORS comes next, so that pages can
/// read failures too. [`convert_failures`] enforces limits, and turns failures and panics into problems. Gated routes
/// are behind their gate. Each request clones every layer, so there are few.
pub fn build_router(app: App) -> Router {
    let gate = from_fn_with_state(app.clone(), gate::require_queue_token);
    let api = OpenApiRouter::new()
        .nest(BASE_PATH, gated_routes().route_layer(gate).merge(open_routes()))
        .merge(operation::routes());
    let api = if app.settings.separate_operations { api } else { api.merge(operation::probes()) };
    let (routes, _) = api.split_for_parts();
    // Outside the gate: a wrong method is 405 with any token.
    let routes = routes.method_not_allowed_fallback(async || StatusCode::METHOD_NOT_ALLOWED);
    let routes = routes
        .merge(operation::problem_pages())
        .merge(sandbox::routes())
        .with_state(app.clone())
        .merge(documentation(app.settings.demo.as_ref()).layer(compression()))
        .merge(page::routes())
        .layer(from_fn_with_state(app.clone(), convert_failures));
    let settings = &app.settings;
    let routes = if settings.cors_allowed_origins.is_empty() { routes } else { routes.layer(cors(settings)) };
    routes.layer(from_fn_with_state(app, assign_request_id))
}

/// The routes of the operators' listener.
pub fn build_operations_router(app: App) -> Router {
    let (routes, _) = operation::probes().split_for_parts();
    routes
        .method_not_allowed_fallback(async || StatusCode::METHOD_NOT_ALLOWED)
        .with_state(app.clone())
        .layer(from_fn_with_state(app.clone(), convert_failures))
        .layer(from_fn_with_state(app, assign_request_id))
}

/// The OpenAPI document and Swagger UI. Swagger UI keeps tokens over a reload.
fn documentation(demo: Option<&DemoAccounts>) -> Router {
    const DOCUMENT: &str = "/api-docs/openapi.json";
    let document = Bytes::from(to_json(&document(demo)));
    let config = Config::new([DOCUMENT]).persist_authorization(true).display_request_duration(true);
    let page = Router::from(SwaggerUi::new("/swagger-ui").config(config));
    let content_type = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
    page.route(DOCUMENT, get(async move || (content_type, document)))
}

/// Compresses large responses, except streams and responses with a strong entity tag.
fn compression() -> CompressionLayer<impl Predicate> {
    let predicate = DefaultPredicate::new().and(NotForContentType::new("text/event-stream")).and(has_no_strong_etag);
    CompressionLayer::new().compress_when(predicate)
}

/// A strong entity tag identifies exact bytes, which compression would change.
fn has_no_strong_etag(_: StatusCode, _: Version, headers: &HeaderMap, _: &Extensions) -> bool {
    headers.get(header::ETAG).is_none_or(|etag| etag.as_bytes().starts_with(b"W/"))
}

fn cors(settings: &HttpSettings) -> CorsLayer {
    let any = settings.cors_allowed_origins.iter().any(|origin| origin == "*");
    let origins = settings.cors_allowed_origins.iter().filter_map(|origin| HeaderValue::from_str(origin).ok());
    let origin = if any { AllowOrigin::any() } else { AllowOrigin::list(origins) };
    let name = HeaderName::from_static;
    CorsLayer::new()
        .allow_origin(origin)
        .allow_methods([Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::IF_MATCH,
            header::IF_NONE_MATCH,
            name("idempotency-key"),
            name("queue-token"),
            name("x-request-id"),
            name("last-event-id"),
            // A page may propagate a trace.
            name("traceparent"),
            name("tracestate"),
        ])
        .expose_headers([
            header::ETAG,
            header::RETRY_AFTER,
            header::LOCATION,
            name("x-request-id"),
            name("idempotency-replayed"),
            name("ratelimit"),
            name("ratelimit-policy"),
        ])
        .max_age(Duration::from_mins(10))
}
