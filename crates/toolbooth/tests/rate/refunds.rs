//! The tokens of calls that never start.

use toolbooth::{ConcurrencyLimitLayer, ErrorKind, TimeoutLayer};
use toolbooth_test::{SlowTool, Stopwatch, boxed};

use super::*;

fn per_minute(calls: u32) -> Quota {
    Quota::per_minute(NonZeroU32::new(calls).expect("not 0"))
}

/// Case F5. The inner limit rejects the second call, whose token the outer limit gets back.
#[tokio::test(start_paused = true)]
async fn token_of_a_call_that_an_inner_limit_rejects_is_refunded() {
    let outer = RateLimitLayer::new(per_minute(2)).reject();
    let inner = RateLimitLayer::new(per_second(1, 1)).reject();
    let mut tool = outer.layer(inner.layer(ScriptedTool::ready()));
    tool.call(call()).await.unwrap();
    let rejected = tool.call(call()).await.unwrap_err();
    assert_eq!(rejected.retry_after(), Some(ms(1_000)));
    assert_eq!(outer.remaining(), 1);
    sleep(ms(1_100)).await;
    tool.call(call()).await.unwrap();
    assert_eq!(outer.remaining(), 0);
}

/// A limit of which a call has one token and runs, and a stack in which the next one queues.
fn queueing(rate: &RateLimitLayer, limit: &ConcurrencyLimitLayer) -> toolbooth_test::BoxTool {
    boxed(rate.layer(limit.layer(SlowTool::new(ms(10_000)))))
}

/// Each end of a call in an inner queue: the token is there before the caller sees the end.
#[tokio::test(start_paused = true)]
async fn token_of_a_call_that_ends_in_an_inner_queue_is_refunded() {
    let queue = || ConcurrencyLimitLayer::new(1);
    let at_once = ms(0);
    for (limit, within) in [
        (queue().with_queue_capacity(0), at_once),
        (queue().with_max_wait(ms(50)), ms(50)),
    ] {
        let rate = RateLimitLayer::new(per_minute(5));
        let tool = queueing(&rate, &limit);
        let mut runs = task::spawn(tool.clone().call(call()));
        assert_pending!(runs.poll());
        let watch = Stopwatch::start();
        let rejected = error_of(tool, call()).await;
        assert_eq!(
            (rejected.kind(), watch.elapsed()),
            (ErrorKind::Overloaded, within)
        );
        assert_eq!(rate.remaining(), 4);
    }

    // By a timeout around, by its caller, and by a canceller.
    let (rate, limit) = (RateLimitLayer::new(per_minute(5)), queue());
    let tool = queueing(&rate, &limit);
    let mut runs = task::spawn(tool.clone().call(call()));
    assert_pending!(runs.poll());
    let expired = error_of(TimeoutLayer::new(ms(100)).layer(tool.clone()), call()).await;
    assert_eq!((expired.kind(), rate.remaining()), (ErrorKind::Timeout, 4));

    let mut dropped = task::spawn(tool.clone().call(call()));
    assert_pending!(dropped.poll());
    assert_eq!((rate.remaining(), limit.queued()), (3, 1));
    drop(dropped);
    assert_eq!((rate.remaining(), limit.queued()), (4, 0));

    let call = call();
    let canceller = call.canceller();
    let mut cancelled = task::spawn(tool.clone().call(call));
    assert_pending!(cancelled.poll());
    canceller.cancel();
    assert_eq!(
        assert_ready_err!(cancelled.poll()).kind(),
        ErrorKind::Cancelled
    );
    assert_eq!(rate.remaining(), 4);
}

#[tokio::test(start_paused = true)]
async fn call_that_started_keeps_its_token_spent() {
    let limit = ConcurrencyLimitLayer::new(1);
    let rate = RateLimitLayer::new(per_minute(5));
    let tool = queueing(&rate, &limit);
    // One runs into a timeout, and one that queued before it started does, too.
    let timed = TimeoutLayer::new(ms(15_000)).layer(tool.clone());
    let mut first = task::spawn(TimeoutLayer::new(ms(9_000)).layer(tool).call(call()));
    let second = tokio::spawn(timed.clone().call(call()));
    assert_pending!(first.poll());
    sleep(ms(9_000)).await;
    assert_ready_err!(first.poll());
    assert_eq!(
        second.await.unwrap().unwrap_err().kind(),
        ErrorKind::Timeout
    );
    // Of five tokens, one comes back in 12 s.
    assert_eq!((rate.remaining(), rate.reset_after()), (4, ms(9_000)));

    let failing = rate.layer(support::fails("broken"));
    error_of(failing, call()).await;
    assert_eq!(rate.reset_after(), ms(21_000));
}

