//! One call of a remote tool.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use rmcp::model::{
    CallToolRequest, CallToolRequestParams, CallToolResult, CancelledNotification,
    CancelledNotificationParam, ClientNotification, ClientRequest, ErrorCode, JsonObject,
    RequestId, RequestMetaObject, ServerResult,
};
use rmcp::service::{Peer, PeerRequestOptions, RequestHandle, RoleClient, ServiceError};
use serde_json::Value;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep_until, timeout};
use toolbooth_core::{CallContext, Name, TimeoutScope, ToolError, ToolOutput, TraceContext};

use super::RemoteError;
use super::connection::{Connection, ConnectionError, InFlight, Tracked};
use super::server::Shared;
use crate::TIMEOUT_META_KEY;
use crate::convert::relay::{from_custom_result, from_result};

/// The maximum time for sending the notification that a call is cancelled.
const CANCEL_TIMEOUT: Duration = Duration::from_secs(1);

/// The time after the deadline at which a call ends itself. A timeout layer ends it before, also on
/// a machine whose timers are late.
const AFTER_DEADLINE: Duration = Duration::from_millis(100);

/// A call to make.
pub(super) struct Call {
    pub(super) context: CallContext,
    /// The name of the tool at the server.
    pub(super) tool: Arc<str>,
    pub(super) arguments: Option<JsonObject>,
    pub(super) idle_timeout: Option<Duration>,
}

/// How a call failed.
pub(super) enum Failure {
    /// The call alone failed.
    Call(ToolError),
    /// The server cannot be reached over this connection. The call was not sent.
    Connection(RemoteError),
    /// The server does not know the session any more. The call was not made.
    Session(RemoteError),
}

/// Ends a call when it is dropped. Notifies the server that the call is cancelled if its request
/// may have been written, unless it is disarmed.
struct CancelOnDrop {
    in_flight: Arc<InFlight>,
    /// Over HTTP the transport of rmcp decides, which is notified in any case.
    is_http: bool,
    peer: Peer<RoleClient>,
    runtime: Handle,
    id: Option<RequestId>,
}

// === impl Call ===

impl Call {
    /// Waits for a connection.
    pub(super) async fn connection(&self, shared: &Shared) -> Result<Arc<Connection>, ToolError> {
        tokio::select! {
            biased;
            connection = shared.connection() => {
                connection.map_err(|error| tool_error(&self.context, error))
            }
            error = self.past_deadline() => {
                self.context.mark_not_started();
                Err(error)
            }
        }
    }

    /// Makes the call. Dropping the future notifies the server.
    pub(super) async fn run(&mut self, connection: &Connection) -> Result<ToolOutput, Failure> {
        let in_flight = InFlight::new(self.context.clone());
        let handle = self.send(connection, &in_flight).await?;
        let _registered = connection.register(&handle);
        // Nothing is awaited between the queue of rmcp and here.
        let mut cancel = CancelOnDrop {
            in_flight: Arc::clone(&in_flight),
            is_http: connection.is_http(),
            peer: connection.peer().clone(),
            runtime: connection.runtime().clone(),
            id: Some(handle.id.clone()),
        };
        let received = tokio::select! {
            biased;
            response = handle.rx => response.unwrap_or(Err(ServiceError::TransportClosed)),
            error = connection.lost().wait() => {
                cancel.disarm();
                return Err(self.failed(error));
            }
            error = self.expired(&in_flight) => return Err(Failure::Call(error)),
        };
        cancel.disarm();
        if let Some(fault) = in_flight.fault() {
            return Err(self.failed(fault.clone()));
        }
        match received {
            Ok(result) => self.output(connection.server(), result),
            Err(error) => Err(self.of_service(connection, error).await),
        }
    }

    async fn send(
        &mut self,
        connection: &Connection,
        in_flight: &Arc<InFlight>,
    ) -> Result<RequestHandle<RoleClient>, Failure> {
        let mut params = CallToolRequestParams::new(self.tool.to_string());
        params.arguments = match connection.is_http() {
            // For the next session.
            true => self.arguments.clone(),
            false => self.arguments.take(),
        };
        let mut request = CallToolRequest::new(params);
        request.extensions.insert(Tracked::new(in_flight));
        let mut options = PeerRequestOptions::no_options();
        options.meta = self.meta();
        let request = ClientRequest::CallToolRequest(request);
        let sent = connection.peer().send_request_with_option(request, options);
        match sent.await {
            Ok(handle) => Ok(handle),
            Err(error) => {
                self.context.mark_not_started();
                Err(self.of_service(connection, error).await)
            }
        }
    }

    async fn of_service(&self, connection: &Connection, error: ServiceError) -> Failure {
        match connection.error(error).await {
            ConnectionError::Call(error) => self.failed(error),
            ConnectionError::Rejected(error) => {
                self.context.mark_not_started();
                self.failed(error)
            }
            ConnectionError::Unreachable(error) => {
                self.context.mark_not_started();
                Failure::Connection(error)
            }
            ConnectionError::Session(error) => Failure::Session(error),
        }
    }

