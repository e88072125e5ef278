//! One call, from its request to its result.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use rmcp::ErrorData;
use rmcp::model::{CallToolRequestParams, CallToolResult, ProtocolVersion};
use rmcp::service::{RequestContext, RoleServer};
use serde_json::Value;
use toolbooth::toolbox::ResolvedTool;
use toolbooth::{ErrorKind, ToolCall, ToolError};
use tower::ServiceExt as _;

use super::McpServer;
use super::arguments::to_call;
use super::collect::collect;
use super::progress::Reporter;
use super::requests::cancelled;
use super::structured::structured;
use crate::convert::{error_result, to_result};

// === impl McpServer ===

impl McpServer {
    /// Calls a tool. Ends the call when the request is cancelled.
    pub(super) async fn call(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResult, ErrorData> {
        let tool = match self.toolbox.resolve(&request.name) {
            Ok(tool) => tool,
            Err(error) if error.kind() == ErrorKind::UnknownTool => {
                return Err(ErrorData::invalid_params(error.public_message(), None));
            }
            Err(error) => {
                let call = to_call(&self.settings, request, &context)?;
                return Ok(error_result(&error.with_call(call.context()), &[], None));
            }
        };
        let call = to_call(&self.settings, request, &context)?;
        let cancelled = cancelled(&context);
        // Dropped in whatever state it is: nothing is sent any more.
        tokio::select! {
            biased;
            () = cancelled => Err(no_result()),
            result = self.run(&tool, call, context) => Ok(result),
        }
    }

    async fn run(
        &self,
        tool: &ResolvedTool,
        call: ToolCall,
        context: RequestContext<RoleServer>,
    ) -> CallToolResult {
        let version = context.protocol_version();
        let objects_only = version.is_none_or(|version| version < ProtocolVersion::V_2026_07_28);
        let mut reporter = Reporter::new(&self.settings, &call, &context);
        let id = call.context().id();
        let made = self.service.clone().oneshot(call);
        // The task of a handler that panics would leave its request without a response.
        let made = AssertUnwindSafe(collect(made, &mut reporter)).catch_unwind();
        let made = made.await;
        let made = made.unwrap_or_else(|panic| Err(ToolError::from_panic(&*panic).into()));
        reporter.finish().await;
        let result = made.and_then(|collected| {
            let structured = structured(tool, &collected, objects_only)?;
            Ok(to_result(&collected, structured.as_deref()))
        });
        result.unwrap_or_else(|failed| {
            // An error that no layer received has no call.
            let error = match failed.error.call_id() {
                Some(_) => failed.error,
                None => {
                    let call = ToolCall::new(tool.spec().name(), Value::Null).with_id(id);
                    failed.error.with_call(call.context())
                }
            };
            error_result(&error, &failed.received, failed.note.as_deref())
        })
    }
}

/// Is never sent: a request that was cancelled gets no response.
fn no_result() -> ErrorData {
    ErrorData::internal_error("the call was cancelled", None)
}
