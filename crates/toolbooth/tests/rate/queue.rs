//! The queue of calls that wait for a token, and the task that grants the tokens.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;

use support::WakeCounter;
use tokio::runtime::{Builder, Runtime};

use super::*;

/// Lets time pass, and then the task that grants tokens, whose timer fires in the same millisecond.
pub(super) async fn pass(time: Duration) {
    sleep(time).await;
    tokio::task::yield_now().await;
}

/// Advances the clock by 1 ms without running any task.
macro_rules! advance_alone {
    () => {
        assert_pending!(task::spawn(advance(ms(1))).poll());
    };
}

#[tokio::test(start_paused = true)]
async fn enqueue_grants_tokens_that_are_due() {
    let rate = RateLimitLayer::new(per_second(1_000, 1));
    let mut tool = limited(&rate);
    let [mut first, mut second, mut third] = [(); 3].map(|()| task::spawn(tool.call(call())));
    assert_pending!(first.poll());
    assert_pending!(second.poll());
    advance_alone!();
    assert!(!first.is_woken());
    assert_pending!(third.poll());
    assert!(first.is_woken() && !second.is_woken());
    assert_ready_ok!(first.poll());
    assert_eq!(rate.queued(), 2);
}

#[tokio::test(start_paused = true)]
async fn enqueue_wakes_granted_waiters_even_if_it_panics() {
    let fair = Order::fair_by(|call| match call.tenant() {
        Some(tenant) => panic!("no key for {tenant}"),
        None => "all".into(),
    });
    let rate = RateLimitLayer::new(per_second(1_000, 1)).with_order(fair);
    let mut tool = limited(&rate);
    let [mut first, mut second] = [(); 2].map(|()| task::spawn(tool.call(call())));
    assert_pending!(first.poll());
    assert_pending!(second.poll());
    advance_alone!();
    let mut third = task::spawn(tool.call(call().with_tenant("nobody")));
    let panicked = catch_unwind(AssertUnwindSafe(|| third.poll()));
    assert!(panicked.is_err());
    assert!(first.is_woken() && !second.is_woken());
    assert_ready_ok!(first.poll());
    assert_eq!(rate.queued(), 1);
}

#[tokio::test(start_paused = true)]
async fn five_thousand_waiters_are_woken_once_each_in_order() {
    let rate = RateLimitLayer::new(per_second(5_000, 1)).with_queue_capacity(5_000);
    let mut tool = limited(&rate);
    let start = Instant::now();
    let mut waiting: Vec<_> = (0..5_000)
        .map(|_| (Box::pin(tool.call(call())), WakeCounter::new()))
        .collect();
    for (future, wakes) in &mut waiting {
        let waker = wakes.waker();
        assert_pending!(future.as_mut().poll(&mut Context::from_waker(&waker)));
    }
    assert_eq!(rate.queued(), 5_000);
    let mut next = 0;
    while next < waiting.len() {
        pass(ms(1)).await;
        let elapsed = start.elapsed().as_millis();
        // The woken waiters are a run at the head of the queue.
        while let Some((future, wakes)) = waiting.get_mut(next) {
            if wakes.count() == 0 {
                break;
            }
            let mut cx = Context::from_waker(Waker::noop());
            assert_ready_ok!(future.as_mut().poll(&mut cx));
            next += 1;
        }
        let woken: usize = waiting.iter().map(|(_, wakes)| wakes.count()).sum();
        assert_eq!(woken, next, "at {elapsed} ms");
        assert_eq!(next as u128, (elapsed * 5).min(5_000), "at {elapsed} ms");
    }
    assert_eq!(start.elapsed(), ms(1_000));
    assert_eq!(rate.queued(), 0);
}

