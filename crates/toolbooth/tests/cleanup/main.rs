//! `CleanupLayer`: runs each hook once, in order, within its limit, without delaying the caller.

#[path = "../support/mod.rs"]
mod support;

mod drain;
mod events;
mod hooks;
mod owner;

use std::time::Duration;

use support::laws::every_layer;
use support::{
    Outcomes, Probe, Recorder, ScriptedTool, call, error_of, ms, next, next_text, pass, stream_of,
    streams, text_of, texts, ticking,
};
use tokio::time::Instant;
use toolbooth::{CallContext, CleanupLayer, DrainReport, Registered};

every_layer!(CleanupLayer::new());

const MINUTE: Duration = Duration::from_secs(60);

/// Ran, failed, abandoned, orphaned.
fn counts(report: DrainReport) -> (u64, u64, u64, u64) {
    (report.ran, report.failed, report.abandoned, report.orphaned)
}

/// Events with their times in milliseconds.
type Events = Recorder<&'static str>;

fn entries(events: &Events) -> Vec<(&'static str, u128)> {
    let entries = events.entries().into_iter();
    entries.map(|(at, event)| (event, at.as_millis())).collect()
}

/// Registers a hook that runs for the time `takes` and records its name.
fn hook(events: &Events, context: &CallContext, name: &'static str, takes: Duration) -> Registered {
    let events = events.clone();
    context.on_cleanup(move |_| async move {
        tokio::time::sleep(takes).await;
        events.record(name);
    })
}

/// Makes a call of a ready tool with a hook that runs for the time `takes`.
async fn call_with_hook(cleanup: &CleanupLayer, events: &Events, takes: Duration) {
    let call = call();
    hook(events, call.context(), "hook", takes);
    complete(cleanup, call).await;
}

/// Makes a call of a ready tool.
async fn complete(cleanup: &CleanupLayer, call: toolbooth::ToolCall) {
    let service = tower::Layer::layer(cleanup, ScriptedTool::ready());
    assert_eq!(text_of(service, call).await, "done");
}
