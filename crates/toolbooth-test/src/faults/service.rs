use std::future::{pending, poll_fn};
use std::mem;
use std::task::{Context, Poll};

use tokio::time::sleep;
use toolbooth_core::{BoxError, Name, ToolCall, ToolError, ToolOutput};
use tower_service::Service;

use super::broken::Broken;
use super::{Drawn, Fault, FaultLayer, InjectedFault};
use crate::recorder::Recorder;
use crate::scripted::scripted_panic;
use crate::tools::ToolFuture;

/// The service of a [`FaultLayer`].
#[derive(Debug, Clone)]
pub struct FaultService<S> {
    inner: S,
    layer: FaultLayer,
}

// === impl FaultService ===

impl<S> FaultService<S> {
    pub(super) const fn new(inner: S, layer: FaultLayer) -> Self {
        Self { inner, layer }
    }
}

impl<S> Service<ToolCall> for FaultService<S>
where
    S: Service<ToolCall, Response = ToolOutput> + Clone + Send + 'static,
    S::Error: Into<BoxError> + 'static,
    S::Future: Send,
{
    type Response = ToolOutput;
    type Error = ToolError;
    type Future = ToolFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ToolError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: ToolCall) -> ToolFuture {
        let clone = self.inner.clone();
        let inner = mem::replace(&mut self.inner, clone);
        let drawn = self.layer.draw(call.name());
        let injected = self.layer.injected().clone();
        ToolFuture::new(run(inner, call, drawn, injected))
    }
}

async fn run<S>(
    mut inner: S,
    call: ToolCall,
    drawn: Drawn,
    injected: Recorder<(Name, Fault)>,
) -> Result<ToolOutput, ToolError>
where
    S: Service<ToolCall, Response = ToolOutput>,
    S::Error: Into<BoxError> + 'static,
{
    let tool = Name::from(call.name());
    if let Some(latency) = drawn.latency {
        injected.record((tool.clone(), Fault::Latency(latency)));
        sleep(latency).await;
    }
    let break_after = match drawn.fault {
        Some(Fault::BrokenStream(items)) => Some(items),
        Some(fault) => {
            injected.record((tool, fault));
            return match fault {
                Fault::Hang => pending().await,
                Fault::Panic => scripted_panic(InjectedFault.to_string()),
                _ => Err(ToolError::failed(InjectedFault)),
            };
        }
        None => None,
    };
    let ready = poll_fn(|cx| inner.poll_ready(cx)).await;
    ready.map_err(ToolError::from_error)?;
    let output = inner.call(call).await.map_err(ToolError::from_error)?;
    match break_after {
        Some(items) if output.is_stream() => {
            let broken = Broken::new(output.into_stream(), items, tool, injected);
            Ok(ToolOutput::stream(broken))
        }
        _ => Ok(output),
    }
}
