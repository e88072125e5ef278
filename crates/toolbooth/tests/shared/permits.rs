use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use toolbooth::shared::{FencingNumber, WhenAway};
use toolbooth::{CallContext, ConcurrencyLimitLayer, ErrorKind, ToolCall, tool_fn};
use toolbooth_test::{MemoryStore, boxed, ms};
use tower::{Layer, ServiceExt};

use crate::support::{Witness, limited, process, run};

#[tokio::test(start_paused = true)]
async fn one_limit_holds_for_eight_processes() {
    let (store, witness) = (MemoryStore::new(), Witness::default());
    store.set_delay(ms(2));
    let mut calls = JoinSet::new();
    let processes: Vec<_> = (0..8).map(|_| process(&store, WhenAway::Local)).collect();
    for process in &processes {
        let tool = limited(process, &witness, 10);
        for _ in 0..100 {
            calls.spawn(run(tool.clone(), 20));
        }
    }
    let start = Instant::now();
    while let Some(result) = calls.join_next().await {
        result.unwrap().unwrap();
    }
    assert_eq!((witness.most(), witness.starts().len()), (10, 800));
    // 80 rounds of 20 ms; a permit changes hands in a few round trips.
    assert!(start.elapsed() < ms(80 * 28), "{:?}", start.elapsed());
    sleep(ms(10)).await;
    assert_eq!(store.held("limit"), 0);
}

#[tokio::test(start_paused = true)]
async fn call_that_finds_a_permit_costs_one_round_trip() {
    let (store, witness) = (MemoryStore::new(), Witness::default());
    store.set_delay(ms(10));
    let store_of_process = process(&store, WhenAway::Local);
    let tool = limited(&store_of_process, &witness, 1);
    for _ in 0..3 {
        let start = Instant::now();
        run(tool.clone(), 0).await.unwrap();
        assert_eq!(start.elapsed(), ms(10));
    }
}

#[tokio::test(start_paused = true)]
async fn permits_of_a_process_that_is_gone_are_free_at_the_end_of_its_lease() {
    let (store, witness) = (MemoryStore::new(), Witness::default());
    let (gone, alive) = (
        process(&store, WhenAway::Local),
        process(&store, WhenAway::Local),
    );
    // It holds both permits, and reports to a store that drops its commands from now on.
    let stuck = limited(&gone, &witness, 2);
    let calls = [
        tokio::spawn(run(stuck.clone(), 1_000_000)),
        tokio::spawn(run(stuck, 1_000_000)),
    ];
    sleep(ms(1)).await;
    assert_eq!(store.held("limit"), 2);
    store.set_unreachable(gone.process(), true);
    let start = Instant::now();
    run(limited(&alive, &witness, 2), 0).await.unwrap();
    assert!(
        start.elapsed() <= Duration::from_secs(10),
        "{:?}",
        start.elapsed()
    );
    assert!(
        start.elapsed() > Duration::from_secs(9),
        "{:?}",
        start.elapsed()
    );
    calls.into_iter().for_each(|call| call.abort());
}