/// The call waits for its token first.
#[tokio::test(start_paused = true)]
async fn token_that_a_waiter_was_granted_is_refunded_if_it_is_held_back_inside() {
    let limit = ConcurrencyLimitLayer::new(1);
    let rate = RateLimitLayer::new(per_second(1, 1));
    let tool = queueing(&rate, &limit);
    let mut runs = task::spawn(tool.clone().call(call()));
    assert_pending!(runs.poll());
    let mut waits = task::spawn(tool.clone().call(call()));
    assert_pending!(waits.poll());
    queue::pass(ms(1_000)).await;
    assert_pending!(waits.poll());
    assert_eq!((limit.queued(), rate.remaining()), (1, 0));
    drop(waits);
    assert_eq!((limit.queued(), rate.remaining()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn refunded_token_goes_to_the_next_waiter() {
    let limit = ConcurrencyLimitLayer::new(1);
    let rate = RateLimitLayer::new(per_minute(2));
    let tool = queueing(&rate, &limit);
    let [mut runs, mut queued, mut next] = [(); 3].map(|()| task::spawn(tool.clone().call(call())));
    assert_pending!(runs.poll());
    assert_pending!(queued.poll());
    assert_pending!(next.poll());
    assert_eq!((limit.queued(), rate.queued()), (1, 1));
    drop(queued);
    assert!(next.is_woken());
    assert_pending!(next.poll());
    assert_eq!((limit.queued(), rate.queued()), (1, 0));
}

/// A token that has come back by itself is not refunded once more.
#[tokio::test(start_paused = true)]
async fn refund_is_what_has_not_refilled() {
    let limit = ConcurrencyLimitLayer::new(1);
    let rate = RateLimitLayer::new(per_second(10, 3));
    let tool = queueing(&rate, &limit);
    let [mut runs, mut queued] = [(); 2].map(|()| task::spawn(tool.clone().call(call())));
    assert_pending!(runs.poll());
    assert_pending!(queued.poll());
    assert_eq!(rate.reset_after(), ms(200));
    sleep(ms(60)).await;
    assert_eq!(rate.reset_after(), ms(140));
    drop(queued);
    assert_eq!(rate.reset_after(), ms(100));

    let mut queued = task::spawn(queueing(&rate, &limit).call(call()));
    assert_pending!(queued.poll());
    sleep(ms(150)).await;
    limited(&rate);
    assert_eq!(rate.reset_after(), ms(150));
    drop(queued);
    assert_eq!(rate.reset_after(), ms(150));
}

/// The waiter was granted its token long before it is dropped, and another call has taken the one
/// that came back meanwhile.
#[tokio::test(start_paused = true)]
async fn granted_waiter_that_is_dropped_late_refunds_what_has_not_refilled() {
    let rate = RateLimitLayer::new(per_second(10, 2));
    let mut tool = limited(&rate);
    limited(&rate);
    let mut granted = task::spawn(tool.call(call()));
    assert_pending!(granted.poll());
    queue::pass(ms(100)).await;
    assert!(granted.is_woken());
    sleep(ms(60)).await;
    assert_eq!(rate.reset_after(), ms(140));
    sleep(ms(40)).await;
    limited(&rate);
    assert_eq!(rate.reset_after(), ms(200));
    drop(granted);
    assert_eq!(rate.reset_after(), ms(200));
}

#[tokio::test(start_paused = true)]
async fn token_of_a_call_with_invalid_arguments_is_refunded() {
    let rate = RateLimitLayer::new(per_minute(5));
    let tool = toolbooth::tool_fn("tool", async |_: u32| Ok::<_, std::io::Error>("done"));
    let invalid = error_of(rate.layer(tool), call()).await;
    assert_eq!(invalid.kind(), ErrorKind::InvalidArguments);
    assert_eq!(rate.remaining(), 5);
}

#[tokio::test(start_paused = true)]
async fn each_quota_and_window_gets_its_refund() {
    let inner = RateLimitLayer::new(per_second(1, 1)).reject();
    let outer = RateLimitLayer::new(per_minute(2)).with_quota(per_minute(3));
    let outer = outer.with_window(4, ms(60_000)).unwrap();
    let tool = outer.layer(inner.layer(ScriptedTool::ready()));
    tool.clone().call(call()).await.unwrap();
    for _ in 0..10 {
        error_of(tool.clone(), call()).await;
    }
    assert_eq!((outer.remaining(), outer.reset_after()), (1, ms(60_000)));
    outer.set_quota(None).unwrap();
    assert_eq!(outer.remaining(), 2);
}
