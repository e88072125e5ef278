//! The layers over a store.

use std::time::Duration;

use tokio::task::JoinSet;
use toolbooth::shared::SharedOptions;
use toolbooth::{ConcurrencyLimitLayer, ErrorKind, Quota, RateLimitLayer, tool_fn};
use toolbooth_redis::SharedLimits;
use toolbooth_test::{Probe, call};
use tower::{Layer, ServiceExt};

use crate::server::Server;

/// What another process has: a connection and a queue of its own.
async fn process(server: &Server) -> SharedLimits {
    // The server may be slow beside other tests.
    let options = SharedOptions::new().with_command_timeout(Duration::from_secs(1));
    let limits = SharedLimits::connect(&server.url(), options).await;
    limits.expect("limits")
}

#[tokio::test]
async fn processes_share_one_limit_of_calls_at_once() {
    let server = Server::start();
    let probe = Probe::new();
    let mut calls = JoinSet::new();
    let processes = [
        process(&server).await,
        process(&server).await,
        process(&server).await,
    ];
    for process in &processes {
        let probe = probe.clone();
        let tool = tool_fn("tool", move |(): ()| {
            let probe = probe.clone();
            async move {
                let _inside = probe.enter();
                tokio::time::sleep(Duration::from_millis(1)).await;
                Ok::<_, std::io::Error>("done")
            }
        });
        let limit = process.concurrency("limit", ConcurrencyLimitLayer::new(4));
        for _ in 0..40 {
            calls.spawn(limit.layer(tool.clone()).oneshot(call("tool")));
        }
    }
    while let Some(result) = calls.join_next().await {
        result.expect("no panic").expect("a response");
    }
    assert_eq!((probe.started(), probe.finished()), (120, 120));
    assert!(probe.max() <= 4, "{}", probe.max());
    // The last releases are sent after the calls.
    while !processes[0]
        .status("limit")
        .await
        .expect("a status")
        .holders
        .is_empty()
    {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn processes_share_one_quota() {
    let server = Server::start();
    let quota = Quota::with_period(Duration::from_secs(3600)).expect("above zero");
    let quota = quota.allow_burst(5.try_into().expect("above zero"));
    let mut kinds = Vec::new();
    for _ in 0..2 {
        let process = process(&server).await;
        let layer = RateLimitLayer::new(quota).reject();
        let limit = process.rate("limit", layer);
        let tool = tool_fn("tool", async |(): ()| Ok::<_, std::io::Error>("done"));
        for _ in 0..4 {
            let result = limit.layer(tool.clone()).oneshot(call("tool")).await;
            kinds.push(result.err().map(|error| error.kind()));
        }
    }
    let started = kinds.iter().take_while(|kind| kind.is_none()).count();
    assert_eq!(started, 5, "{kinds:?}");
    assert!(
        kinds[5..]
            .iter()
            .all(|kind| *kind == Some(ErrorKind::RateLimited)),
        "{kinds:?}"
    );
}