    /// Returns the remaining time and the trace context, for the server.
    fn meta(&self) -> Option<RequestMetaObject> {
        let mut meta = RequestMetaObject::new();
        if let Some(remaining) = self.context.remaining() {
            let millis = u64::try_from(remaining.as_millis()).unwrap_or(u64::MAX);
            meta.0
                .0
                .insert(TIMEOUT_META_KEY.to_owned(), Value::from(millis));
        }
        if let Some(trace) = self.context.extension::<TraceContext>() {
            meta.set_traceparent(trace.to_string());
            if !trace.tracestate().is_empty() {
                meta.set_tracestate(trace.tracestate());
            }
        }
        (!meta.0.0.is_empty()).then_some(meta)
    }

    /// Waits until the deadline has passed.
    async fn past_deadline(&self) -> ToolError {
        match self.context.deadline() {
            Some(deadline) => sleep_until(deadline + AFTER_DEADLINE).await,
            None => pending().await,
        }
        // Within the grace of a timeout layer, that layer ends the call.
        if self.context.is_cancelled() {
            pending::<()>().await;
        }
        let elapsed = self.context.elapsed();
        ToolError::timeout(TimeoutScope::Deadline, elapsed, elapsed)
    }

    /// Waits until nothing was received within the idle limit.
    async fn idle(&self, in_flight: &InFlight) -> ToolError {
        let Some(limit) = self.idle_timeout else {
            return pending().await;
        };
        loop {
            let until = in_flight.last_received() + limit;
            if until <= Instant::now() {
                return ToolError::timeout(TimeoutScope::Idle, limit, self.context.elapsed());
            }
            sleep_until(until).await;
        }
    }

    async fn expired(&self, in_flight: &InFlight) -> ToolError {
        tokio::select! {
            error = self.past_deadline() => error,
            error = self.idle(in_flight) => error,
        }
    }

    fn output(&self, server: &Name, result: ServerResult) -> Result<ToolOutput, Failure> {
        let server = server.clone();
        let malformed = |server| RemoteError::Malformed {
            server,
            message: "something else than the result of a tool".into(),
        };
        Err(self.failed(match result {
            ServerResult::CallToolResult(result) => return Ok(from_result(result)),
            // A result without contents is read as one of these.
            ServerResult::EmptyResult(_) => return Ok(from_result(CallToolResult::default())),
            ServerResult::TaskAckResult(result) => {
                let mut empty = CallToolResult::default();
                empty.meta = result.meta;
                return Ok(from_result(empty));
            }
            ServerResult::CustomResult(result) => match from_custom_result(result.0) {
                Some(output) => return Ok(output),
                None => malformed(server),
            },
            ServerResult::InputRequiredResult(_) => RemoteError::InputRequired { server },
            ServerResult::CreateTaskResult(_) => RemoteError::Task { server },
            _ => malformed(server),
        }))
    }

    fn failed(&self, error: RemoteError) -> Failure {
        Failure::Call(tool_error(&self.context, error))
    }
}

/// Converts an error of a server into that of a call.
pub(super) fn tool_error(context: &CallContext, error: RemoteError) -> ToolError {
    tracing::debug!(
        server = error.server(),
        tool = context.tool(),
        call_id = %context.id(),
        error = &error as &dyn std::error::Error,
        "a call of a remote tool failed"
    );
    match &error {
        RemoteError::Rpc { code, message, .. } if *code == ErrorCode::INVALID_PARAMS.0 => {
            context.mark_not_started();
            match names_unknown_tool(message) {
                true => ToolError::unknown_tool(context.tool()),
                false => ToolError::invalid_arguments(".", Arc::clone(message)),
            }
        }
        RemoteError::Away {
            since, retry_after, ..
        } => {
            context.mark_not_started();
            let (since, retry_after) = (*since, *retry_after);
            error.rejection(since, retry_after)
        }
        RemoteError::Status {
            status: 429,
            retry_after: Some(after),
            ..
        } => {
            context.mark_not_started();
            ToolError::rate_limited(*after).with_source(ToolError::failed(error))
        }
        RemoteError::Status {
            status: 503,
            retry_after: Some(after),
            ..
        } => ToolError::circuit_open(*after).with_source(ToolError::failed(error)),
        RemoteError::Closed { .. } => {
            context.mark_not_started();
            ToolError::failed(error).with_outage(false)
        }
        RemoteError::InputRequired { .. } | RemoteError::Task { .. } => {
            ToolError::failed(error).with_outage(false)
        }
        _ => ToolError::failed(error),
    }
}

/// Returns whether the message for invalid parameters is about the name of the tool, for which MCP
/// has no code of its own.
fn names_unknown_tool(message: &str) -> bool {
    let message = message.to_lowercase();
    message.contains("unknown tool")
        || message.contains("no tool named")
        || message.contains("tool") && message.contains("not found")
}

// === impl CancelOnDrop ===

impl CancelOnDrop {
    fn disarm(&mut self) {
        self.id = None;
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        let may_be_written = self.in_flight.end() || self.is_http;
        let Some(id) = self.id.take().filter(|_| may_be_written) else {
            return;
        };
        let peer = self.peer.clone();
        let params = CancelledNotificationParam::new(Some(id), None);
        let cancelled = CancelledNotification::new(params);
        // Bounded, for a server that does not read.
        self.runtime.spawn(timeout(CANCEL_TIMEOUT, async move {
            let notification = ClientNotification::CancelledNotification(cancelled);
            peer.send_notification(notification).await
        }));
    }
}
