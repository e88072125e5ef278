//! Helpers of the tests that make whole calls through limits.

use std::convert::Infallible;
use std::num::NonZeroU32;

use tokio::task::JoinHandle;
use tokio::time::sleep;
use toolbooth::{CallContext, OverloadReason, Quota, ToolCall, ToolError, ToolOutput, tool_fn};
use toolbooth_test::{BoxTool, Finished, Recorder, boxed, call, ms, overload_reason};
use tower::{Service, ServiceExt};

/// `count` calls of `tool`.
pub(crate) fn calls(count: usize) -> Vec<ToolCall> {
    (0..count).map(|_| call("tool")).collect()
}

/// `rate` tokens a second with a burst.
pub(crate) fn quota(rate: u32, burst: u32) -> Quota {
    let [rate, burst] = [rate, burst].map(|n| NonZeroU32::new(n).expect("not 0"));
    Quota::per_second(rate).allow_burst(burst)
}

/// The reason of an overload, if a call was rejected for one.
pub(crate) fn overload(finished: &Finished) -> Option<OverloadReason> {
    finished.result.as_ref().err().and_then(overload_reason)
}

/// The tenant of a call, as a key.
pub(crate) fn tenant(call: &CallContext) -> toolbooth::Name {
    call.tenant().unwrap_or_default().into()
}

/// Polls a call once and then runs it on its own task.
pub(crate) async fn begin<S>(tool: &S, call: ToolCall) -> JoinHandle<Result<ToolOutput, ToolError>>
where
    S: Service<ToolCall, Response = ToolOutput, Error = ToolError> + Clone + Send + 'static,
    S::Future: Send,
{
    let mut running = Box::pin(tool.clone().oneshot(call));
    match futures_util::poll!(&mut running) {
        std::task::Poll::Ready(response) => tokio::spawn(async { response }),
        std::task::Poll::Pending => tokio::spawn(running),
    }
}

/// A tool that records the id of each call and takes 100 ms.
pub(crate) fn recording(starts: &Recorder<String>) -> BoxTool {
    let starts = starts.clone();
    boxed(tool_fn("tool", move |call: CallContext, (): ()| {
        let starts = starts.clone();
        async move {
            starts.record(call.id().to_string());
            sleep(ms(100)).await;
            Ok::<_, Infallible>("done")
        }
    }))
}

/// When calls ended, in milliseconds.
pub(crate) fn ends(finished: &[Finished]) -> Vec<u128> {
    let times = finished.iter().map(|finished| finished.at.as_millis());
    times.collect()
}

/// When calls started, in milliseconds.
pub(crate) fn starts_at(starts: &Recorder<String>) -> Vec<u128> {
    let times = starts.times().into_iter().map(|at| at.as_millis());
    times.collect()
}
