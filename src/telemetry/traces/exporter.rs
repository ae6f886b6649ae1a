//! Sends spans to a collector that speaks OTLP over HTTP.

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

/// Sends spans in a thread of its own.
#[derive(Debug)]
pub struct Traces(SdkTracerProvider);

impl Traces {
    /// Sends the remaining spans. Blocks, so it must not run on the runtime.
    pub fn stop(self) {
        if let Err(error) = self.0.shutdown() {
            tracing::warn!(error = &error as &dyn std::error::Error, "sending the last spans failed");
        }
    }
}

/// Returns the layer that records spans, and the exporter that sends them to the collector at `endpoint`.
pub fn start<S>(endpoint: &str) -> anyhow::Result<Option<(SpanLayer<S>, Traces)>>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
{
    // The exporter's client needs a provider, even for plain HTTP. Fails only if one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let endpoint = format!("{}/v1/traces", endpoint.trim_end_matches('/'));
    let exporter = SpanExporter::builder().with_http().with_endpoint(endpoint).build();
    let exporter = exporter.context("creating the exporter of traces")?;
    // The SDK reads the standard variables, OTEL_TRACES_SAMPLER and so on.
    let resource = Resource::builder().build();
    let named = resource.get(&Key::from_static_str("service.name"));
    let is_named = named.is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    let resource =
        if is_named { resource } else { Resource::builder().with_service_name(env!("CARGO_PKG_NAME")).build() };
    let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
    // The spans of this crate, and the statements of sqlx, which never contain a value.
    let spans = Targets::new()
        .with_target(env!("CARGO_CRATE_NAME"), LevelFilter::DEBUG)
        .with_target("sqlx::query", LevelFilter::DEBUG);
    let tracer = provider.tracer(env!("CARGO_PKG_NAME"));
    let layer = tracing_opentelemetry::layer().with_tracer(tracer).with_filter(spans);
    Ok(Some((Box::new(layer), Traces(provider))))
}

/// Makes the span a child of the caller's span (`traceparent`).
pub fn join(span: &Span, headers: &HeaderMap) {
    let parent = TraceContextPropagator::new().extract(&HeaderExtractor(headers));
    // Fails without a trace layer.
    let _ = span.set_parent(parent);
}

struct HeaderExtractor<'a>(&'a HeaderMap);

impl Extractor for HeaderExtractor<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(axum::http::HeaderName::as_str).collect()
    }
}
