//! The five tools, and the toolbox. They do not depend on any layer.

mod digest;
mod import;
mod lookup;
mod search;
mod ticker;

use std::collections::HashMap;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::future::Either;
use toolbooth::{ToolCall, ToolError, ToolOutput};
use tower::util::{BoxCloneSyncService, Oneshot};
use tower::{Service, ServiceExt};

pub(crate) use digest::digest;
pub(crate) use import::{VALID_LINES, import};
pub(crate) use lookup::lookup;
pub(crate) use search::search;
pub(crate) use ticker::ticker;

/// Dispatches each call to the tool of its name.
#[derive(Clone, Default)]
pub(crate) struct Toolbox {
    tools: Arc<HashMap<&'static str, BoxedTool>>,
}

type BoxedTool = BoxCloneSyncService<ToolCall, ToolOutput, ToolError>;

// === impl Toolbox ===

impl Toolbox {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn with<S>(mut self, name: &'static str, tool: S) -> Self
    where
        S: Service<ToolCall, Response = ToolOutput, Error = ToolError>,
        S: Clone + Send + Sync + 'static,
        S::Future: Send + 'static,
    {
        Arc::make_mut(&mut self.tools).insert(name, BoxCloneSyncService::new(tool));
        self
    }
}

impl Service<ToolCall> for Toolbox {
    type Response = ToolOutput;
    type Error = ToolError;
    type Future = Either<Oneshot<BoxedTool, ToolCall>, Ready<Result<ToolOutput, ToolError>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ToolError>> {
        // The tool is known only when `call` receives its name.
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: ToolCall) -> Self::Future {
        match self.tools.get(call.name()) {
            Some(tool) => Either::Left(tool.clone().oneshot(call)),
            None => Either::Right(ready(Err(ToolError::unknown_tool(call.name())))),
        }
    }
}
