//! The metrics of every request.

use std::{cell::RefCell, collections::HashMap, time::Duration};

use axum::http::{Method, StatusCode};
use metrics::{Gauge, Histogram};

use crate::interfaces::http::problem::Code;

thread_local! {
    static HTTP_METRICS: RefCell<HttpMetrics> = RefCell::default();
}

/// The metric handles that this thread has used so far. A lookup by labels would take five times as long, half a
/// microsecond, and some responses take only ten.
struct HttpMetrics {
    in_flight: Gauge,
    /// By method and status.
    seconds: HashMap<(&'static str, u16), RouteHistograms>,
}

type RouteHistograms = Vec<(Box<str>, Histogram)>;

impl Default for HttpMetrics {
    fn default() -> Self {
        Self { in_flight: metrics::gauge!("http_requests_in_flight"), seconds: HashMap::new() }
    }
}

/// Counts a request as in flight until it is dropped.
pub(super) struct InFlight(());

impl InFlight {
    pub(super) fn begin() -> Self {
        HTTP_METRICS.with_borrow(|metrics| metrics.in_flight.increment(1.0));
        Self(())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        HTTP_METRICS.with_borrow(|metrics| metrics.in_flight.decrement(1.0));
    }
}

/// Records a response. `route` is the route's template, never the request's path: each label must have few values.
pub(super) fn record(method: &Method, route: &str, status: StatusCode, code: Option<Code>, elapsed: Duration) {
    let (method, status) = (method_name(method), status.as_u16());
    HTTP_METRICS.with_borrow_mut(|metrics| {
        let known = metrics.seconds.entry((method, status)).or_default();
        if let Some((_, seconds)) = known.iter().find(|(known, _)| **known == *route) {
            return seconds.record(elapsed);
        }
        let labels = [("method", method.to_owned()), ("route", route.to_owned()), ("status", status.to_string())];
        let seconds = metrics::histogram!("http_request_seconds", &labels);
        seconds.record(elapsed);
        known.push((route.into(), seconds));
    });
    if let Some(code) = code {
        metrics::counter!("http_problems_total", "code" => code.name()).increment(1);
    }
}

/// The label of a method. Clients may invent methods, and a label must have few values.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "OTHER",
    }
}
