use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rmcp::model::JsonObject;
use serde_json::Value;
use toolbooth_core::{ToolCall, ToolError, ToolOutput, nests_too_deep};
use tower_service::Service;

use super::call::{Call, Failure, tool_error};
use super::server::Shared;

/// A tool of a remote server.
///
/// It calls the tool whatever name the call has. Clones are the same tool, and handles to its
/// server: the connection stays until the last of them is dropped.
#[derive(Clone)]
pub struct RemoteTool {
    shared: Arc<Shared>,
    /// The name of the tool at the server.
    name: Arc<str>,
}

/// The future of a call of a [`RemoteTool`]. Dropping it notifies the server that the call is
/// cancelled.
#[must_use = "futures do nothing unless polled"]
pub struct RemoteToolFuture(Running);

type Running = Pin<Box<dyn Future<Output = Result<ToolOutput, ToolError>> + Send>>;

// === impl RemoteTool ===

impl RemoteTool {
    pub(super) const fn new(shared: Arc<Shared>, name: Arc<str>) -> Self {
        Self { shared, name }
    }

    /// Returns the name of the tool at the server, without the prefix.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    async fn run(self, call: ToolCall) -> Result<ToolOutput, ToolError> {
        let (context, args) = call.into_parts();
        let arguments = arguments(args).inspect_err(|_| context.mark_not_started())?;
        let mut call = Call {
            context,
            tool: self.name,
            arguments,
            idle_timeout: self.shared.settings().idle_timeout,
        };
        let mut is_repeated = false;
        loop {
            let connection = call.connection(&self.shared).await?;
            match call.run(&connection).await {
                Ok(output) => return Ok(output),
                Err(Failure::Call(error)) => return Err(error),
                Err(Failure::Connection(error)) => {
                    self.shared.retire(&connection, &error);
                    return Err(tool_error(&call.context, error));
                }
                Err(Failure::Session(error)) => {
                    self.shared.retire(&connection, &error);
                    // The server has rejected the request, so the call has not started.
                    if std::mem::replace(&mut is_repeated, true) {
                        call.context.mark_not_started();
                        return Err(tool_error(&call.context, error));
                    }
                }
            }
        }
    }
}

impl Service<ToolCall> for RemoteTool {
    type Response = ToolOutput;
    type Error = ToolError;
    type Future = RemoteToolFuture;

    /// Always ready: a call waits for the connection in its future.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ToolError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: ToolCall) -> RemoteToolFuture {
        RemoteToolFuture(Box::pin(self.clone().run(call)))
    }
}

impl fmt::Debug for RemoteTool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteTool")
            .field("server", &self.shared.settings().name)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Returns the arguments as MCP has them, from the forms that models send: an object, a text of
/// JSON, or nothing.
fn arguments(args: Value) -> Result<Option<JsonObject>, ToolError> {
    let args = match args {
        Value::String(text) => match text.trim() {
            "" => Value::Null,
            text => serde_json::from_str(text)
                .map_err(|error| ToolError::invalid_arguments(".", error.to_string()))?,
        },
        args => args,
    };
    if nests_too_deep(&args) {
        return Err(ToolError::invalid_arguments(".", "they nest too deep"));
    }
    match args {
        Value::Object(fields) => Ok(Some(fields)),
        Value::Null => Ok(None),
        _ => Err(ToolError::invalid_arguments(".", "they are not an object")),
    }
}

// === impl RemoteToolFuture ===

impl Future for RemoteToolFuture {
    type Output = Result<ToolOutput, ToolError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.as_mut().poll(cx)
    }
}

impl fmt::Debug for RemoteToolFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteToolFuture").finish_non_exhaustive()
    }
}
