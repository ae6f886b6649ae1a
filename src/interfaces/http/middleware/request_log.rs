//! One log line and one measurement per request.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    extract::{MatchedPath, Request},
    http::Method,
    middleware::Next,
    response::Response,
};
use tracing::{Instrument, Span, field::Empty};

use super::measure::{self, InFlight};
use crate::{
    application::lane,
    interfaces::http::{
        context::{RequestContext, with_request_id},
        problem::{Code, Problem},
        state::App,
    },
};

/// Logs and measures a request once it is answered. Its headers, body and query are never logged: they hold secrets.
pub(super) async fn log_request(app: &App, context: RequestContext, request: Request, next: Next) -> Response {
    let request_id = Arc::clone(&context.request_id);
    let mut log = RequestLogGuard {
        context,
        method: request.method().clone(),
        matched: request.extensions().get::<MatchedPath>().cloned(),
        started: Instant::now(),
        answered: false,
        _in_flight: InFlight::begin(),
    };
    let span = log.span();
    (app.join_trace)(&span, request.headers());
    let response = with_request_id(request_id, lane::with_lane_wait(next.run(request)));
    let (response, lane_time) = response.instrument(span.clone()).await;
    log.record_response(&response, lane_time);
    span.record("http.response.status_code", response.status().as_u16());
    if response.status().is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
    response
}

/// Logs a request when it is answered, or when it is dropped without a response.
struct RequestLogGuard {
    context: RequestContext,
    method: Method,
    matched: Option<MatchedPath>,
    started: Instant,
    answered: bool,
    _in_flight: InFlight,
}

impl RequestLogGuard {
    fn route(&self) -> &str {
        self.matched.as_ref().map_or("unmatched", MatchedPath::as_str)
    }

    /// The request's span. The field names are OpenTelemetry's.
    fn span(&self) -> Span {
        tracing::debug_span!(
            "request",
            otel.name = %format_args!("{} {}", self.method, self.route()),
            otel.kind = "server",
            otel.status_code = Empty,
            http.request.method = %self.method,
            http.route = self.route(),
            http.response.status_code = Empty,
            request_id = &*self.context.request_id,
        )
    }

    fn record_response(&mut self, response: &Response, lane_time: Duration) {
        self.answered = true;
        let elapsed = self.started.elapsed();
        let status = response.status();
        let problem = response.extensions().get::<Problem>();
        let code = problem.map(Problem::code);
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    request_id = &*self.context.request_id,
                    method = %self.method,
                    route = self.route(),
                    status = status.as_u16(),
                    duration_ms = milliseconds(elapsed),
                    lane_ms = (!lane_time.is_zero()).then(|| milliseconds(lane_time)),
                    user = self.context.user.get().map(tracing::field::display),
                    code = code.map(Code::name),
                    cause = problem.and_then(Problem::cause),
                    "request"
                )
            };
        }
        match code {
            // Expected under load, so no error.
            Some(Code::RATE_LIMITED | Code::OVERLOADED | Code::DRAINING) => line!(warn),
            _ if status.is_server_error() => line!(error),
            _ => line!(info),
        }
        measure::record(&self.method, self.route(), status, code, elapsed);
    }
}

impl Drop for RequestLogGuard {
    /// Logs a request whose client disconnected before the response.
    fn drop(&mut self) {
        if !self.answered {
            let (request_id, method, route) = (&*self.context.request_id, &self.method, self.route());
            let duration_ms = milliseconds(self.started.elapsed());
            tracing::info!(request_id, %method, route, duration_ms, "request given up by its client");
            metrics::counter!("http_requests_abandoned_total").increment(1);
        }
    }
}

/// Milliseconds, with microseconds as decimals.
fn milliseconds(duration: Duration) -> f64 {
    f64::from(u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)) / 1_000.0
}
