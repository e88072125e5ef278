//! Where did the time go? A timeline of calls that wait, hang, retry and clean up.
//!
//! ```text
//! cargo run --example timeline
//! ```
//!
//! A tool makes six calls of another one, two at a time. Two of them hang, and are made again. The
//! text has colours in a terminal. The same timeline is written to `target/research.trace.json`,
//! for Perfetto. tokio's clock is paused, so the picture is the same on every machine.

#![expect(clippy::print_stdout, reason = "an example prints its results")]

use std::fs;
use std::io::{IsTerminal, stdout};
use std::path::Path;
use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;
use toolbooth::{
    BoxError, CallContext, CleanupLayer, ConcurrencyLimitLayer, EventsLayer, Outcome, RetryPolicy,
    TimeoutLayer, ToolCall, tool_fn,
};
use toolbooth_timeline::{PhaseKind, Recorder, Text};
use tower::retry::RetryLayer;
use tower::util::BoxCloneSyncService;
use tower::{ServiceBuilder, ServiceExt};

/// Fetches a page. Pages 3 and 6 hang at the first attempt.
async fn fetch(call: CallContext, page: u64) -> Result<String, BoxError> {
    if matches!(page, 3 | 6) && call.attempt() == 1 {
        sleep(Duration::from_secs(60)).await;
    }
    sleep(Duration::from_millis(80)).await;
    Ok(format!("page {page}"))
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), BoxError> {
    let recorder = Recorder::new();
    // One value around all tools: a call of a tool refers to the call that made it.
    let events = EventsLayer::new(recorder.clone());
    let cleanup = CleanupLayer::new();

    let retries = RetryPolicy::new(3).with_idempotent(true).with_seed(7);
    let fetch = ServiceBuilder::new()
        .layer(events.clone())
        .layer(RetryLayer::new(retries))
        .layer(ConcurrencyLimitLayer::new(2).with_name("connections"))
        .layer(TimeoutLayer::new(Duration::from_millis(150)))
        .service(tool_fn("fetch", fetch));
    let fetch = BoxCloneSyncService::new(fetch);
    let research = tool_fn("research", move |call: CallContext, pages: u64| {
        let fetch = fetch.clone();
        async move {
            call.on_cleanup(async |_| sleep(Duration::from_millis(60)).await);
            let fetches: Vec<_> = (1..=pages)
                .map(|page| {
                    let fetch = fetch.clone();
                    let nested = call.child("fetch", json!(page));
                    async move {
                        let nested = nested?.with_id(format!("page-{page}"));
                        fetch.oneshot(nested).await?.collect().await
                    }
                })
                .collect();
            let pages = futures_util::future::try_join_all(fetches).await?;
            sleep(Duration::from_millis(200)).await; // reads them
            Ok::<_, BoxError>(format!("{} pages", pages.len()))
        }
    });
    let research = ServiceBuilder::new()
        .layer(events)
        .layer(TimeoutLayer::new(Duration::from_secs(5)))
        .layer(cleanup.clone())
        .service(research);

    let call = ToolCall::new("research", json!(6)).with_id("question-1");
    research.oneshot(call).await?.collect().await?;
    cleanup.drain(Duration::from_secs(1)).await;

    let timeline = recorder.snapshot();
    let columns = std::env::var("COLUMNS").ok();
    let columns = columns.and_then(|columns| columns.parse().ok());
    let text = Text::new(&timeline)
        .with_width(columns.unwrap_or(100))
        .with_color(stdout().is_terminal());
    print!("{text}");

    // What the picture shows, as data.
    let fetches = timeline.calls.iter().filter(|call| call.tool == "fetch");
    let phases = fetches.clone().flat_map(|call| &call.phases);
    let waits = phases.filter(|phase| phase.kind == PhaseKind::Queue);
    assert!(waits.count() >= 4, "two connections for six pages");
    assert_eq!(fetches.clone().filter(|call| call.attempts == 2).count(), 2);
    assert!(
        fetches
            .clone()
            .all(|call| call.outcome == Some(Outcome::Completed))
    );

    let target = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    fs::create_dir_all(&target)?;
    fs::write(target.join("research.trace.json"), timeline.to_trace_json())?;
    println!("\nOpen target/research.trace.json in https://ui.perfetto.dev");
    Ok(())
}
