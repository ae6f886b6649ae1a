//! Traces, for a collector that speaks OpenTelemetry's protocol over HTTP. Only a build with the feature `otel` has them.
//!
//! A request's span goes on from the caller's (`traceparent`). The transaction that a lane makes for many requests has a
//! span of its own, which links to all of theirs, with its statements as events of sqlx.

use tracing_subscriber::Layer;

pub use implementation::{Traces, join, start};

/// Makes spans of what is traced.
pub type SpanLayer<S> = Box<dyn Layer<S> + Send + Sync>;

#[cfg(feature = "otel")]
mod implementation {
    use anyhow::Context;
    use axum::http::HeaderMap;
    use opentelemetry::{
        Key,
        propagation::{Extractor, TextMapPropagator},
        trace::TracerProvider,
    };
    use opentelemetry_otlp::{SpanExporter, WithExportConfig};
    use opentelemetry_sdk::{Resource, propagation::TraceContextPropagator, trace::SdkTracerProvider};
    use tracing::{Span, Subscriber, level_filters::LevelFilter};
    use tracing_opentelemetry::OpenTelemetrySpanExt;
    use tracing_subscriber::{Layer, filter::Targets, registry::LookupSpan};

    use super::SpanLayer;

    /// What sends spans, in a thread of its own.
    #[derive(Debug)]
    pub struct Traces(SdkTracerProvider);

    impl Traces {
        /// Sends what is left.
        pub fn stop(self) {
            if let Err(error) = self.0.shutdown() {
                tracing::warn!(error = &error as &dyn std::error::Error, "the last spans can't be sent");
            }
        }
    }

    /// The layer that makes spans of what is traced, and what sends them to a collector.
    pub fn start<S>(endpoint: &str) -> anyhow::Result<Option<(SpanLayer<S>, Traces)>>
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        // The exporter's client needs one, even where it speaks plain HTTP. Fails only if there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let endpoint = format!("{}/v1/traces", endpoint.trim_end_matches('/'));
        let exporter = SpanExporter::builder().with_http().with_endpoint(endpoint).build();
        let exporter = exporter.context("making an exporter of traces")?;
        // Sampling and the like are set by the standard variables, OTEL_TRACES_SAMPLER and so on, which the SDK reads.
        let resource = Resource::builder().build();
        let named = resource.get(&Key::from_static_str("service.name"));
        let is_named = named.is_some_and(|name| !name.as_str().starts_with("unknown_service"));
        let resource =
            if is_named { resource } else { Resource::builder().with_service_name(env!("CARGO_PKG_NAME")).build() };
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
        // Spans are the program's own; of sqlx they have the statements, which never hold a value.
        let spans = Targets::new()
            .with_target(env!("CARGO_CRATE_NAME"), LevelFilter::DEBUG)
            .with_target("sqlx::query", LevelFilter::DEBUG);
        let tracer = provider.tracer(env!("CARGO_PKG_NAME"));
        let layer = tracing_opentelemetry::layer().with_tracer(tracer).with_filter(spans);
        Ok(Some((Box::new(layer), Traces(provider))))
    }

    /// Makes a request's span part of the trace that its caller began.
    pub fn join(span: &Span, headers: &HeaderMap) {
        let parent = TraceContextPropagator::new().extract(&Headers(headers));
        // Fails where nothing is traced.
        let _ = span.set_parent(parent);
    }

    struct Headers<'a>(&'a HeaderMap);

    impl Extractor for Headers<'_> {
        fn get(&self, key: &str) -> Option<&str> {
            self.0.get(key)?.to_str().ok()
        }

        fn keys(&self) -> Vec<&str> {
            self.0.keys().map(axum::http::HeaderName::as_str).collect()
        }
    }
}

#[cfg(not(feature = "otel"))]
mod implementation {
    use axum::http::HeaderMap;
    use tracing::{Span, Subscriber};
    use tracing_subscriber::registry::LookupSpan;

    use super::SpanLayer;

    /// Nothing: this build sends no traces.
    #[derive(Debug)]
    pub struct Traces(std::convert::Infallible);

    impl Traces {
        /// Has nothing to send.
        pub fn stop(self) {
            match self.0 {}
        }
    }

    /// Has nothing to start.
    pub fn start<S>(_: &str) -> anyhow::Result<Option<(SpanLayer<S>, Traces)>>
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        Ok(None)
    }

    /// Leaves the span as it is.
    pub fn join(_: &Span, _: &HeaderMap) {}
}
