use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use toolbooth_core::{CallContext, Outcome};

/// Receives what one cleanup hook of a call is called with.
///
/// It distinguishes hooks that ran once, twice or never, or that are still registered. To
/// record the hooks of many calls in one place, use [`Recorder`](crate::Recorder).
///
/// ```
/// use toolbooth::{CleanupLayer, Outcome, TimeoutLayer};
/// use toolbooth_test::{Outcomes, ScriptedTool, call, ms};
/// use tower::{Layer, ServiceExt};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let call = call("tool");
/// let mut outcomes = Outcomes::of(call.context());
/// assert!(outcomes.is_pending());
///
/// let cleanup = CleanupLayer::new().layer(ScriptedTool::pending());
/// let stack = TimeoutLayer::new(ms(300)).layer(cleanup);
/// assert!(stack.oneshot(call).await.is_err());
/// assert_eq!(outcomes.all().await, [Outcome::TimedOut]);
/// # }
/// ```
#[derive(Debug)]
pub struct Outcomes(UnboundedReceiver<(Outcome, usize)>);

// === impl Outcomes ===

impl Outcomes {
    /// Registers a cleanup hook on `context` and receives what it is called with.
    #[must_use]
    pub fn of(context: &CallContext) -> Self {
        let (sender, receiver) = unbounded_channel();
        context.on_cleanup_with(move |end| {
            let contents = end.partial().map_or(0, |partial| partial.contents().len());
            // The test may have dropped its receiver.
            let _ = sender.send((end.outcome(), contents));
            std::future::ready(())
        });
        Self(receiver)
    }

    /// Waits until the hook has run or was dropped, and returns the outcomes it was called with.
    ///
    /// A hook that neither runs nor is dropped makes it wait forever.
    pub async fn all(self) -> Vec<Outcome> {
        let ends = self.with_partials().await;
        ends.into_iter().map(|(outcome, _)| outcome).collect()
    }

    /// As [`all`](Self::all), each outcome with the number of contents in the partial result.
    pub async fn with_partials(mut self) -> Vec<(Outcome, usize)> {
        let mut ends = Vec::new();
        while let Some(end) = self.0.recv().await {
            ends.push(end);
        }
        ends
    }

    /// Returns whether the hook is still registered: it has neither run nor been dropped.
    pub fn is_pending(&mut self) -> bool {
        self.0.try_recv() == Err(TryRecvError::Empty)
    }
}
