use std::convert::Infallible;
use std::num::NonZeroU32;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use toolbooth::shared::{SharedStore, WhenAway};
use toolbooth::{
    CallContext, ErrorKind, Policies, Quota, RateLimitLayer, ToolCall, ToolSpec, Toolbox, tool_fn,
};
use toolbooth_test::{MemoryStore, boxed, ms};
use tower::{Layer, ServiceExt};

use crate::support::{Witness, process, rated, run};

pub(crate) fn quota(every: Duration, burst: u32) -> Quota {
    let burst = NonZeroU32::new(burst).unwrap_or(NonZeroU32::MIN);
    let quota = Quota::with_period(every).expect("a period above zero");
    quota.allow_burst(burst)
}

pub(crate) fn rate(store: &SharedStore, every: Duration, burst: u32) -> RateLimitLayer {
    RateLimitLayer::new(quota(every, burst)).with_store(store, "rate")
}

/// Asserts that no window has more starts than `burst + slack` and one for each interval.
fn assert_bound(starts: &[u128], every: u128, burst: usize) {
    for (i, first) in starts.iter().enumerate() {
        for (count, last) in starts[i..].iter().enumerate() {
            let allowed = burst + usize::try_from((last - first) / every).unwrap_or(usize::MAX);
            assert!(
                count < allowed,
                "{} starts in {} ms",
                count + 1,
                last - first
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn eight_processes_share_one_rate() {
    let (store, witness) = (MemoryStore::new(), Witness::default());
    let processes: Vec<_> = (0..8).map(|_| process(&store, WhenAway::Local)).collect();
    let mut calls = JoinSet::new();
    for process in &processes {
        let tool = rated(&rate(process, ms(10), 5), &witness);
        for _ in 0..50 {
            calls.spawn(run(tool.clone(), 0));
        }
    }
    let start = Instant::now();
    while let Some(result) = calls.join_next().await {
        result.unwrap().unwrap();
    }
    let starts = witness.starts();
    assert_eq!(starts.len(), 400);
    assert_bound(&starts, 10, 5);
    // The 5 of the burst at once, then one every 10 ms.
    assert_eq!(start.elapsed(), ms(3_950));
}

#[tokio::test(start_paused = true)]
async fn delay_of_the_store_does_not_lower_the_rate() {
    let (store, witness) = (MemoryStore::new(), Witness::default());
    store.set_delay(ms(40));
    let process = process(&store, WhenAway::Local);
    let tool = rated(&rate(&process, ms(1), 1), &witness);
    let mut calls = JoinSet::new();
    for _ in 0..1_000 {
        calls.spawn(run(tool.clone(), 0));
    }
    let start = Instant::now();
    while let Some(result) = calls.join_next().await {
        result.unwrap().unwrap();
    }
    assert!(start.elapsed() < ms(1_150), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn call_that_cannot_start_before_its_deadline_is_rejected_after_one_round_trip() {
    let (store, witness) = (MemoryStore::new(), Witness::default());
    store.set_delay(ms(10));
    let process = process(&store, WhenAway::Local);
    let tool = rated(&rate(&process, Duration::from_secs(60), 1), &witness);
    run(tool.clone(), 0).await.unwrap();
    let start = Instant::now();
    let call = ToolCall::new("tool", 0.into()).with_deadline(start + Duration::from_secs(30));
    let error = tool.oneshot(call).await.unwrap_err();
    assert_eq!(
        (error.kind(), start.elapsed()),
        (ErrorKind::RateLimited, ms(10))
    );
    // Executed in the middle of the first and the second command.
    assert_eq!(error.retry_after(), Some(ms(60_000 - 10)));
}

#[tokio::test(start_paused = true)]
async fn rejecting_limit_answers_each_call_after_one_round_trip() {
    let (store, witness) = (MemoryStore::new(), Witness::default());
    store.set_delay(ms(10));
    let process = process(&store, WhenAway::Local);
    let layer = rate(&process, Duration::from_secs(1), 3).reject();
    let tool = boxed(layer.layer(witness.tool()));
    let mut calls = JoinSet::new();
    for _ in 0..10 {
        calls.spawn(run(tool.clone(), 0));
    }
    let start = Instant::now();
    let (mut ok, mut rejected) = (0, 0);
    while let Some(result) = calls.join_next().await {
        match result.unwrap() {
            Ok(()) => ok += 1,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::RateLimited);
                rejected += 1;
            }
        }
    }
    assert_eq!((ok, rejected), (3, 7));
    assert!(start.elapsed() <= ms(20), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn reservation_of_a_dropped_call_is_returned() {
    let (store, witness) = (MemoryStore::new(), Witness::default());
    let [one, other] = [(); 2].map(|()| process(&store, WhenAway::Local));
    let tool = rated(&rate(&one, ms(1_000), 1), &witness);
    run(tool.clone(), 0).await.unwrap();
    let dropped = tokio::spawn(run(tool, 0));
    sleep(ms(100)).await;
    dropped.abort();
    sleep(ms(100)).await;
    let start = Instant::now();
    run(rated(&rate(&other, ms(1_000), 1), &witness), 0)
        .await
        .unwrap();
    assert_eq!(start.elapsed(), ms(800));
}

#[tokio::test(start_paused = true)]
async fn prefetched_tokens_cost_no_round_trip_and_are_bounded() {
    let (store, witness) = (MemoryStore::new(), Witness::default());
    store.set_delay(ms(10));
    let process = process(&store, WhenAway::Local).with_prefetch(8);
    let tool = rated(&rate(&process, ms(10), 100), &witness);
    run(tool.clone(), 0).await.unwrap();
    sleep(ms(50)).await;
    let start = Instant::now();
    for _ in 0..4 {
        run(tool.clone(), 0).await.unwrap();
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn changed_quota_holds_in_every_process() {
    let (store, witness) = (MemoryStore::new(), Witness::default());
    let [one, other] = [(); 2].map(|()| process(&store, WhenAway::Local));
    let layer = rate(&one, ms(1_000), 1);
    let others = rated(&rate(&other, ms(1_000), 1), &witness);
    run(rated(&layer, &witness), 0).await.unwrap();
    layer.set_quota(quota(ms(10), 1)).unwrap();
    sleep(ms(100)).await;
    let start = Instant::now();
    for _ in 0..5 {
        run(others.clone(), 0).await.unwrap();
    }
    assert_eq!(start.elapsed(), ms(40));
}

#[tokio::test(start_paused = true)]
async fn all_quotas_of_a_layer_are_shared() {
    let (store, witness) = (MemoryStore::new(), Witness::default());
    let processes = [(); 2].map(|()| process(&store, WhenAway::Local));
    let mut calls = JoinSet::new();
    for process in &processes {
        let layer = rate(process, ms(10), 2).with_quota(quota(ms(1_000), 5));
        let tool = rated(&layer, &witness);
        for _ in 0..4 {
            calls.spawn(run(tool.clone(), 0));
        }
    }
    while let Some(result) = calls.join_next().await {
        result.unwrap().unwrap();
    }
    assert_eq!(witness.starts(), [0, 0, 10, 20, 30, 1_000, 2_000, 3_000]);
    assert_eq!(store.limits(), ["rate"]);
}

#[tokio::test(start_paused = true)]
async fn reservation_of_several_quotas_is_returned() {
    let (store, witness) = (MemoryStore::new(), Witness::default());
    let [one, other] = [(); 2].map(|()| process(&store, WhenAway::Local));
    let [tool, others] = [&one, &other].map(|process| {
        let layer = rate(process, ms(10), 2).with_quota(quota(ms(1_000), 1));
        rated(&layer, &witness)
    });
    run(tool.clone(), 0).await.unwrap();
    let dropped = tokio::spawn(run(tool, 0));
    sleep(ms(100)).await;
    dropped.abort();
    sleep(ms(100)).await;
    let start = Instant::now();
    run(others.clone(), 0).await.unwrap();
    assert_eq!(start.elapsed(), ms(800));
    run(others, 0).await.unwrap();
    assert_eq!(start.elapsed(), ms(1_800));
}

#[tokio::test(start_paused = true)]
async fn rejection_of_several_quotas_has_the_time_to_retry() {
    let (store, witness) = (MemoryStore::new(), Witness::default());
    store.set_delay(ms(10));
    let process = process(&store, WhenAway::Local);
    let layer = rate(&process, ms(1), 5).with_quota(quota(Duration::from_secs(60), 3));
    let tool = boxed(layer.reject().layer(witness.tool()));
    let mut calls = JoinSet::new();
    for _ in 0..5 {
        calls.spawn(run(tool.clone(), 0));
    }
    let mut waits = Vec::new();
    while let Some(result) = calls.join_next().await {
        waits.extend(result.unwrap().err().map(|error| error.retry_after()));
    }
    // Executed in the middle of the first and the second command.
    assert_eq!(waits, [Some(ms(60_000 - 10)); 2]);
}

#[tokio::test(start_paused = true)]
async fn quota_that_is_changed_leaves_the_others() {
    let (store, witness) = (MemoryStore::new(), Witness::default());
    let [one, other] = [(); 2].map(|()| process(&store, WhenAway::Local));
    let layers = [&one, &other].map(|process| {
        RateLimitLayer::new(None)
            .with_quota(quota(ms(1_000), 4))
            .with_store(process, "rate")
    });
    let tools = layers.each_ref().map(|layer| rated(layer, &witness));
    run(tools[1].clone(), 0).await.unwrap();
    layers[0].set_quota(quota(ms(10), 1)).unwrap();
    sleep(ms(100)).await;
    for _ in 0..4 {
        run(tools[1].clone(), 0).await.unwrap();
    }
    // The three that were left of the added quota, by the new one, and one after a second.
    assert_eq!(witness.starts(), [0, 100, 110, 120, 1_000]);
    layers[1].set_quota(None).unwrap();
    for _ in 0..4 {
        run(tools[1].clone(), 0).await.unwrap();
    }
    assert_eq!(witness.starts()[5..], [1_000; 4]);
}

#[tokio::test(start_paused = true)]
async fn costs_are_taken_as_a_whole() {
    // Also if the tokens of a call are further apart than a token can be used.
    for every in [10, 1_000] {
        let (store, witness) = (MemoryStore::new(), Witness::default());
        let process = process(&store, WhenAway::Local);
        let layer = rate(&process, ms(every), 10).with_cost(|_| 4);
        let tool = rated(&layer, &witness);
        let mut calls = JoinSet::new();
        for _ in 0..5 {
            calls.spawn(run(tool.clone(), 0));
        }
        while let Some(result) = calls.join_next().await {
            result.unwrap().unwrap();
        }
        let starts = [0, 0, 2, 6, 10].map(|tokens| tokens * u128::from(every));
        assert_eq!(witness.starts(), starts);
    }
}

#[tokio::test(start_paused = true)]
async fn limits_of_policies_are_shared_by_the_processes_of_a_toolbox() {
    let (store, witness) = (MemoryStore::new(), Witness::default());
    let policies = "[default]\nconcurrency = 2\nrate = [{ per_second = 4 }, \"100/h\"]";
    let policies = Policies::from_toml(policies).expect("valid");
    let mut calls = JoinSet::new();
    let start = Instant::now();
    let mut boxes = Vec::new();
    for _ in 0..3 {
        let process = process(&store, WhenAway::Local);
        let toolbox = Toolbox::builder()
            .tool(ToolSpec::new("tool"), witness.tool())
            .with_store(&process, "agents")
            .policies(policies.clone())
            .build()
            .expect("valid");
        for _ in 0..2 {
            let toolbox = toolbox.clone();
            calls.spawn(async move { toolbox.oneshot(ToolCall::new("tool", 10.into())).await });
        }
        boxes.push((process, toolbox));
    }
    while let Some(result) = calls.join_next().await {
        result.unwrap().unwrap();
    }
    assert_eq!(witness.most(), 2);
    // Four at once, then one every 250 ms.
    assert_eq!(start.elapsed(), ms(510));
    assert_eq!(store.limits().len(), 2, "{:?}", store.limits());
}

#[tokio::test(start_paused = true)]
async fn charge_that_fails_is_sent_again() {
    let (store, witness) = (MemoryStore::new(), Witness::default());
    let [one, other] = [(); 2].map(|()| process(&store, WhenAway::Local));
    let shared = store.clone();
    let uses = tool_fn("tool", move |call: CallContext, _: u64| {
        let store = shared.clone();
        async move {
            store.set_away(true);
            call.adjust_cost("rate", 8);
            sleep(ms(5)).await;
            store.set_away(false);
            sleep(ms(20)).await;
            Ok::<_, Infallible>("done")
        }
    });
    let layer = rate(&one, ms(1_000), 10).with_adjustable_cost();
    run(boxed(layer.layer(uses)), 0).await.unwrap();
    let others = rated(&rate(&other, ms(1_000), 10), &witness);
    for _ in 0..3 {
        run(others.clone(), 0).await.unwrap();
    }
    assert_eq!(witness.starts(), [0, 0, 975]);
}

/// A task that is polled late finds that its token has expired, and gets another one.
#[tokio::test(start_paused = true)]
async fn late_call_takes_another_token() {
    let (store, witness) = (MemoryStore::new(), Witness::default());
    let process = process(&store, WhenAway::Local);
    let tool = rated(&rate(&process, ms(100), 1), &witness);
    run(tool.clone(), 0).await.unwrap();
    let late = tokio::spawn(run(tool, 0));
    sleep(ms(1)).await;
    // Past the time of its token, and of the grace after it, without a poll in between.
    tokio::time::advance(ms(500)).await;
    tokio::time::timeout(ms(1_000), late)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}
