//! Ten thousand calls on the real clock, in their own target since they use all cores.

use std::time::Duration;

use tokio::task::JoinSet;
use toolbooth::TimeoutLayer;
use toolbooth_test::{Probe, call, timeout_of};
use toolbooth_tests::hanging;
use tower::{Layer, ServiceExt};

#[tokio::test]
async fn ten_thousand_timeouts_expire_within_a_quarter_of_a_second() {
    let limit = Duration::from_secs(2);
    let tool = TimeoutLayer::new(limit).layer(hanging(&Probe::new()));
    let mut calls: JoinSet<_> = (0..10_000)
        .map(|_| {
            let call = tool.clone().oneshot(call("hangs"));
            async move { call.await.unwrap_err() }
        })
        .collect();
    while let Some(error) = calls.join_next().await {
        let (_, _, elapsed) = timeout_of(&error.unwrap()).unwrap();
        let late = elapsed.checked_sub(limit).unwrap();
        assert!(late <= Duration::from_millis(250), "late by {late:?}");
    }
}
