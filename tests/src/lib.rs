//! Shared fixtures of the tests in this package.
//!
//! | fixture | purpose |
//! |---|---|
//! | [`Layers`], [`Kind`] | the five layers in any order, with handles to read them |
//! | [`Retries`] | a retry policy of tower's that repeats every error |
//! | [`tool`], [`hanging`], [`calls`] | tools and calls without arguments |
//! | [`quota`], [`hourly`] | quotas of a rate limit |
//! | [`runtime`] | a runtime with threads |
//! | [`texts`] | the texts of a partial result |

mod layers;
mod retries;

use std::num::NonZeroU32;
use std::time::Duration;

use governor::Quota;
use tokio::runtime::{Builder, Runtime};
use toolbooth::{BoxError, CallContext, Content, Partial, ToolCall, tool_fn};
use toolbooth_test::{BoxTool, Probe, boxed, call};

pub use layers::{Kind, Layers};
pub use retries::Retries;

/// One minute: longer than any test runs.
pub const MINUTE: Duration = Duration::from_secs(60);

/// Builds a runtime with this many threads on the real clock.
///
/// # Panics
/// If the system starts no thread.
#[must_use]
pub fn runtime(threads: usize) -> Runtime {
    let mut builder = Builder::new_multi_thread();
    let builder = builder.worker_threads(threads).enable_time();
    builder.build().expect("a runtime")
}

// === calls and tools ===

/// Returns `count` calls without arguments.
#[must_use]
pub fn calls(count: usize) -> Vec<ToolCall> {
    (0..count).map(|_| call("tool")).collect()
}

/// Makes a tool of a function of its context.
pub fn tool<F, Fut, E>(run: F) -> BoxTool
where
    F: Fn(CallContext) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<&'static str, E>> + Send + 'static,
    E: Into<BoxError> + 'static,
{
    boxed(tool_fn("tool", move |context, (): ()| run(context)))
}

/// Makes a tool that never responds; `inside` counts its calls.
#[must_use]
pub fn hanging(inside: &Probe) -> BoxTool {
    let inside = inside.clone();
    tool(move |_| {
        let inside = inside.enter();
        async move {
            let _inside = inside;
            std::future::pending::<Result<_, BoxError>>().await
        }
    })
}

/// Returns a quota of `rate` tokens a second with a burst.
///
/// # Panics
/// If one of the two is 0.
#[must_use]
pub fn quota(rate: u32, burst: u32) -> Quota {
    let [rate, burst] = [rate, burst].map(|n| NonZeroU32::new(n).expect("not 0"));
    Quota::per_second(rate).allow_burst(burst)
}

/// Returns a quota with a burst that does not refill during a test.
///
/// # Panics
/// If the burst is 0.
#[must_use]
pub fn hourly(burst: u32) -> Quota {
    let burst = NonZeroU32::new(burst).expect("not 0");
    Quota::per_hour(NonZeroU32::MIN).allow_burst(burst)
}

/// Returns the texts of a partial result; none if there is no partial result.
#[must_use]
pub fn texts(partial: Option<&Partial>) -> Vec<&str> {
    let contents = partial.map_or(&[][..], Partial::contents);
    contents.iter().filter_map(Content::as_text).collect()
}
