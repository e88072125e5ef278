use std::future::poll_fn;
use std::panic::resume_unwind;
use std::time::Duration;

use tokio::task::JoinSet;
use toolbooth_core::{BoxError, Collected, ErrorKind, ToolCall, ToolError, ToolOutput};
use tower_service::Service;

use crate::clock::Stopwatch;

/// A call that has ended, its answer read to the last byte.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Finished {
    /// When, since all of them began.
    pub at: Duration,
    /// With what.
    pub result: Result<Collected, ToolError>,
}

/// Makes all calls at once, each on a task of its own, and waits for them: what became of each, in the order of the calls.
///
/// On a current-thread runtime they are first polled in that order, too.
///
/// ```
/// use serde_json::json;
/// use toolbooth::{ErrorKind, TimeoutLayer, ToolCall};
/// use toolbooth_test::{SlowTool, call_all, ms};
/// use tower::Layer;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let tool = TimeoutLayer::new(ms(3_000)).layer(SlowTool::new(ms(5_000)));
/// let quick = ToolCall::new("slow", json!(null)).with_timeout(ms(1_000));
/// let finished = call_all(tool, [ToolCall::new("slow", json!(null)), quick]).await;
/// assert_eq!(finished[0].at, ms(3_000));
/// assert_eq!(finished[1].at, ms(1_000));
/// assert_eq!(finished[1].error_kind(), Some(ErrorKind::Timeout));
/// # }
/// ```
///
/// # Panics
/// When a call panics, with its panic.
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
    for (place, call) in calls.into_iter().enumerate() {
        let service = service.clone();
        tasks.spawn(async move {
            let result = call_one(service, call).await;
            let at = watch.elapsed();
            (place, Finished { at, result })
        });
    }
    let mut finished = Vec::with_capacity(tasks.len());
    while let Some(joined) = tasks.join_next().await {
        match joined {
            Ok(done) => finished.push(done),
            // Nobody else can abort these tasks: it panicked.
            Err(panicked) => resume_unwind(panicked.into_panic()),
        }
    }
    finished.sort_unstable_by_key(|(place, _)| *place);
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
    let answer = service.call(call).await.map_err(ToolError::from_error)?;
    answer.collect().await
}

// === impl Finished ===

impl Finished {
    /// Whether it was answered.
    #[must_use]
    pub const fn is_ok(&self) -> bool {
        self.result.is_ok()
    }

    /// The kind of the error, if it is one.
    #[must_use]
    pub fn error_kind(&self) -> Option<ErrorKind> {
        self.result.as_ref().err().map(ToolError::kind)
    }
}
