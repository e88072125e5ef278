//! One layer value twice in a stack: a call takes what the limit grants once.

mod permits;
mod routes;
mod tokens;

use serde_json::json;
use tokio::time::sleep;
use toolbooth::{
    BoxError, CallContext, ConcurrencyLimitLayer, ErrorKind, RateLimitLayer, SpawnLayer,
    TimeoutLayer, ToolCall, ToolError, ToolOutput,
};
use toolbooth_test::{
    BoxTool, Finished, GeneratorTool, Probe, Recorder, ScriptedTool, boxed, call, call_all, ms,
};
use toolbooth_tests::{MINUTE, Retries, calls, hourly, tool};
use tower::retry::Retry;
use tower::{Layer, Service, ServiceExt, service_fn};

/// A tool that takes 10 ms; `inside` counts its calls.
fn slow(inside: &Probe) -> BoxTool {
    let inside = inside.clone();
    tool(move |_| {
        let inside = inside.enter();
        async move {
            sleep(ms(10)).await;
            drop(inside);
            Ok::<_, BoxError>("done")
        }
    })
}

/// A tool of which each call fails until it has made `attempts` attempts.
fn succeeds_at(attempts: u32) -> BoxTool {
    tool(move |context: CallContext| async move {
        match context.attempt() == attempts {
            true => Ok("done"),
            false => Err::<_, BoxError>("again".into()),
        }
    })
}

/// Repeats every error up to `retries` times, at once.
fn retried(tool: BoxTool, retries: u32) -> BoxTool {
    boxed(Retry::new(Retries::new(retries), tool))
}

/// Makes all calls at once. A call that waits for itself fails the test.
async fn run_all<S>(stack: S, calls: impl IntoIterator<Item = ToolCall>) -> Vec<Finished>
where
    S: Service<ToolCall, Response = ToolOutput> + Clone + Send + 'static,
    S::Error: Into<BoxError> + 'static,
    S::Future: Send,
{
    in_time(call_all(stack, calls)).await
}

async fn in_time<F: Future>(future: F) -> F::Output {
    let finished = tokio::time::timeout(MINUTE, future).await;
    finished.expect("no call waits for itself")
}

/// Whether calls succeeded, and their ends in milliseconds.
fn ends(finished: &[Finished]) -> Vec<(bool, u128)> {
    let ends = finished.iter();
    ends.map(|call| (call.is_ok(), call.at.as_millis()))
        .collect()
}
