//! `ShutdownLayer`: rejects new calls, cancels the others, and waits for what outlives them.

#[path = "../support/mod.rs"]
mod support;

mod calls;
mod children;
mod concurrent;
#[cfg(feature = "http")]
mod http;
mod outliving;
mod streams;

use std::time::Duration;

use support::laws::every_layer;
use support::{
    Outcomes, Probe, Recorder, ScriptedTool, call, error, error_of, fails, ms, pass, streams,
    takes, text_of,
};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use toolbooth::{
    CancelReason, DrainReport, ErrorKind, Outcome, OverloadReason, ShutdownLayer, ToolCall,
    ToolError, ToolOutput,
};
use toolbooth_test::cancel_reason;
use tower::{Layer, Service, ServiceExt};

every_layer!(ShutdownLayer::new());

const MINUTE: Duration = Duration::from_secs(60);

/// Calls completed and cancelled, hooks ran, failed and abandoned, and what is orphaned.
#[derive(Debug, PartialEq)]
struct Counts {
    calls: (u64, u64),
    hooks: (u64, u64, u64),
    orphaned: u64,
}

impl Counts {
    fn calls(completed: u64, cancelled: u64) -> Self {
        Self {
            calls: (completed, cancelled),
            hooks: (0, 0, 0),
            orphaned: 0,
        }
    }

    fn with_hooks(mut self, ran: u64, failed: u64, abandoned: u64) -> Self {
        self.hooks = (ran, failed, abandoned);
        self
    }

    fn with_orphaned(mut self, orphaned: u64) -> Self {
        self.orphaned = orphaned;
        self
    }
}

impl From<DrainReport> for Counts {
    fn from(report: DrainReport) -> Self {
        Self {
            calls: (report.completed, report.cancelled),
            hooks: (report.ran, report.failed, report.abandoned),
            orphaned: report.orphaned,
        }
    }
}

async fn shut_down(layer: &ShutdownLayer, grace: Duration, limit: Duration) -> Counts {
    layer.shutdown(grace, limit).await.into()
}

/// Starts a call on a task, and polls it.
async fn start<S>(service: S, call: ToolCall) -> JoinHandle<Result<ToolOutput, ToolError>>
where
    S: Service<ToolCall, Response = ToolOutput, Error = ToolError, Future: Send> + Send + 'static,
{
    let running = tokio::spawn(service.oneshot(call));
    tokio::task::yield_now().await;
    running
}

/// The error of a call on a task.
async fn failed(running: JoinHandle<Result<ToolOutput, ToolError>>) -> ToolError {
    error(running.await.expect("no panic"))
}

/// Asserts that the shutdown rejected the call.
#[track_caller]
fn assert_rejected(error: &ToolError, retry_after: Duration) {
    let ToolError::Overloaded { reason, .. } = error else {
        unreachable!("not a rejection: {error:?}")
    };
    assert_eq!(*reason, OverloadReason::shutting_down(retry_after));
    assert_eq!(error.retry_after(), Some(retry_after));
    assert!(error.is_retryable());
}
