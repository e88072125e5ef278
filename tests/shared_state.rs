//! Shared state under concurrency: no update is lost, and a call that ends early blocks no other.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::sync::Barrier;
use tokio::time::{Instant, sleep};
use toolbooth::{
    BoxError, CallContext, CallGroup, CancelReason, ErrorKind, IdempotencyLayer, ServiceBuilderExt,
    SharedState, StateError, StateLayer, TimeoutLayer, ToolCall, ToolError, Toolbox, tool_fn,
};
use toolbooth_test::{BoxTool, boxed, call_all, ms};
use toolbooth_tests::{calls, runtime};
use tower::{Layer, ServiceBuilder, ServiceExt};

fn state_of(call: &CallContext) -> SharedState {
    call.extension::<SharedState>().expect("a state").clone()
}

/// A tool that increments a counter and returns the new value, inside a layer with this state.
fn counter(state: &SharedState) -> BoxTool {
    let count = tool_fn("count", async |call: CallContext, _: ()| {
        state_of(&call).increment("counter", 1)
    });
    boxed(StateLayer::new(state.clone()).layer(count))
}

/// The numbers that the responses of these calls contain.
async fn numbers(tool: BoxTool, count: usize) -> BTreeSet<i64> {
    let finished = call_all(tool, calls(count)).await;
    let number = |text: String| text.parse().expect("a number");
    let texts = finished
        .into_iter()
        .map(|call| call.result.expect("a response").text());
    texts.map(number).collect()
}

/// R1, R2.
#[tokio::test(start_paused = true)]
async fn twenty_increments_return_each_number_once() {
    let state = SharedState::new();
    assert_eq!(numbers(counter(&state), 20).await, (1..=20).collect());
    assert_eq!(state.get("counter"), Ok(Some(20_i64)));
}

/// R2.
#[test]
fn ten_thousand_increments_of_eight_threads_return_each_number_once() {
    let state = SharedState::new();
    let tool = counter(&state);
    let returned = runtime(8).block_on(numbers(tool, 10_000));
    assert_eq!(returned, (1..=10_000).collect());
    assert_eq!(state.get("counter"), Ok(Some(10_000_i64)));
}

/// R2.
#[test]
fn one_of_twenty_swaps_wins_each_version() {
    let state = SharedState::new();
    let runtime = runtime(8);
    let mut version = 0;
    for round in 0..200_usize {
        let barrier = Arc::new(Barrier::new(20));
        let swaps = (0..20_usize).map(|task| {
            let (state, barrier) = (state.clone(), Arc::clone(&barrier));
            runtime.spawn(async move {
                barrier.wait().await;
                state.compare_and_swap("leader", version, (round, task))
            })
        });
        let swaps: Vec<_> = swaps.collect();
        let results = runtime.block_on(futures_util::future::join_all(swaps));
        let results: Vec<_> = results
            .into_iter()
            .map(|task| task.expect("no panic"))
            .collect();
        let won: Vec<_> = results.iter().filter_map(|swap| swap.ok()).collect();
        assert_eq!(won.len(), 1);
        let is_conflict = |swap: &Result<u64, StateError>| matches!(swap, Err(StateError::Conflict { version, .. }) if *version == won[0]);
        assert_eq!(results.iter().filter(|swap| is_conflict(swap)).count(), 19);
        version = won[0];
    }
}

/// R2.
#[test]
fn updates_of_eight_threads_lose_nothing() {
    let state = SharedState::new();
    std::thread::scope(|scope| {
        for thread in 0..8_u32 {
            let state = &state;
            scope.spawn(move || {
                for n in 0..250 {
                    let add = |sum: Option<&u32>| sum.copied().unwrap_or(0) + 1;
                    state.update("sum", add).unwrap();
                    let key = format!("key {}", n % 10);
                    let mine = |list: Option<&Vec<u32>>| {
                        [list.cloned().unwrap_or_default(), vec![thread]].concat()
                    };
                    state.update(&key, mine).unwrap();
                }
            });
        }
    });
    assert_eq!(state.get("sum"), Ok(Some(2_000_u32)));
    for key in 0..10 {
        let list = state
            .get::<Vec<u32>>(&format!("key {key}"))
            .unwrap()
            .unwrap();
        for thread in 0..8 {
            assert_eq!(list.iter().filter(|by| **by == thread).count(), 25);
        }
    }
}

/// R1. The negative control: a read, a wait and a write are not one operation.
#[tokio::test(start_paused = true)]
async fn read_and_write_around_a_wait_lose_updates() {
    let state = SharedState::new();
    let naive = tool_fn("naive", async |call: CallContext, _: ()| {
        let state = state_of(&call);
        let counter = state.get::<i64>("counter")?.unwrap_or(0);
        sleep(ms(1)).await;
        state.set("counter", counter + 1)?;
        Ok::<_, StateError>(counter + 1)
    });
    let naive = boxed(StateLayer::new(state.clone()).layer(naive));
    assert_eq!(numbers(naive, 20).await, BTreeSet::from([1]));
    assert_eq!(state.get("counter"), Ok(Some(1_i64)));
}

/// R3.
#[tokio::test(start_paused = true)]
async fn twenty_critical_sections_of_1_ms_take_20_ms_and_lose_nothing() {
    let state = SharedState::new();
    let started = Instant::now();
    assert_eq!(numbers(exclusive(&state), 20).await, (1..=20).collect());
    assert_eq!(started.elapsed(), ms(20));
    assert_eq!(state.get("counter"), Ok(Some(20_i64)));
}

