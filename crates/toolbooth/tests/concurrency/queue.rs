//! The queue: first come, first served, bounded, and without lost wakeups.

use std::task::Context;
use std::time::Duration;

use tokio::time::Instant;
use toolbooth::{TimeoutLayer, TimeoutScope};

use super::support::{Readiness, ToolLog, WakeCounter, timeout};
use super::*;

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn waiters_start_in_the_order_of_their_first_polls() {
    let (limit, mut service, mut handle) = one();
    let mut running = pending(&mut service, "first");
    // Called in one order, and polled in another.
    let mut late = task::spawn(service.call(call().with_id("late")));
    let mut early = pending(&mut service, "early");
    assert_pending!(late.poll());
    assert_eq!(counts(&limit), (0, 1, 2));
    // A spurious poll does not change the order.
    assert_pending!(early.poll());
    assert_pending!(late.poll());

    respond(&mut handle, ToolOutput::text("done")).await;
    assert_ready!(running.poll()).unwrap();
    assert_eq!((early.is_woken(), late.is_woken()), (true, false));
    assert_eq!(counts(&limit), (0, 1, 1));
    assert_pending!(late.poll());
    assert_pending!(early.poll());
    assert_eq!(started(&mut handle), ["early"]);
    drop(early);
    assert!(late.is_woken());
    assert_pending!(late.poll());
    assert_eq!(started(&mut handle), ["late"]);
    assert_eq!(counts(&limit), (0, 1, 0));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn new_call_does_not_overtake_a_granted_waiter() {
    let (limit, mut service, mut handle) = one();
    let running = pending(&mut service, "first");
    let mut waiter = pending(&mut service, "waiter");
    drop(running);
    assert_eq!(started(&mut handle), ["first"]);
    let new = pending(&mut service, "new");
    assert_eq!(counts(&limit), (0, 1, 1));
    assert_eq!(started(&mut handle), [""; 0]);
    assert_pending!(waiter.poll());
    assert_eq!(started(&mut handle), ["waiter"]);
    drop((waiter, new));
    assert_eq!(counts(&limit), (1, 0, 0));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn first_poll_acquires_a_permit_released_since_the_call() {
    let (limit, mut service, mut handle) = one();
    let running = pending(&mut service, "first");
    let mut second = task::spawn(service.call(call().with_id("second")));
    assert_eq!(counts(&limit), (0, 1, 0));
    drop(running);
    assert_eq!(counts(&limit), (1, 0, 0));
    assert_pending!(second.poll());
    assert_eq!(counts(&limit), (0, 1, 0));
    assert_eq!(started(&mut handle), ["first", "second"]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn dropped_waiter_leaves_the_queue_without_a_wakeup() {
    let (limit, mut service, mut handle) = one();
    let running = pending(&mut service, "first");
    let leaves = pending(&mut service, "leaves");
    let mut stays = pending(&mut service, "stays");
    drop(leaves);
    assert_eq!(counts(&limit), (0, 1, 1));
    assert!(!stays.is_woken());
    drop(running);
    assert!(stays.is_woken());
    assert_pending!(stays.poll());
    assert_eq!(started(&mut handle), ["first", "stays"]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn dropped_waiter_ends_as_cancelled_and_does_not_touch_its_tool() {
    let (limit, mut service, _handle) = one();
    let _running = pending(&mut service, "first");
    let tool = ScriptedTool::ready();
    let call = call();
    let outcomes = Outcomes::of(call.context());
    let mut waiter = task::spawn(limit.layer(tool.handle()).call(call));
    assert_pending!(waiter.poll());
    drop(waiter);
    assert_eq!(counts(&limit), (0, 1, 0));
    let log = tool.log();
    assert!(log.ready_polls.is_empty() && log.calls.is_empty());
    assert_eq!(outcomes.all().await, [Outcome::Cancelled]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn granted_waiter_dropped_before_its_poll_passes_its_permit_on() {
    let (limit, mut service, mut handle) = one();
    let running = pending(&mut service, "first");
    let granted = pending(&mut service, "granted");
    let mut next = pending(&mut service, "next");
    let last = pending(&mut service, "last");
    drop(running);
    assert_eq!((granted.is_woken(), next.is_woken()), (true, false));
    drop(granted);
    assert_eq!((next.is_woken(), last.is_woken()), (true, false));
    assert_eq!(counts(&limit), (0, 1, 1));
    assert_pending!(next.poll());
    assert_eq!(started(&mut handle), ["first", "next"]);
    // The last one has no waiter to pass it to.
    drop(next);
    assert!(last.is_woken());
    assert_eq!(counts(&limit), (0, 1, 0));
    drop(last);
    assert_eq!(counts(&limit), (1, 0, 0));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn each_waiter_is_woken_once() {
    let (_limit, mut service, mut handle) = one();
    let mut running = Box::pin(service.call(call().with_id("0")));
    let mut waiting: Vec<_> = (1..=50)
        .map(|id| {
            let (wakes, id) = (WakeCounter::new(), id.to_string());
            let mut future = Box::pin(service.call(call().with_id(id.as_str())));
            let waker = wakes.waker();
            assert_pending!(future.as_mut().poll(&mut Context::from_waker(&waker)));
            (id, wakes, future)
        })
        .collect();
    waiting.reverse();
    while let Some((id, wakes, mut future)) = waiting.pop() {
        assert_eq!(wakes.count(), 0);
        drop(running);
        assert_eq!(wakes.count(), 1);
        let waker = wakes.waker();
        assert_pending!(future.as_mut().poll(&mut Context::from_waker(&waker)));
        assert_eq!(started(&mut handle).last(), Some(&id));
        assert!(waiting.iter().all(|(_, wakes, _)| wakes.count() == 0));
        running = future;
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn waiter_is_woken_on_the_task_that_polled_it_last() {
    let (_limit, mut service, _handle) = one();
    let running = pending(&mut service, "first");
    let mut waiter = Box::pin(service.call(call()));
    let (before, now) = (WakeCounter::new(), WakeCounter::new());
    for waker in [before.waker(), now.waker()] {
        assert_pending!(waiter.as_mut().poll(&mut Context::from_waker(&waker)));
    }
    drop(running);
    assert_eq!((before.count(), now.count()), (0, 1));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn waiter_polls_its_inner_service_only_with_a_permit() {
    let (limit, mut service, _handle) = one();
    let running = pending(&mut service, "first");
    let tool = ScriptedTool::ready().with_readiness(Readiness::Pending);
    let mut waiter = task::spawn(limit.layer(tool.handle()).call(call()));
    assert_pending!(waiter.poll());
    assert_eq!(tool.log().ready_polls.len(), 0);
    drop(running);
    assert_pending!(waiter.poll());
    assert_eq!(
        (counts(&limit), tool.log().ready_polls.len()),
        ((0, 1, 0), 1)
    );
    tool.set_readiness(Readiness::Ready);
    assert!(waiter.is_woken());
    assert_eq!(text(assert_ready!(waiter.poll())).await, "done");
    assert_eq!(counts(&limit), (1, 0, 0));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn waiter_outlives_its_service_and_layer() {
    let (limit, mut service, mut handle) = one();
    let running = pending(&mut service, "first");
    let mut waiter = pending(&mut service, "waiter");
    drop((service, limit));
    drop(running);
    assert!(waiter.is_woken());
    assert_pending!(waiter.poll());
    assert_eq!(started(&mut handle), ["first", "waiter"]);
}

// === bounds

/// Asserts why a call was rejected as overloaded.
fn assert_overloaded(error: &ToolError, expected: OverloadReason, text: &str) {
    assert!(matches!(error, ToolError::Overloaded { reason, .. } if *reason == expected));
    assert_eq!(error.to_string(), text);
    assert!(error.is_retryable());
    assert_eq!(error.retry_after(), None);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn queue_holds_1024_calls_by_default_and_rejects_the_next() {
    let (limit, mut service, mut handle) = one();
    let running = pending(&mut service, "first");
    let mut queue: Vec<Call> = (0..1_024)
        .map(|_| pending(&mut service, "waiter"))
        .collect();
    assert_eq!(counts(&limit), (0, 1, 1_024));

    let next = call();
    let outcomes = Outcomes::of(next.context());
    let rejected = error(service.call(next).await);
    let text = "overloaded: the limit is reached, and 1024 calls are queued \
        (by `concurrency`, limit: 1 at once)";
    assert_overloaded(&rejected, OverloadReason::queue_full(1_024), text);
    assert_eq!(outcomes.all().await, [Outcome::Rejected]);
    assert_eq!(counts(&limit), (0, 1, 1_024));

    // A waiter that leaves makes room.
    drop(queue.swap_remove(500));
    queue.push(pending(&mut service, "waiter"));
    assert_eq!(counts(&limit), (0, 1, 1_024));
    assert_eq!(started(&mut handle), ["first"]);
    drop((running, queue));
    assert_eq!(counts(&limit), (1, 0, 0));
}

/// Guarantee L3.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn queue_of_0_rejects_at_the_first_poll_without_a_permit() {
    let limit = ConcurrencyLimitLayer::new(1).with_queue_capacity(0);
    let (mut service, _handle) = mock(&limit);
    let running = pending(&mut service, "first");
    let mut rejected = task::spawn(service.call(call()));
    let rejected = error(assert_ready!(rejected.poll()));
    let text = "overloaded: the limit is reached, and no call can be queued \
        (by `concurrency`, limit: 1 at once)";
    assert_overloaded(&rejected, OverloadReason::queue_full(0), text);
    drop(running);
    let _next = pending(&mut service, "next");
    assert_eq!(counts(&limit), (0, 1, 0));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn maximum_wait_is_exact_and_counts_from_the_call() {
    let limit = ConcurrencyLimitLayer::new(1).with_max_wait(ms(250));
    let (mut service, mut handle) = mock(&limit);
    let running = pending(&mut service, "first");
    let mut waiter = task::spawn(service.call(call()));
    tokio::time::advance(ms(100)).await;
    assert_pending!(waiter.poll());
    tokio::time::advance(ms(149)).await;
    assert!(!waiter.is_woken());
    tokio::time::advance(ms(1)).await;
    assert!(waiter.is_woken());
    let rejected = error(assert_ready!(waiter.poll()));
    let text = "overloaded: still queued after the maximum wait of 250ms \
        (by `concurrency`, limit: 1 at once)";
    assert_overloaded(&rejected, OverloadReason::waited_too_long(ms(250)), text);
    assert_eq!(counts(&limit), (0, 1, 0));
    drop(running);
    assert_eq!((started(&mut handle).len(), counts(&limit)), (1, (1, 0, 0)));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn unlimited_wait_never_expires() {
    let limit = ConcurrencyLimitLayer::new(1).with_max_wait(Duration::MAX);
    let (mut service, _handle) = mock(&limit);
    let running = pending(&mut service, "first");
    let mut waiter = pending(&mut service, "waiter");
    tokio::time::advance(Duration::from_secs(1 << 25)).await;
    assert_pending!(waiter.poll());
    drop(running);
    assert_pending!(waiter.poll());
    assert_eq!(counts(&limit), (0, 1, 0));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn permit_granted_when_the_wait_expires_wins() {
    let limit = ConcurrencyLimitLayer::new(1).with_max_wait(ms(250));
    let (mut service, mut handle) = mock(&limit);
    let running = pending(&mut service, "first");
    let mut waiter = pending(&mut service, "waiter");
    tokio::time::advance(ms(250)).await;
    drop(running);
    assert_pending!(waiter.poll());
    assert_eq!(started(&mut handle), ["first", "waiter"]);
}

// === deadlines

const DEADLINE: TimeoutScope = TimeoutScope::Deadline;

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn deadline_ends_the_wait_without_a_timeout_layer() {
    let (limit, mut service, mut handle) = one();
    let running = pending(&mut service, "first");
    let call = call().with_deadline(Instant::now() + ms(250));
    let outcomes = Outcomes::of(call.context());
    let mut waiter = task::spawn(service.call(call));
    assert_pending!(waiter.poll());
    tokio::time::advance(ms(249)).await;
    assert!(!waiter.is_woken());
    assert_pending!(waiter.poll());
    tokio::time::advance(ms(1)).await;
    assert!(waiter.is_woken());
    let expired = error(assert_ready!(waiter.poll()));
    assert_eq!(timeout(&expired), (DEADLINE, 250, 250));
    assert_eq!(counts(&limit), (0, 1, 0));
    assert_eq!(outcomes.all().await, [Outcome::TimedOut]);
    drop(running);
    assert_eq!((started(&mut handle).len(), counts(&limit)), (1, (1, 0, 0)));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn earlier_of_deadline_and_maximum_wait_ends_the_wait() {
    let limit = ConcurrencyLimitLayer::new(1).with_max_wait(ms(250));
    let (mut service, _handle) = mock(&limit);
    let _running = pending(&mut service, "first");
    let start = Instant::now();
    let early = error(service.call(call().with_deadline(start + ms(100))).await);
    assert_eq!(timeout(&early), (DEADLINE, 100, 100));
    assert_eq!(start.elapsed(), ms(100));
    let later = error(service.call(call().with_deadline(start + ms(900))).await);
    assert_eq!(later.kind(), ErrorKind::Overloaded);
    assert_eq!(start.elapsed(), ms(350));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn waiter_granted_in_time_and_polled_after_its_deadline_passes_its_permit_on() {
    for late in [0, 70] {
        let (limit, mut service, mut handle) = one();
        let running = pending(&mut service, "first");
        let call = call().with_deadline(Instant::now() + ms(250));
        let mut waiter = task::spawn(service.call(call));
        assert_pending!(waiter.poll());
        let mut behind = pending(&mut service, "behind");
        tokio::time::advance(ms(100)).await;
        drop(running);
        tokio::time::advance(ms(150 + late)).await;
        let expired = error(assert_ready!(waiter.poll()));
        assert_eq!(timeout(&expired), (DEADLINE, 250, 250 + u128::from(late)));
        assert!(behind.is_woken());
        assert_pending!(behind.poll());
        assert_eq!(started(&mut handle), ["first", "behind"]);
        assert_eq!(counts(&limit), (0, 1, 0));
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn call_at_its_deadline_is_not_started_although_a_permit_is_available() {
    let limit = ConcurrencyLimitLayer::new(1);
    let tool = ScriptedTool::ready();
    let late = call().with_deadline(Instant::now());
    let expired = error_of(limit.layer(tool.handle()), late).await;
    assert_eq!(timeout(&expired), (DEADLINE, 0, 0));
    assert_eq!(
        (tool.log(), counts(&limit)),
        (ToolLog::default(), (1, 0, 0))
    );
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn deadline_does_not_end_a_running_tool_without_a_timeout_layer() {
    let (_limit, mut service, mut handle) = one();
    let call = call().with_deadline(Instant::now() + ms(100));
    let mut running = task::spawn(service.call(call));
    assert_pending!(running.poll());
    pass(ms(500)).await;
    assert_pending!(running.poll());
    respond(&mut handle, ToolOutput::text("done")).await;
    assert_eq!(text(assert_ready!(running.poll())).await, "done");
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn outer_timeout_includes_the_wait_and_an_inner_one_starts_after_it() {
    let (limit, mut service, _handle) = one();
    let running = pending(&mut service, "first");
    let start = Instant::now();
    let limit_of_200_ms = TimeoutLayer::new(ms(200));
    let outer = limit_of_200_ms.layer(limit.layer(ScriptedTool::pending()));
    let expired = error_of(outer, call()).await;
    assert_eq!(timeout(&expired), (TimeoutScope::Total, 200, 200));
    assert_eq!((start.elapsed(), counts(&limit)), (ms(200), (0, 1, 0)));

    let inner = limit.layer(limit_of_200_ms.layer(ScriptedTool::pending()));
    let mut waiter = task::spawn(inner.oneshot(call()));
    assert_pending!(waiter.poll());
    pass(ms(700)).await;
    assert_pending!(waiter.poll());
    drop(running);
    let expired = error(waiter.await);
    assert_eq!(timeout(&expired), (TimeoutScope::Total, 200, 900));
    assert_eq!((start.elapsed(), counts(&limit)), (ms(1_100), (1, 0, 0)));
}
