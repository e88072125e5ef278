//! The scenarios of a stress-test report on tool timeouts (007), and the guarantees that follow.
//!
//! All times are equalities on the paused clock. The doc comment of a test names its guarantee: C
//! is cleanup, P partial results, T time limits.

mod cleanup;
mod partials;
mod report;
mod timeouts;

use std::convert::Infallible;
use std::future::pending;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use serde_json::json;
use tokio::time::{Instant, sleep};
use toolbooth::{
    CallContext, Content, ErrorKind, Outcome, Partial, TimeoutLayer, TimeoutScope, ToolCall,
    ToolError, ToolOutput, tool_fn,
};
use toolbooth_test::{
    BoxTool, ErrorInjectionTool, Finished, GeneratorTool, InjectedError, PartialResultTool,
    Recorder, ResourceCleanupTool, SlowTool, Stopwatch, StreamingTool, assert_timed_out, boxed,
    call, call_all, count_wakes, ms, timeout_of,
};
use toolbooth_tests::{Layers, Retries, calls};
use tower::{Layer, Service, ServiceExt};

const PERMITS: usize = 10_000;

/// All five layers with more permits and tokens than calls.
fn booth(limit: Duration) -> Layers {
    Layers::with(limit, 100_000, PERMITS)
}

/// Waits for the hooks and asserts that they take no time.
async fn hooks_end(booth: &Layers) {
    let before = Instant::now();
    booth.cleanup.drain(ms(60_000)).await;
    assert_eq!(before.elapsed(), ms(0));
}

async fn finish(tool: BoxTool, call: ToolCall) -> Finished {
    let mut finished = call_all(tool, [call]).await;
    finished.remove(0)
}

fn timeout(finished: &Finished) -> Option<(TimeoutScope, Duration, Duration)> {
    finished.result.as_ref().err().and_then(timeout_of)
}

fn partial(finished: &Finished) -> Option<&Partial> {
    finished.result.as_ref().err()?.partial()
}

fn contents(finished: &Finished) -> &[Content] {
    partial(finished).map_or(&[], Partial::contents)
}

fn injected(error: &ToolError) -> Option<InjectedError> {
    match error {
        ToolError::Tool { source, .. } => source.downcast_ref().copied(),
        _ => None,
    }
}
