//! An agent whose tool calls are traced, exported by OTLP, and received again.

mod collector;
mod tools;

use std::error::Error;

use opentelemetry::trace::{SpanContext, TraceContextExt, TraceFlags, TraceState, TracerProvider};
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::trace::SdkTracerProvider;
use serde_json::json;
use toolbooth::ToolCall;
use toolbooth::events::{EventsLayer, TraceContext, TracingSink};
use tower::ServiceExt;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use self::collector::Collector;
pub use self::collector::Span;

type BoxError = Box<dyn Error + Send + Sync>;

/// The trace context of the process that orders the report.
pub const TRACEPARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// Makes the calls, and returns the spans that the collector received.
///
/// # Errors
/// If there is no port for the collector, if a subscriber is set already, or if a call fails that
/// must not.
pub async fn traced_report() -> Result<Vec<Span>, BoxError> {
    let collector = Collector::start().await?;
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(collector.endpoint())
        .build()?;
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(exporter)
        .build();
    tracing_subscriber::registry()
        .with(tracing_subscriber::filter::LevelFilter::DEBUG)
        .with(tracing_opentelemetry::layer().with_tracer(provider.tracer("agent")))
        .try_init()?;

    let agent = tools::agent(&EventsLayer::new(sink()))?;
    let trace = TraceContext::parse(TRACEPARENT, None).ok_or("not a trace context")?;
    let report = ToolCall::new("report", json!(null))
        .with_id("report")
        .with_tenant("acme")
        .with_extension(trace);
    let response = agent.oneshot(report).await?;
    response.collect().await?;

    // It blocks its thread until all spans are exported.
    tokio::task::spawn_blocking(move || provider.shutdown()).await??;
    Ok(collector.stop().await)
}

/// A sink whose spans continue the traces of callers in other processes.
fn sink() -> TracingSink {
    TracingSink::new().with_parent(|span, trace| {
        let parent = SpanContext::new(
            trace.trace_id().into(),
            trace.parent_id().into(),
            TraceFlags::new(trace.flags()),
            true,
            trace.tracestate().parse().unwrap_or(TraceState::NONE),
        );
        let parent = opentelemetry::Context::new().with_remote_span_context(parent);
        // Fails without the layer of `tracing-opentelemetry`: then there is no trace to continue.
        let _ = span.set_parent(parent);
    })
}
