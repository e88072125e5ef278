use std::future::{Future, poll_fn};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use toolbooth::shared::{SharedOptions, SharedStore, WhenAway};
use toolbooth::{
    CancelReason, ConcurrencyLimitLayer, ErrorKind, Event, OverloadReason, RateLimitLayer,
};
use toolbooth_test::{MemoryStore, boxed, cancel_reason, ms, overload_reason};
use tower::Layer;

use crate::support::{Witness, limited, process, rated, run};
use crate::tokens::{quota, rate};

/// Returns a process that knows that the store is away.
pub(crate) async fn lost(store: &MemoryStore, when_away: WhenAway) -> SharedStore {
    let process = process(store, when_away);
    sleep(ms(1)).await;
    store.set_away(true);
    while !process.is_away() {
        sleep(ms(10)).await;
    }
    process
}

#[tokio::test(start_paused = true)]
async fn local_limit_is_the_share_of_the_process() {
    let (store, witness) = (MemoryStore::new(), Witness::default());
    let others = [(); 3].map(|()| process(&store, WhenAway::Local));
    sleep(ms(1)).await;
    let process = lost(&store, WhenAway::Local).await;
    assert_eq!(process.processes(), 4);
    let tool = limited(&process, &witness, 10);
    let mut calls = JoinSet::new();
    for _ in 0..20 {
        calls.spawn(run(tool.clone(), 10));
    }
    while let Some(result) = calls.join_next().await {
        result.unwrap().unwrap();
    }
    assert_eq!(witness.most(), 2);
    drop(others);
}

#[tokio::test(start_paused = true)]
async fn local_rate_is_the_share_of_each_quota() {
    let (store, witness) = (MemoryStore::new(), Witness::default());
    let other = process(&store, WhenAway::Local);
    sleep(ms(1)).await;
    let process = lost(&store, WhenAway::Local).await;
    let layer = rate(&process, ms(5), 4).with_quota(quota(ms(500), 6));
    let tool = rated(&layer, &witness);
    for _ in 0..5 {
        run(tool.clone(), 0).await.unwrap();
    }
    // Half of both: a burst of 2 and one every 10 ms, of which 3 at once and one every second.
    assert_eq!(witness.starts(), [0, 0, 10, 1_000, 2_000]);
    drop(other);
}

