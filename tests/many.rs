//! Ten thousand calls on the real clock: by themselves, since they take all the time there is.

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use toolbooth::{TimeoutLayer, ToolCall, ToolError, tool_fn};
use tower::{Layer, ServiceExt};

/// Each by its own clock.
#[tokio::test]
async fn ten_thousand_timeouts_strike_within_a_quarter_of_a_second() {
    let hangs = tool_fn("hangs", async |_: ()| {
        std::future::pending::<Result<(), std::io::Error>>().await
    });
    let limit = Duration::from_secs(2);
    let tool = TimeoutLayer::new(limit).layer(hangs);
    let mut calls: JoinSet<_> = (0..10_000)
        .map(|_| {
            let call = tool.clone().oneshot(ToolCall::new("hangs", json!(null)));
            async move { call.await.unwrap_err() }
        })
        .collect();
    while let Some(timeout) = calls.join_next().await {
        let ToolError::Timeout { elapsed, .. } = timeout.unwrap() else {
            unreachable!("it hangs")
        };
        let late = elapsed.checked_sub(limit).unwrap();
        assert!(late <= Duration::from_millis(250), "late by {late:?}");
    }
}