#[tokio::test(start_paused = true)]
async fn lease_is_renewed_as_long_as_a_call_runs() {
    let (store, witness) = (MemoryStore::new(), Witness::default());
    let one = process(&store, WhenAway::Local);
    let other = process(&store, WhenAway::Local);
    let long = tokio::spawn(run(limited(&one, &witness, 1), 60_000));
    sleep(ms(1)).await;
    let next = limited(&other, &witness, 1);
    let start = Instant::now();
    run(next, 0).await.unwrap();
    assert_eq!(start.elapsed(), ms(59_999));
    assert_eq!(witness.most(), 1);
    long.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn dropped_call_keeps_no_permit_at_any_moment() {
    for dropped_after in 0..12 {
        let (store, witness) = (MemoryStore::new(), Witness::default());
        store.set_delay(ms(4));
        let process = process(&store, WhenAway::Local);
        let tool = limited(&process, &witness, 1);
        let _ = timeout(ms(dropped_after), run(tool.clone(), 5)).await;
        sleep(ms(20)).await;
        assert_eq!(store.held("limit"), 0, "dropped after {dropped_after} ms");
        timeout(ms(10), run(tool, 0)).await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn processes_that_wait_start_in_the_order_in_which_they_came() {
    let (store, witness) = (MemoryStore::new(), Witness::default());
    let processes: Vec<_> = (0..4).map(|_| process(&store, WhenAway::Local)).collect();
    let mut calls = JoinSet::new();
    for (i, process) in processes.iter().enumerate() {
        let tool = limited(process, &witness, 1);
        for _ in 0..2 {
            let tool = tool.clone();
            calls.spawn(async move {
                run(tool, 10).await.unwrap();
                i
            });
        }
        sleep(ms(1)).await;
    }
    let mut order = Vec::new();
    while let Some(process) = calls.join_next().await {
        order.push(process.unwrap());
    }
    // The second call of the first process came before those of the others.
    assert_eq!(order, [0, 0, 1, 2, 3, 1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn waiting_process_that_does_not_ask_when_notified_delays_the_next_for_a_bounded_time() {
    let (store, witness) = (MemoryStore::new(), Witness::default());
    let [holder, silent, next] = [(); 3].map(|()| process(&store, WhenAway::Local));
    let held = tokio::spawn(run(limited(&holder, &witness, 1), 100));
    sleep(ms(1)).await;
    let waits = tokio::spawn(run(limited(&silent, &witness, 1), 0));
    sleep(ms(1)).await;
    store.set_unreachable(silent.process(), true);
    let start = Instant::now();
    run(limited(&next, &witness, 1), 0).await.unwrap();
    held.await.unwrap().unwrap();
    // 98 ms until the release, then at most a third of the lease, and two replies.
    assert!(
        start.elapsed() < ms(98 + 3_334 + 100),
        "{:?}",
        start.elapsed()
    );
    waits.abort();
}

#[tokio::test(start_paused = true)]
async fn changed_limit_holds_in_every_process() {
    let (store, witness) = (MemoryStore::new(), Witness::default());
    let (one, other) = (
        process(&store, WhenAway::Local),
        process(&store, WhenAway::Local),
    );
    let layer = ConcurrencyLimitLayer::new(1).with_store(&one, "limit");
    let (tool, others) = (
        boxed(layer.layer(witness.tool())),
        limited(&other, &witness, 1),
    );
    run(tool.clone(), 0).await.unwrap();
    run(others.clone(), 0).await.unwrap();
    layer.set_limit(3).unwrap();
    sleep(ms(1)).await;
    let mut calls = JoinSet::new();
    for _ in 0..10 {
        calls.spawn(run(others.clone(), 10));
    }
    while let Some(result) = calls.join_next().await {
        result.unwrap().unwrap();
    }
    assert_eq!(witness.most(), 3);
}

#[tokio::test(start_paused = true)]
async fn each_key_has_a_limit_of_its_own_in_all_processes() {
    let store = MemoryStore::new();
    let [one, other] = [(); 2].map(|()| process(&store, WhenAway::Local));
    let by_tenant = |process| {
        ConcurrencyLimitLayer::by(1, |call| call.tenant().unwrap_or("none").into())
            .with_store(process, "tenants")
    };
    let witness = Witness::default();
    let tools = [&one, &other].map(|process| boxed(by_tenant(process).layer(witness.tool())));
    let call = |tenant: &'static str| ToolCall::new("tool", 10.into()).with_tenant(tenant);
    let mut calls = JoinSet::new();
    for tool in tools {
        for tenant in ["a", "b"] {
            let tool = tool.clone();
            calls.spawn(async move { tool.oneshot(call(tenant)).await.map(drop) });
        }
    }
    let start = Instant::now();
    while let Some(result) = calls.join_next().await {
        result.unwrap().unwrap();
    }
    assert_eq!((witness.most(), start.elapsed()), (2, ms(20)));
    assert_eq!(store.limits(), ["tenants/a", "tenants/b"]);
}

#[tokio::test(start_paused = true)]
async fn each_permit_has_a_higher_fencing_number() {
    let store = MemoryStore::new();
    let process = process(&store, WhenAway::Local);
    let tool = tool_fn("tool", async |call: CallContext, _: ()| {
        let number = call.extension::<FencingNumber>().map(|number| number.get());
        sleep(ms(10)).await;
        Ok::<_, std::convert::Infallible>(number.unwrap_or(0).to_string())
    });
    let limit = ConcurrencyLimitLayer::new(2).with_store(&process, "limit");
    let tool = limit.layer(tool);
    let six = async || {
        let mut calls = JoinSet::new();
        for _ in 0..6 {
            calls.spawn(tool.clone().oneshot(ToolCall::new("tool", ().into())));
        }
        let mut numbers: Vec<u64> = Vec::new();
        while let Some(output) = calls.join_next().await {
            let output = output.unwrap().unwrap().collect().await.unwrap();
            numbers.push(output.text().parse().unwrap());
        }
        numbers
    };
    let mut numbers = six().await;
    let first = numbers[0];
    assert_eq!(numbers, (first..first + 6).collect::<Vec<_>>());
    // The store forgets a limit that is not used, and may lose its data.
    sleep(Duration::from_secs(30)).await;
    assert!(store.limits().is_empty());
    numbers.extend(six().await);
    store.clear();
    numbers.extend(six().await);
    assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
}

#[tokio::test(start_paused = true)]
async fn call_that_waits_for_the_store_ends_at_its_deadline() {
    let (store, witness) = (MemoryStore::new(), Witness::default());
    let [one, other] = [(); 2].map(|()| process(&store, WhenAway::Local));
    let _held = tokio::spawn(run(limited(&one, &witness, 1), 10_000));
    sleep(ms(1)).await;
    let tool = limited(&other, &witness, 1);
    let start = Instant::now();
    let call = ToolCall::new("tool", 0.into()).with_deadline(start + ms(70));
    let error = tool.clone().oneshot(call).await.unwrap_err();
    assert_eq!(
        (error.kind(), start.elapsed()),
        (ErrorKind::Timeout, ms(70))
    );
    assert!(!error.started());
}

#[tokio::test(start_paused = true)]
async fn limit_of_a_newer_configuration_holds_and_a_change_outlives_a_restart() {
    let store = MemoryStore::new();
    let start = async |limit: usize| {
        let witness = Witness::default();
        let process = process(&store, WhenAway::Local);
        let layer = ConcurrencyLimitLayer::new(limit).with_store(&process, "limit");
        let tool = boxed(layer.layer(witness.tool()));
        let mut calls = JoinSet::new();
        for _ in 0..9 {
            calls.spawn(run(tool.clone(), 10));
        }
        while let Some(result) = calls.join_next().await {
            result.unwrap().unwrap();
        }
        (process, layer, witness.most())
    };
    let (_old, old, most) = start(2).await;
    assert_eq!(most, 2);
    let (_new, new, most) = start(4).await;
    assert_eq!(most, 4);
    new.set_limit(3).unwrap();
    sleep(ms(1)).await;
    // A restart with the same configuration keeps what was changed.
    let (_again, _, most) = start(4).await;
    assert_eq!(most, 3);
    // The old process knows with its next command.
    drop(old);
    let (_newer, _, most) = start(5).await;
    assert_eq!(most, 5);
}
