//! Calls that all expire at once.

use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};
use toolbooth::{
    CleanupLayer, ErrorKind, PartialResultLayer, TimeoutLayer, ToolCall, ToolError, ToolOutput,
};
use tower::{ServiceBuilder, ServiceExt, service_fn};

use crate::stacks::{TIMEOUT, call};

/// The time between the start of a round and the deadline of its calls: enough to start them all.
const STARTING: Duration = Duration::from_secs(2);

/// Starts calls that register a hook, emit a partial result and expire, and awaits their hooks.
pub async fn expire(count: u32) {
    let deadline = Instant::now() + STARTING;
    let cleanup = CleanupLayer::new();
    let tool = ServiceBuilder::new()
        .layer(TimeoutLayer::new(TIMEOUT))
        .layer(cleanup.clone())
        .layer(PartialResultLayer::new())
        .service(service_fn(hang));
    let mut tasks = JoinSet::new();
    for _ in 0..count {
        tasks.spawn(tool.clone().oneshot(call().with_deadline(deadline)));
    }
    while let Some(ended) = tasks.join_next().await {
        let error = ended.expect("no task panics").err();
        let error: ToolError = error.expect("the call expires");
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert_eq!(
            error.partial().map(|partial| partial.contents().len()),
            Some(1)
        );
    }
    let drained = cleanup.drain(STARTING).await;
    assert_eq!(drained.ran, u64::from(count));
}

async fn hang(call: ToolCall) -> Result<ToolOutput, Infallible> {
    call.context().on_cleanup(|_| async {});
    call.context().emit("partial");
    pending().await
}

/// Starts the same number of tasks, each under `tokio::time::timeout_at` alone.
pub async fn expire_with_tokio(count: u32) {
    let deadline = Instant::now() + STARTING;
    let mut tasks = JoinSet::new();
    for _ in 0..count {
        tasks.spawn(timeout_at(deadline, pending::<()>()));
    }
    while let Some(ended) = tasks.join_next().await {
        assert!(ended.expect("no task panics").is_err(), "the call expires");
    }
}
