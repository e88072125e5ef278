//! Programs keep the permit of a limit that is held until all has ended.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;
use toolbooth::{CleanupLayer, CommandOutput, ConcurrencyLimitLayer, TimeoutLayer};
use tower::{Layer, ServiceBuilder, ServiceExt};

use super::{LONG, Marked, call};

const DEAF: &str = "trap '' TERM; echo armed; while :; do sleep 60; done";

/// Case F2.
#[tokio::test]
async fn no_two_programs_of_an_exclusive_limit_are_alive_at_once() {
    let marked = Marked::new();
    let (limit, cleanup) = (
        ConcurrencyLimitLayer::new(1).with_hold_until_ended(),
        CleanupLayer::new(),
    );
    let deaf = marked.mark(
        toolbooth::CommandTool::new("sleep", "sh")
            .with_inherited_env(["PATH"])
            .with_args(["-c", "trap '' TERM; exec sleep 60"])
            .expect("valid templates"),
    );
    let tool = ServiceBuilder::new()
        .layer(TimeoutLayer::new(Duration::from_millis(60)))
        .layer(limit.clone())
        .layer(cleanup.clone())
        .service(deaf.with_kill_grace(Duration::from_millis(90)));
    let mut most = 0;
    for _ in 0..20 {
        let running = tokio::spawn(tool.clone().oneshot(call(json!({}))));
        while !running.is_finished() {
            most = most.max(marked.alive());
            sleep(Duration::from_millis(2)).await;
        }
        running.await.unwrap().unwrap_err();
        assert!(marked.alive() <= limit.in_flight());
    }
    assert_eq!(most, 1);
    let programs = cleanup.drain(LONG).await.ran;
    assert!((2..20).contains(&programs), "{programs}");
    assert_eq!((marked.alive(), limit.available()), (0, 1));
}

/// The hook that waits for the program ends at its limit, before the program does.
#[tokio::test]
async fn program_keeps_the_permit_beyond_the_limit_of_its_hook() {
    let marked = Marked::new();
    let limit = ConcurrencyLimitLayer::new(1).with_hold_until_ended();
    let cleanup = CleanupLayer::new().with_hook_limit(Duration::from_millis(10));
    let deaf = marked
        .sh(DEAF, &[])
        .with_kill_grace(Duration::from_millis(500))
        .with_output(CommandOutput::Lines);
    let tool = limit.layer(cleanup.layer(deaf));
    let response = tool.oneshot(call(json!({}))).await.unwrap();
    let mut lines = response.into_stream();
    let line = futures_util::StreamExt::next(&mut lines).await;
    assert_eq!(line.unwrap().unwrap(), "armed".into());
    drop(lines);
    assert_eq!(cleanup.drain(LONG).await.failed, 1);
    assert_eq!(limit.in_flight(), 1);
    assert_ne!(marked.alive(), 0);
    while limit.in_flight() > 0 {
        sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(marked.alive(), 0);
}
