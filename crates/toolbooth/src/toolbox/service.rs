use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use toolbooth_core::{Part, ToolCall, ToolError, ToolOutput};
use tower_service::Service;

use super::gate::Gating;
use super::shared::{Entry, Settings, Shared};
use super::tool::ToolService;
use super::{ToolSpec, Toolbox};
use crate::middleware::{Decision, LayerFuture, LayerWatch};

/// One tool of a toolbox. Made by [`Toolbox::get`].
///
/// It stays the tool that it is, even if the toolbox replaces or removes it. A call passes what a
/// call of the toolbox passes, such as the gate.
#[derive(Clone)]
pub struct ResolvedTool {
    pub(super) shared: Arc<Shared>,
    pub(super) entry: Arc<Entry>,
}

pin_project! {
    /// The future of a call of a [`Toolbox`].
    #[must_use = "dropping it ends the call"]
    pub struct ResponseFuture {
        #[pin]
        inner: LayerFuture<ToolService, ToolCall, ResponseWatch, Gating>,
    }
}

/// Observes nothing: a toolbox holds nothing for a call.
#[derive(Debug)]
pub(super) struct ResponseWatch;

/// Is never called: its calls are rejected.
#[derive(Clone)]
struct Unknown;

// === impl Toolbox ===

impl Service<ToolCall> for Toolbox {
    type Response = ToolOutput;
    type Error = ToolError;
    type Future = ResponseFuture;

    /// Always ready.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ToolError>> {
        Poll::Ready(Ok(()))
    }

    #[inline]
    fn call(&mut self, call: ToolCall) -> ResponseFuture {
        let version = self.shared.version();
        match version.get(call.name()) {
            Some(entry) => ResponseFuture::start(&self.shared.settings, entry, call),
            None => {
                drop(version);
                let error = self.shared.unknown(call.name());
                ResponseFuture::reject(&self.shared, error, call)
            }
        }
    }
}

// === impl ResolvedTool ===

impl ResolvedTool {
    /// Returns the description of the tool.
    #[must_use]
    pub fn spec(&self) -> &ToolSpec {
        &self.entry.spec
    }

    /// Checks the JSON value of a response against the output schema of the tool, for adapters.
    /// Without one, every value matches.
    ///
    /// The schema is compiled once, when it is first used. One that cannot be compiled is not
    /// checked, and a warning is logged.
    ///
    /// ```
    /// use serde_json::json;
    /// use toolbooth::{BoxError, ToolSpec, Toolbox, tool_fn};
    ///
    /// # fn main() -> Result<(), BoxError> {
    /// let spec = ToolSpec::new("weather").with_output_schema(json!({
    ///     "type": "object",
    ///     "properties": { "celsius": { "type": "number" } },
    /// }));
    /// let weather = tool_fn("weather", async |_: ()| Ok::<_, BoxError>(json!({ "celsius": 22 })));
    /// let toolbox = Toolbox::builder().tool(spec, weather).build()?;
    ///
    /// let tool = toolbox.get("weather").ok_or("inserted above")?;
    /// assert!(tool.check_output(&json!({ "celsius": 22 })).is_ok());
    /// let mismatch = tool.check_output(&json!({ "celsius": "22" })).err().ok_or("a text")?;
    /// assert_eq!(mismatch.path, "celsius");
    /// # Ok(()) }
    /// ```
    ///
    /// A schema whose references are too many to follow is not checked, since a remote server may
    /// have sent it. Neither is a value so large that the check may take seconds.
    ///
    /// # Errors
    /// Where the value does not match, and why.
    #[cfg(feature = "validate")]
    pub fn check_output(&self, output: &serde_json::Value) -> Result<(), super::SchemaMismatch> {
        self.entry.output.check(&self.entry.spec, output)
    }
}

impl Service<ToolCall> for ResolvedTool {
    type Response = ToolOutput;
    type Error = ToolError;
    type Future = ResponseFuture;

    /// Always ready.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ToolError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: ToolCall) -> ResponseFuture {
        ResponseFuture::start(&self.shared.settings, &self.entry, call)
    }
}

impl fmt::Debug for ResolvedTool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResolvedTool")
            .field("spec", &self.entry.spec)
            .finish_non_exhaustive()
    }
}

// === impl ResponseFuture ===

impl ResponseFuture {
    /// Calls a tool, or waits for the gate before.
    #[inline]
    fn start(settings: &Settings, entry: &Entry, call: ToolCall) -> Self {
        let mut service = entry.service.clone();
        let inner = LayerFuture::with_request(&mut service, call, |part, call| {
            decide(settings, entry, part, call)
        });
        Self { inner }
    }

    #[cold]
    fn reject(shared: &Shared, error: ToolError, call: ToolCall) -> Self {
        let error = error.with_layer(&shared.settings.name);
        let mut service = ToolService::new(Unknown);
        let inner = LayerFuture::new(&mut service, call, |_| {
            Decision::Reject(ResponseWatch, error)
        });
        Self { inner }
    }
}

#[inline]
fn decide(
    settings: &Settings,
    entry: &Entry,
    part: &Part,
    call: &ToolCall,
) -> Decision<ResponseWatch, Gating> {
    part.set_tool_is_idempotent(entry.is_idempotent);
    #[cfg(feature = "validate")]
    if let Some(arguments) = &entry.arguments {
        if let Err(error) = arguments.check_arguments(call.args()) {
            return Decision::Reject(ResponseWatch, error);
        }
    }
    match &settings.gate {
        None => Decision::Start(ResponseWatch),
        Some(gate) => {
            let gating = gate.ask(&settings.gate_name, entry, part, call);
            Decision::Wait(ResponseWatch, gating)
        }
    }
}

impl Future for ResponseFuture {
    type Output = Result<ToolOutput, ToolError>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project().inner.poll(cx)
    }
}

impl fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("inner", &self.inner)
            .finish_non_exhaustive()
    }
}

// === impl ResponseWatch ===

impl LayerWatch for ResponseWatch {}

// === impl Unknown ===

impl Service<ToolCall> for Unknown {
    type Response = ToolOutput;
    type Error = ToolError;
    type Future = std::future::Ready<Result<ToolOutput, ToolError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ToolError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: ToolCall) -> Self::Future {
        std::future::ready(Err(ToolError::unknown_tool(call.name())))
    }
}