#[tokio::test(start_paused = true)]
async fn dropped_waiter_leaves_the_queue_to_those_behind_it() {
    let rate = RateLimitLayer::new(per_second(10, 1));
    let mut tool = limited(&rate);
    let [mut first, mut second, mut third] = [(); 3].map(|()| task::spawn(tool.call(call())));
    assert_pending!(first.poll());
    assert_pending!(second.poll());
    assert_pending!(third.poll());
    drop(second);
    assert_eq!(rate.queued(), 2);
    pass(ms(100)).await;
    assert!(first.is_woken() && !third.is_woken());
    assert_ready_ok!(first.poll());
    pass(ms(100)).await;
    assert!(third.is_woken());
    assert_ready_ok!(third.poll());
    assert_eq!((rate.queued(), rate.remaining()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn granted_waiter_dropped_before_its_poll_returns_its_token() {
    let rate = RateLimitLayer::new(per_second(10, 1));
    let mut tool = limited(&rate);
    let [mut granted, mut next, mut last] = [(); 3].map(|()| task::spawn(tool.call(call())));
    assert_pending!(granted.poll());
    assert_pending!(next.poll());
    pass(ms(100)).await;
    assert!(granted.is_woken() && !next.is_woken());
    // To the next waiter.
    drop(granted);
    assert!(next.is_woken());
    assert_ready_ok!(next.poll());
    // To the bucket, without a waiter.
    assert_pending!(last.poll());
    pass(ms(100)).await;
    assert_eq!(rate.remaining(), 0);
    drop(last);
    assert_eq!(rate.remaining(), 1);
}

#[tokio::test(start_paused = true)]
async fn queue_holds_1024_calls_by_default_and_rejects_the_next() {
    let rate = RateLimitLayer::new(per_second(1, 1));
    let mut tool = limited(&rate);
    let mut waiting: Vec<_> = (0..1_024).map(|_| task::spawn(tool.call(call()))).collect();
    for call in &mut waiting {
        assert_pending!(call.poll());
    }
    let rejected = assert_ready_err!(task::spawn(tool.call(call())).poll());
    let full = OverloadReason::queue_full(1_024);
    assert!(matches!(rejected, ToolError::Overloaded { reason, .. } if reason == full));
    drop(waiting);
    assert_eq!(rate.queued(), 0);
}

/// The granting task runs on the runtime of the first waiter, and ends with it.
#[test]
fn layer_shared_by_two_runtimes_works_after_the_shutdown_of_either() {
    let runtime = || -> Runtime {
        let mut builder = Builder::new_multi_thread();
        builder.worker_threads(1).enable_time().build().unwrap()
    };
    let (first, second) = (runtime(), runtime());
    let rate = RateLimitLayer::new(per_second(20, 1));
    let mut tool = rate.layer(ScriptedTool::ready());
    first.block_on(tool.call(call())).unwrap();
    let dropped = first.spawn(tool.call(call()));
    while rate.queued() < 1 {
        std::thread::yield_now();
    }
    let waiters = [(); 2].map(|()| second.spawn(tool.call(call())));
    while rate.queued() < 3 {
        std::thread::yield_now();
    }
    first.shutdown_background();
    for waiter in waiters {
        second.block_on(waiter).unwrap().unwrap();
    }
    assert_eq!(rate.queued(), 0);
    drop(dropped);
    drop(second);
    runtime().block_on(tool.call(call())).unwrap();
}

#[tokio::test(start_paused = true)]
async fn waiter_dropped_after_its_runtime_leaves_the_queue() {
    let rate = RateLimitLayer::new(per_second(1, 1));
    let mut tool = rate.layer(ScriptedTool::ready());
    let other = Builder::new_current_thread().enable_time().build().unwrap();
    let mut waiting = Box::pin(async move {
        tool.call(call()).await.expect("the first token");
        tool.call(call()).await
    });
    {
        let _entered = other.enter();
        let polled = pin!(&mut waiting).poll(&mut Context::from_waker(Waker::noop()));
        assert!(polled.is_pending());
    }
    other.shutdown_background();
    assert_eq!(rate.queued(), 1);
    drop(waiting);
    assert_eq!(rate.queued(), 0);
}
