//! A collector of OTLP that keeps what it receives.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use opentelemetry_proto::tonic::collector::trace::v1::trace_service_server::{
    TraceService, TraceServiceServer,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::trace::v1 as otlp;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// A span that was received.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Span {
    /// The name.
    pub name: String,
    /// The id of the trace, in hexadecimal digits.
    pub trace_id: String,
    /// The id of the span, in hexadecimal digits.
    pub id: String,
    /// The id of the parent, empty without one.
    pub parent_id: String,
    /// Whether its kind is internal.
    pub is_internal: bool,
    /// Whether its status is an error.
    pub is_error: bool,
    /// The attributes, as text.
    pub attributes: BTreeMap<String, String>,
    /// The names of the events.
    pub events: Vec<String>,
    /// The duration in milliseconds.
    pub millis: u64,
}

/// The server.
pub(super) struct Collector {
    address: SocketAddr,
    received: Received,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

#[derive(Clone, Default)]
struct Received(Arc<Mutex<Vec<Span>>>);

// === impl Collector ===

impl Collector {
    pub(super) async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let received = Received::default();
        let service = TraceServiceServer::new(received.clone());
        let (stop, stopped) = oneshot::channel::<()>();
        let server = tokio::spawn(async move {
            let stopped = async { drop(stopped.await) };
            let server = Server::builder().add_service(service);
            let incoming = TcpIncoming::from(listener);
            // The spans that arrived count.
            let _ = server.serve_with_incoming_shutdown(incoming, stopped).await;
        });
        Ok(Self {
            address,
            received,
            stop,
            server,
        })
    }

    pub(super) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops the server, and returns the spans in the order of their starts.
    pub(super) async fn stop(self) -> Vec<Span> {
        // Fails if the server has stopped by itself.
        let _ = self.stop.send(());
        let _ = self.server.await;
        std::mem::take(&mut *self.received.lock())
    }
}

// === impl Received ===

impl Received {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Span>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[tonic::async_trait]
impl TraceService for Received {
    async fn export(
        &self,
        request: Request<ExportTraceServiceRequest>,
    ) -> Result<Response<ExportTraceServiceResponse>, Status> {
        let resources = request.into_inner().resource_spans.into_iter();
        let scopes = resources.flat_map(|resource| resource.scope_spans);
        let spans = scopes.flat_map(|scope| scope.spans).map(Span::from);
        self.lock().extend(spans);
        Ok(Response::new(ExportTraceServiceResponse::default()))
    }
}

// === impl Span ===

impl Span {
    /// Returns an attribute.
    #[must_use]
    pub fn get(&self, attribute: &str) -> Option<&str> {
        self.attributes.get(attribute).map(String::as_str)
    }

    /// Returns the parent, if it is one of `spans`.
    #[must_use]
    pub fn parent_in<'a>(&self, spans: &'a [Self]) -> Option<&'a Self> {
        spans.iter().find(|span| span.id == self.parent_id)
    }
}

impl From<otlp::Span> for Span {
    fn from(span: otlp::Span) -> Self {
        let nanos = span
            .end_time_unix_nano
            .saturating_sub(span.start_time_unix_nano);
        let is_error = |status: &otlp::Status| status.code() == otlp::status::StatusCode::Error;
        Self {
            is_internal: span.kind() == otlp::span::SpanKind::Internal,
            is_error: span.status.as_ref().is_some_and(is_error),
            name: span.name,
            trace_id: hex(&span.trace_id),
            id: hex(&span.span_id),
            parent_id: hex(&span.parent_span_id),
            attributes: span.attributes.into_iter().filter_map(text_of).collect(),
            events: span.events.into_iter().map(|event| event.name).collect(),
            millis: nanos / 1_000_000,
        }
    }
}

/// Returns the name and the text of an attribute; `None` for a list.
fn text_of(attribute: KeyValue) -> Option<(String, String)> {
    let text = match attribute.value?.value? {
        Value::StringValue(text) => text,
        Value::BoolValue(value) => value.to_string(),
        Value::IntValue(value) => value.to_string(),
        Value::DoubleValue(value) => value.to_string(),
        _ => return None,
    };
    Some((attribute.key, text))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