#[tokio::test(start_paused = true)]
async fn closed_limit_rejects_calls_at_once_with_a_time_to_retry() {
    let (store, witness) = (MemoryStore::new(), Witness::default());
    let process = lost(&store, WhenAway::Closed).await;
    let tool = limited(&process, &witness, 10);
    let start = Instant::now();
    let error = run(tool.clone(), 10).await.unwrap_err();
    let expected = OverloadReason::store_away(Duration::from_secs(1));
    assert_eq!(overload_reason(&error), Some(expected));
    assert_eq!(start.elapsed(), Duration::ZERO);
    store.set_away(false);
    sleep(Duration::from_secs(2)).await;
    run(tool, 10).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn open_limit_does_not_limit() {
    let (store, witness) = (MemoryStore::new(), Witness::default());
    let process = lost(&store, WhenAway::Open).await;
    let tool = limited(&process, &witness, 1);
    let mut calls = JoinSet::new();
    for _ in 0..20 {
        calls.spawn(run(tool.clone(), 10));
    }
    while let Some(result) = calls.join_next().await {
        result.unwrap().unwrap();
    }
    assert_eq!(witness.most(), 20);
}

#[tokio::test(start_paused = true)]
async fn calls_that_wait_when_the_store_is_lost_go_on_by_the_option() {
    for (when_away, most) in [(WhenAway::Local, 1), (WhenAway::Open, 5)] {
        let (store, witness) = (MemoryStore::new(), Witness::default());
        let process = process(&store, when_away);
        let tool = limited(&process, &witness, 1);
        run(tool.clone(), 0).await.unwrap();
        store.set_away(true);
        let mut calls = JoinSet::new();
        let start = Instant::now();
        for _ in 0..5 {
            calls.spawn(run(tool.clone(), 10));
        }
        while let Some(result) = calls.join_next().await {
            result.unwrap().unwrap();
        }
        assert_eq!(witness.most(), most, "{when_away}");
        // Three commands of 50 ms, and two pauses of 10 ms.
        assert!(
            start.elapsed() <= ms(170 + 50),
            "{when_away} {:?}",
            start.elapsed()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn closed_limit_cancels_calls_before_their_lease_ends() {
    let (store, witness) = (MemoryStore::new(), Witness::default());
    let process = process(&store, WhenAway::Closed);
    let tool = limited(&process, &witness, 1);
    let start = Instant::now();
    let call = tokio::spawn(run(tool, 1_000_000));
    sleep(ms(1)).await;
    store.set_away(true);
    let error = call.await.unwrap().unwrap_err();
    assert_eq!(cancel_reason(&error), Some(CancelReason::LeaseLost));
    assert_eq!(start.elapsed(), ms(10_000 - 50));
    assert_eq!(witness.running(), 0);
}

/// A call that is polled late finds that the lease of its permit has ended, and does not start.
#[tokio::test(start_paused = true)]
async fn permit_whose_lease_ended_before_the_start_is_not_used() {
    let (store, witness) = (MemoryStore::new(), Witness::default());
    let process = process(&store, WhenAway::Closed);
    let tool = limited(&process, &witness, 1);
    let mut call = Box::pin(run(tool, 0));
    poll_fn(|cx| {
        assert!(call.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
    sleep(ms(1)).await;
    assert_eq!(store.held("limit"), 1);
    store.set_away(true);
    sleep(Duration::from_secs(10)).await;
    let error = call.await.unwrap_err();
    assert_eq!(cancel_reason(&error), Some(CancelReason::LeaseLost));
    assert!(!error.started());
    assert_eq!(witness.starts().len(), 0);
}

/// The same after a new lease has begun.
#[tokio::test(start_paused = true)]
async fn permit_of_an_earlier_lease_is_not_used_under_the_next() {
    let (store, witness) = (MemoryStore::new(), Witness::default());
    let [one, other] = [(); 2].map(|()| process(&store, WhenAway::Closed));
    sleep(ms(1)).await;
    let mut call = Box::pin(run(limited(&one, &witness, 1), 0));
    poll_fn(|cx| {
        assert!(call.as_mut().poll(cx).is_pending());
        Poll::Ready(())
    })
    .await;
    sleep(ms(1)).await;
    store.set_unreachable(one.process(), true);
    sleep(ms(10_500)).await;
    let other = tokio::spawn(run(limited(&other, &witness, 1), 60_000));
    sleep(ms(100)).await;
    assert_eq!(witness.running(), 1);
    store.set_unreachable(one.process(), false);
    sleep(ms(3_000)).await;
    assert!(!one.is_away());
    let error = call.await.unwrap_err();
    assert_eq!(cancel_reason(&error), Some(CancelReason::LeaseLost));
    assert_eq!((witness.most(), witness.starts().len()), (1, 1));
    other.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn local_limit_rejects_what_the_limit_does() {
    let (store, witness) = (MemoryStore::new(), Witness::default());
    let process = lost(&store, WhenAway::Local).await;
    let none = ConcurrencyLimitLayer::new(0).with_store(&process, "none");
    let none = boxed(none.layer(witness.tool()));
    let error = run(none, 0).await.unwrap_err();
    assert_eq!(overload_reason(&error), Some(OverloadReason::Closed));
    let three = ConcurrencyLimitLayer::new(3).with_store(&process, "three");
    for (cost, runs) in [(50, false), (4, false), (3, true)] {
        let heavy = boxed(three.clone().with_cost(move |_| cost).layer(witness.tool()));
        assert_eq!(run(heavy, 0).await.is_ok(), runs, "{cost}");
    }
}

#[tokio::test(start_paused = true)]
async fn processes_that_are_seen_again_one_by_one_do_not_get_larger_shares() {
    let (store, witness) = (MemoryStore::new(), Witness::default());
    let processes = [(); 4].map(|()| process(&store, WhenAway::Local));
    sleep(Duration::from_secs(4)).await;
    assert_eq!(processes[0].processes(), 4);
    let all_lost = async || {
        store.set_away(true);
        while processes.iter().any(|process| !process.is_away()) {
            sleep(ms(10)).await;
        }
    };
    all_lost().await;
    // The store restarts without its data, is found by one of them, and is lost again.
    store.clear();
    for other in &processes[1..] {
        store.set_unreachable(other.process(), true);
    }
    store.set_away(false);
    while processes[0].is_away() {
        sleep(ms(10)).await;
    }
    all_lost().await;
    let mut calls = JoinSet::new();
    for process in &processes {
        let tool = limited(process, &witness, 8);
        for _ in 0..8 {
            calls.spawn(run(tool.clone(), 10));
        }
    }
    while let Some(result) = calls.join_next().await {
        result.unwrap().unwrap();
    }
    assert_eq!(witness.most(), 8);
    // Those that are gone count for one lease.
    let [first, others @ ..] = processes;
    drop(others);
    store.set_away(false);
    sleep(Duration::from_secs(20)).await;
    assert_eq!(first.processes(), 1);
}

#[tokio::test(start_paused = true)]
async fn local_and_open_limits_let_calls_go_on_and_register_them_again() {
    for when_away in [WhenAway::Local, WhenAway::Open] {
        let (store, witness) = (MemoryStore::new(), Witness::default());
        let process = process(&store, when_away);
        let tool = limited(&process, &witness, 1);
        let call = tokio::spawn(run(tool, 30_000));
        sleep(ms(1)).await;
        store.set_away(true);
        sleep(Duration::from_secs(12)).await;
        store.clear();
        store.set_away(false);
        sleep(Duration::from_secs(2)).await;
        assert_eq!(store.held("limit"), 1, "{when_away}");
        call.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn store_that_lost_its_data_learns_it_again_within_a_third_of_the_lease() {
    let (store, witness) = (MemoryStore::new(), Witness::default());
    let [one, other] = [(); 2].map(|()| process(&store, WhenAway::Local));
    let long = tokio::spawn(run(limited(&one, &witness, 1), 30_000));
    sleep(ms(1)).await;
    store.clear();
    sleep(Duration::from_millis(3_334)).await;
    assert_eq!(store.held("limit"), 1);
    run(limited(&other, &witness, 1), 0).await.unwrap();
    assert_eq!(witness.most(), 1);
    long.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn each_change_of_the_store_is_one_event() {
    let store = MemoryStore::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&seen);
    let options = SharedOptions::new().with_events(move |event: &Event| {
        sink.lock().unwrap().push(event.to_string());
    });
    let process = SharedStore::new(store.clone(), options);
    sleep(ms(1)).await;
    store.set_away(true);
    sleep(Duration::from_secs(20)).await;
    store.set_away(false);
    sleep(Duration::from_secs(20)).await;
    let seen = seen.lock().unwrap();
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert!(!process.is_away());
}

#[tokio::test(start_paused = true)]
async fn lost_replies_leak_no_permit() {
    let (store, witness) = (MemoryStore::new(), Witness::default());
    let process = process(&store, WhenAway::Closed);
    let tool = limited(&process, &witness, 1);
    run(tool.clone(), 0).await.unwrap();
    store.set_loses_replies(true);
    let error = run(tool.clone(), 0).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Overloaded);
    store.set_loses_replies(false);
    sleep(Duration::from_secs(2)).await;
    run(tool, 0).await.unwrap();
    sleep(ms(1)).await;
    assert_eq!(store.held("limit"), 0);
}

#[tokio::test(start_paused = true)]
async fn rejecting_limit_rejects_at_once_while_the_store_is_away() {
    let (store, witness) = (MemoryStore::new(), Witness::default());
    let process = lost(&store, WhenAway::Local).await;
    let layer = rate(&process, ms(60_000), 1).reject();
    let tool = boxed(layer.layer(witness.tool()));
    run(tool.clone(), 0).await.unwrap();
    let start = Instant::now();
    let error = run(tool, 0).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RateLimited);
    // The share counts a token from when it was due, up to 1 ms ago.
    assert_eq!(error.retry_after(), Some(ms(60_000 - 1)));
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn rejecting_limit_rejects_calls_in_flight_when_the_store_is_lost() {
    let (store, witness) = (MemoryStore::new(), Witness::default());
    let process = process(&store, WhenAway::Local);
    let layer = rate(&process, ms(60_000), 1).reject();
    let tool = boxed(layer.layer(witness.tool()));
    run(tool.clone(), 0).await.unwrap();
    store.set_away(true);
    let start = Instant::now();
    let error = run(tool, 0).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RateLimited);
    // At most three commands of 50 ms, with pauses.
    assert!(start.elapsed() <= ms(220), "{:?}", start.elapsed());
}

/// The tasks that send commands have ended with their runtime, or cannot start on it.
#[test]
fn store_of_a_runtime_that_is_gone_is_away() {
    let runtime = || {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        builder.enable_time().build().expect("a runtime")
    };
    for is_used_before in [true, false] {
        let (store, witness) = (MemoryStore::new(), Witness::default());
        let gone = runtime();
        let process = gone.block_on(async { process(&store, WhenAway::Local) });
        let tool = limited(&process, &witness, 1);
        if is_used_before {
            gone.block_on(run(tool.clone(), 0)).expect("a response");
        }
        drop(gone);
        runtime().block_on(run(tool, 0)).expect("a response");
        assert!(process.is_away(), "{is_used_before}");
    }
}

#[tokio::test(start_paused = true)]
async fn call_above_the_share_starts_when_that_is_full() {
    let (store, witness) = (MemoryStore::new(), Witness::default());
    let _other = process(&store, WhenAway::Local);
    sleep(ms(1)).await;
    let process = process(&store, WhenAway::Local);
    sleep(ms(1)).await;
    assert_eq!(process.processes(), 2);
    let layer = RateLimitLayer::new(quota(ms(100), 10)).with_store(&process, "rate");
    store.set_away(true);
    let tool = rated(&layer, &witness);
    let heavy = rated(&layer.with_cost(|_| 10), &witness);
    for tool in [&tool, &heavy, &tool, &heavy] {
        run(tool.clone(), 0).await.unwrap();
    }
    // The share: 5 at once, then one each 200 ms. The second call waits for a full share, and the
    // third one for what the second one took beyond it.
    assert_eq!(witness.starts(), [0, 200, 1_400, 2_400]);
}
