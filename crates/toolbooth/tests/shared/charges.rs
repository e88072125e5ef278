//! Costs that are adjusted, with the bucket in a store.

use std::convert::Infallible;

use tokio::time::{Instant, sleep};
use toolbooth::shared::WhenAway;
use toolbooth::{CallContext, ErrorKind, RateLimitLayer, tool_fn};
use toolbooth_test::{BoxTool, MemoryStore, boxed, ms};
use tower::Layer;

use crate::support::{Witness, process, rated, run};
use crate::tokens::{quota, rate};

/// Returns a tool that adjusts its cost to its argument.
fn adjusting(layer: &RateLimitLayer) -> BoxTool {
    let adjust = async |call: CallContext, cost: u32| {
        call.adjust_cost("rate", cost);
        Ok::<_, Infallible>("done")
    };
    boxed(
        layer
            .clone()
            .with_adjustable_cost()
            .layer(tool_fn("tool", adjust)),
    )
}

#[tokio::test(start_paused = true)]
async fn debt_is_at_most_one_full_bucket_as_without_a_store() {
    for cost in [5, 15, 1_000, 10_000_000, u64::from(u32::MAX)] {
        let store = MemoryStore::new();
        let process = process(&store, WhenAway::Local);
        let local = RateLimitLayer::new(quota(ms(100), 10));
        let mut waits = Vec::new();
        for layer in [rate(&process, ms(100), 10), local] {
            let tool = adjusting(&layer);
            run(tool.clone(), cost).await.unwrap();
            let start = Instant::now();
            run(tool, 1).await.unwrap();
            waits.push(start.elapsed());
        }
        assert_eq!(waits[0], waits[1], "{cost}");
        // One call, two charges at most, and nothing for each chunk of a debt.
        assert!(store.commands() < 10, "{} commands", store.commands());
    }
}

#[tokio::test(start_paused = true)]
async fn debt_of_several_quotas_is_that_without_a_store() {
    let store = MemoryStore::new();
    let process = process(&store, WhenAway::Local);
    let local = RateLimitLayer::new(quota(ms(100), 10));
    let mut waits = Vec::new();
    for layer in [rate(&process, ms(100), 10), local] {
        let tool = adjusting(&layer.with_quota(quota(ms(70), 30)));
        run(tool.clone(), 35).await.unwrap();
        let start = Instant::now();
        run(tool, 1).await.unwrap();
        waits.push(start.elapsed());
    }
    assert_eq!(waits, [ms(1_100); 2]);
}

#[tokio::test(start_paused = true)]
async fn charge_above_a_lowered_burst_is_charged() {
    let store = MemoryStore::new();
    let [one, other] = [(); 2].map(|()| process(&store, WhenAway::Local));
    let others = rate(&other, ms(1_000), 10);
    let lowers = others.clone();
    let tool = tool_fn("tool", move |call: CallContext, cost: u32| {
        let lowers = lowers.clone();
        async move {
            lowers.set_quota(quota(ms(1_000), 3)).unwrap();
            sleep(ms(1)).await;
            call.adjust_cost("rate", cost);
            Ok::<_, Infallible>("done")
        }
    });
    let layer = rate(&one, ms(1_000), 10).with_adjustable_cost();
    run(boxed(layer.layer(tool)), 8).await.unwrap();
    let start = Instant::now();
    run(rated(&others, &Witness::default()), 0).await.unwrap();
    // A debt of the burst of 3, and one token.
    assert_eq!(start.elapsed(), ms(4_000));
}

#[tokio::test(start_paused = true)]
async fn reply_to_a_charge_has_the_quotas_that_hold() {
    let store = MemoryStore::new();
    let [one, other] = [(); 2].map(|()| process(&store, WhenAway::Local));
    let layer = rate(&one, ms(1_000), 10);
    run(adjusting(&layer), 1).await.unwrap();
    let others = rate(&other, ms(1_000), 10);
    others.set_quota(quota(ms(1_000), 3)).unwrap();
    sleep(ms(1)).await;
    let late = tool_fn("tool", async |call: CallContext, cost: u32| {
        call.adjust_cost("rate", cost);
        sleep(ms(1)).await;
        Ok::<_, Infallible>("done")
    });
    let tool = boxed(layer.clone().with_adjustable_cost().layer(late));
    run(tool, 8).await.unwrap();
    let commands = store.commands();
    let heavy = rated(&layer.with_cost(|_| 4), &Witness::default());
    let error = run(heavy, 0).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Overloaded);
    assert_eq!(store.commands(), commands, "no command is needed");
}

#[tokio::test(start_paused = true)]
async fn cost_of_a_limit_that_is_dropped_is_charged() {
    let store = MemoryStore::new();
    let [one, other] = [(); 2].map(|()| process(&store, WhenAway::Local));
    run(adjusting(&rate(&one, ms(1_000), 10)), 10)
        .await
        .unwrap();
    sleep(ms(1)).await;
    let start = Instant::now();
    run(rated(&rate(&other, ms(1_000), 10), &Witness::default()), 0)
        .await
        .unwrap();
    assert_eq!(start.elapsed(), ms(999));
}
