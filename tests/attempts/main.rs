//! Attempts of one call, nested calls, contexts that outlive their call, and panics.

mod contexts;
mod hooks;
mod nested;
mod panics;
mod requests;
mod retries;
mod timeouts;

use std::error::Error;
use std::io;

use tokio::time::{Instant, sleep};
use toolbooth::{
    CallContext, CancelReason, ErrorKind, Outcome, Registered, TimeoutLayer, ToolCall, ToolError,
};
use toolbooth_test::{Recorder, boxed, ms};
use toolbooth_tests::{Kind, Layers, MINUTE, Retries, texts, tool};
use tower::ServiceExt;

/// How many contents each attempt emits.
const EMITTED: [u32; 3] = [1, 3, 2];

/// What an attempt observes when it starts.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    attempt: u32,
    id: String,
    cancelled: bool,
}

// === impl Seen ===

impl Seen {
    fn of(context: &CallContext) -> Self {
        Self {
            attempt: context.attempt(),
            id: context.id().to_string(),
            cancelled: context.is_cancelled(),
        }
    }

    /// Three attempts of one call.
    fn three(id: &str) -> Vec<Self> {
        let seen = |attempt| Self {
            attempt,
            id: id.to_owned(),
            cancelled: false,
        };
        vec![seen(1), seen(2), seen(3)]
    }
}

// === helpers ===

fn layers() -> Layers {
    Layers::new(2)
}

/// Each attempt that it repeats starts 5 ms later.
fn retries(retries: u32) -> Retries {
    Retries::new(retries).after(ms(5))
}

fn call() -> ToolCall {
    toolbooth_test::call("tool").with_id("call_7")
}

/// Registers a hook, emits contents, and fails after 10 ms.
async fn attempt(
    context: CallContext,
    seen: Recorder<Seen>,
    hooks: Recorder<(u32, Outcome)>,
) -> io::Error {
    seen.record(Seen::of(&context));
    let attempt = context.attempt();
    let registered = context.on_cleanup(hooks.hook_for(attempt));
    assert_eq!(registered, Registered::Held);
    for content in 1..=EMITTED[attempt as usize - 1] {
        context.emit(format!("{attempt}.{content}"));
    }
    sleep(ms(10)).await;
    io::Error::other(format!("attempt {attempt}"))
}

/// A tool whose attempts all fail as [`attempt`] does.
fn failing(seen: &Recorder<Seen>, hooks: &Recorder<(u32, Outcome)>) -> toolbooth_test::BoxTool {
    let (seen, hooks) = (seen.clone(), hooks.clone());
    tool(move |context| {
        let failed = attempt(context, seen.clone(), hooks.clone());
        async move { Err(failed.await) }
    })
}
