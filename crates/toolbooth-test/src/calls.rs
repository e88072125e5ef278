use std::future::poll_fn;
use std::panic::resume_unwind;
use std::time::Duration;

use tokio::task::JoinSet;
use toolbooth_core::{
    BoxError, Collected, ErrorKind, Name, Outcome, ToolCall, ToolError, ToolOutput,
};
use tower_service::Service;

use crate::clock::Stopwatch;

/// A call that has ended, its response collected to the last item.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Finished {
    /// The name of the tool.
    pub tool: Name,
    /// The time of the end, since all calls were made.
    pub at: Duration,
    /// The response or the error.
    pub result: Result<Collected, ToolError>,
}

/// Makes all calls at once, each on its own task, and returns their ends in the order of the calls.
///
/// On a current-thread runtime the first polls happen in that order, too.
///
/// ```
/// use toolbooth::{ErrorKind, TimeoutLayer};
/// use toolbooth_test::{SlowTool, call, call_all, ms};
/// use tower::Layer;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let tool = TimeoutLayer::new(ms(3_000)).layer(SlowTool::new(ms(5_000)));
/// let calls = [call("slow"), call("slow").with_timeout(ms(1_000))];
/// let finished = call_all(tool, calls).await;
/// assert_eq!(finished[0].at, ms(3_000));
/// assert_eq!(finished[1].at, ms(1_000));
/// assert_eq!(finished[1].error_kind(), Some(ErrorKind::Timeout));
/// # }
/// ```
///
/// # Panics
/// Resumes the panic of a call that panicked.
///
/// # Cancel safety
/// Dropping the future drops all calls.
pub async fn call_all<S>(service: S, calls: impl IntoIterator<Item = ToolCall>) -> Vec<Finished>
where
    S: Service<ToolCall, Response = ToolOutput> + Clone + Send + 'static,
    S::Error: Into<BoxError> + 'static,
    S::Future: Send,
{
    let watch = Stopwatch::start();
    let mut tasks = JoinSet::new();
    for (index, call) in calls.into_iter().enumerate() {
        let service = service.clone();
        tasks.spawn(async move {
            let tool = Name::from(call.name());
            let result = call_one(service, call).await;
            let at = watch.elapsed();
            (index, Finished { tool, at, result })
        });
    }
    let mut finished = Vec::with_capacity(tasks.len());
    while let Some(joined) = tasks.join_next().await {
        match joined {
            Ok(done) => finished.push(done),
            // The set aborts its tasks only when dropped: the task panicked.
            Err(panicked) => resume_unwind(panicked.into_panic()),
        }
    }
    finished.sort_unstable_by_key(|(index, _)| *index);
    finished.into_iter().map(|(_, finished)| finished).collect()
}

async fn call_one<S>(mut service: S, call: ToolCall) -> Result<Collected, ToolError>
where
    S: Service<ToolCall, Response = ToolOutput>,
    S::Error: Into<BoxError> + 'static,
{
    poll_fn(|cx| service.poll_ready(cx))
        .await
        .map_err(ToolError::from_error)?;
    let output = service.call(call).await.map_err(ToolError::from_error)?;
    output.collect().await
}

// === impl Finished ===

impl Finished {
    /// Returns whether the call succeeded.
    #[must_use]
    pub const fn is_ok(&self) -> bool {
        self.result.is_ok()
    }

    /// Returns the outcome of the call. A response that reports an error is a failure.
    #[must_use]
    pub fn outcome(&self) -> Outcome {
        match &self.result {
            Ok(response) if response.is_error() => Outcome::Failed,
            Ok(_) => Outcome::Completed,
            Err(error) => error.outcome(),
        }
    }

    /// Returns the kind of the error, if the call failed.
    #[must_use]
    pub fn error_kind(&self) -> Option<ErrorKind> {
        self.result.as_ref().err().map(ToolError::kind)
    }
}

/// One call as a list, for functions of lists of calls.
impl AsRef<[Self]> for Finished {
    fn as_ref(&self) -> &[Self] {
        std::slice::from_ref(self)
    }
}
