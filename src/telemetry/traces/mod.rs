//! Traces for an OpenTelemetry collector, in a build with the feature `otel`.
//!
//! A request's span continues the caller's trace (`traceparent`). A lane's transaction has a span of its own, which
//! links to the spans of all its requests; its statements are events of sqlx.

#[cfg(not(feature = "otel"))]
mod disabled;
#[cfg(feature = "otel")]
mod exporter;

use tracing_subscriber::Layer;

#[cfg(not(feature = "otel"))]
pub use self::disabled::{Traces, join, start};
#[cfg(feature = "otel")]
pub use self::exporter::{Traces, join, start};

/// A layer of the subscriber that records spans.
pub type SpanLayer<S> = Box<dyn Layer<S> + Send + Sync>;