/// A tool that increments the counter in a critical section of 1 ms, or of its argument.
fn exclusive(state: &SharedState) -> BoxTool {
    let exclusive = tool_fn(
        "exclusive",
        async |call: CallContext, millis: Option<u64>| {
            let mut guard = state_of(&call).lock("counter").await?;
            let counter = guard.get::<i64>()?.unwrap_or(0);
            sleep(Duration::from_millis(millis.unwrap_or(1))).await;
            guard.set(counter + 1)?;
            Ok::<_, BoxError>(counter + 1)
        },
    );
    boxed(StateLayer::new(state.clone()).layer(exclusive))
}

/// R3.
#[tokio::test(start_paused = true)]
async fn holder_that_expires_releases_the_key_and_leaves_the_old_value() {
    let state = SharedState::new();
    state.set("counter", 7_i64).unwrap();
    let tool = TimeoutLayer::new(ms(50)).layer(exclusive(&state));
    let call = |millis: u64| ToolCall::new("exclusive", json!(millis));
    let started = Instant::now();
    let hangs = tool.clone().oneshot(call(60_000));
    let waits = async {
        sleep(ms(10)).await;
        let response = tool.clone().oneshot(call(1)).await.unwrap();
        (started.elapsed(), response.collect().await.unwrap().text())
    };
    let (hangs, waits) = tokio::join!(hangs, waits);
    assert_eq!(hangs.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(waits, (ms(51), "8".to_owned()));
}

/// R3.
#[tokio::test(start_paused = true)]
async fn every_end_of_a_holder_releases_the_key_with_the_old_or_the_new_value() {
    for (writes_first, value) in [(false, 0_i64), (true, 1)] {
        for end in ["cancel", "panic", "error", "drop"] {
            let state = SharedState::new();
            state.set("counter", 0_i64).unwrap();
            let holder = tool_fn("holder", move |call: CallContext, end: String| async move {
                let mut guard = state_of(&call).lock("counter").await?;
                if writes_first {
                    guard.set(1_i64)?;
                }
                match end.as_str() {
                    "panic" => std::panic::panic_any("in the critical section"),
                    "error" => Err("failed".into()),
                    _ => std::future::pending::<Result<(), BoxError>>().await,
                }
            });
            let holder = ServiceBuilder::new()
                .tool_catch_panic(toolbooth::CatchPanicLayer::new())
                .layer(StateLayer::new(state.clone()))
                .service(holder);
            let call = ToolCall::new("holder", json!(end));
            let canceller = call.canceller();
            let running = tokio::spawn(holder.oneshot(call));
            tokio::task::yield_now().await;
            match end {
                "cancel" => canceller.cancel(),
                "drop" => running.abort(),
                _ => {}
            }
            let result = running.await;
            assert_eq!(result.is_err(), end == "drop");
            let mut next = tokio::time::timeout(ms(1), state.lock("counter"))
                .await
                .unwrap()
                .unwrap();
            assert_eq!(next.get(), Ok(Some(value)), "{end}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn call_that_a_group_cancels_in_the_queue_leaves_it() {
    let state = SharedState::new();
    let held = state.lock("counter").await.unwrap();
    let mut group = CallGroup::new().outcomes(exclusive(&state), calls(3));
    assert!(futures_util::poll!(futures_util::StreamExt::next(&mut group)).is_pending());
    group.cancel();
    while let Some((_, outcome)) = futures_util::StreamExt::next(&mut group).await {
        let reason = toolbooth_test::cancel_reason(&outcome.unwrap_err());
        assert_eq!(reason, Some(CancelReason::Explicit));
    }
    drop(held);
    assert!(
        tokio::time::timeout(ms(1), state.lock("counter"))
            .await
            .is_ok()
    );
}

#[tokio::test(start_paused = true)]
async fn tools_of_a_toolbox_share_one_state_and_its_idempotency_keys_are_those_of_a_tool() {
    let state = SharedState::new();
    let add = async |call: CallContext, by: i64| state_of(&call).increment("counter", by);
    let subtract = async |call: CallContext, by: i64| state_of(&call).increment("counter", -by);
    let toolbox = Toolbox::builder()
        .tool("add", tool_fn("add", add))
        .tool("subtract", tool_fn("subtract", subtract))
        .layer(StateLayer::new(state.clone()))
        .layer(IdempotencyLayer::new())
        .build()
        .unwrap();
    let call = |tool: &'static str, by: i64, key: Option<&'static str>| {
        let call = ToolCall::new(tool, json!(by));
        let call = match key {
            Some(key) => call.with_idempotency_key(key),
            None => call,
        };
        let toolbox = toolbox.clone();
        async move {
            let response = toolbox.oneshot(call).await?.collect().await?;
            Ok::<_, ToolError>(response.text())
        }
    };
    assert_eq!(call("add", 5, None).await.unwrap(), "5");
    assert_eq!(call("subtract", 1, None).await.unwrap(), "4");
    for _ in 0..3 {
        assert_eq!(call("add", 10, Some("a")).await.unwrap(), "14");
        assert_eq!(call("subtract", 2, Some("a")).await.unwrap(), "12");
    }
    assert_eq!(state.get("counter"), Ok(Some(12_i64)));
    let other = call("add", 11, Some("a")).await.unwrap_err();
    assert_eq!(other.kind(), ErrorKind::InvalidArguments);
}
