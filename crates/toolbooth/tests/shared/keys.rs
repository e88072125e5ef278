//! Shared limits of keys that requests choose.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use toolbooth::shared::{SharedStore, WhenAway};
use toolbooth::{ConcurrencyLimitLayer, ErrorKind, RateLimitLayer, ToolCall, ToolError};
use toolbooth_test::{BoxTool, MemoryStore, boxed, ms};
use tower::{Layer, ServiceExt};

use crate::away::lost;
use crate::support::{Witness, process};
use crate::tokens::quota;

/// Returns a limit of 1 for each tenant, which holds two of them and forgets idle ones.
fn permits(store: &SharedStore, limit: usize) -> ConcurrencyLimitLayer {
    ConcurrencyLimitLayer::by(limit, |call| call.tenant().unwrap_or("none").into())
        .with_key_bounds(2, ms(100))
        .with_store(store, "tenants")
}

fn tokens(store: &SharedStore) -> RateLimitLayer {
    RateLimitLayer::by(quota(ms(1), 1), |call| {
        call.tenant().unwrap_or("none").into()
    })
    .with_key_bounds(2, ms(100))
    .with_store(store, "tenants")
}

async fn call(tool: &BoxTool, tenant: &'static str, millis: u64) -> Result<(), ToolError> {
    let call = ToolCall::new("tool", millis.into()).with_tenant(tenant);
    tool.clone().oneshot(call).await.map(drop)
}

#[tokio::test(start_paused = true)]
async fn unused_keys_lose_their_limits_and_tasks() {
    let store = MemoryStore::new();
    let process = process(&store, WhenAway::Local);
    sleep(ms(1)).await;
    let tasks = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    let before = tasks();
    let witness = Witness::default();
    let limits = [
        boxed(permits(&process, 1).layer(witness.tool())),
        boxed(tokens(&process).layer(witness.tool())),
    ];
    for tool in &limits {
        for tenant in ["a", "b", "c", "d", "e", "f"] {
            call(tool, tenant, 0).await.unwrap();
            sleep(ms(10)).await;
        }
    }
    // Each limit has two keys, and each key has a task.
    assert_eq!(tasks() - before, 4);
    // Two new keys have two limits.
    let start = Instant::now();
    let mut calls = JoinSet::new();
    for tenant in ["g", "h"] {
        let tool = limits[0].clone();
        calls.spawn(async move { call(&tool, tenant, 5_000).await });
    }
    while let Some(result) = calls.join_next().await {
        result.unwrap().unwrap();
    }
    assert_eq!(start.elapsed(), ms(5_000));
}

#[tokio::test(start_paused = true)]
async fn key_that_is_used_again_has_no_new_share_while_the_store_is_away() {
    let store = MemoryStore::new();
    let process = lost(&store, WhenAway::Local).await;
    let layer = RateLimitLayer::by(quota(ms(3_600_000), 1), |call| {
        call.tenant().unwrap_or("none").into()
    });
    let layer = layer.with_key_bounds(1, ms(1)).reject();
    let layer = layer.with_store(&process, "tenants");
    let tool = boxed(layer.layer(Witness::default().tool()));
    call(&tool, "a", 0).await.unwrap();
    sleep(ms(10)).await;
    call(&tool, "b", 0).await.unwrap();
    let error = call(&tool, "a", 0).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RateLimited);
}

#[tokio::test(start_paused = true)]
async fn changed_limit_of_a_key_holds_after_its_queues_are_created_again() {
    let store = MemoryStore::new();
    let [one, other] = [(); 2].map(|()| process(&store, WhenAway::Local));
    sleep(ms(1)).await;
    let witness = Witness::default();
    let layers = [permits(&one, 10), permits(&other, 10)];
    let tools = layers
        .clone()
        .map(|layer| boxed(layer.layer(witness.tool())));
    for tool in &tools {
        call(tool, "a", 0).await.unwrap();
    }
    layers[0].set_limit_for("a", 2).unwrap();
    sleep(ms(1)).await;
    for round in 0..3 {
        for index in 0..2 {
            for tenant in ["b", "c"] {
                sleep(Duration::from_secs(1)).await;
                call(&tools[index], tenant, 0).await.unwrap();
            }
            // The queue is gone: this is what the process has configured.
            assert_eq!(layers[index].available_for("a"), [2, 10][index]);
            call(&tools[index], "a", 0).await.unwrap();
            sleep(ms(1)).await;
            assert_eq!(layers[index].available_for("a"), 2, "{round} {index}");
        }
    }
}
