//! The rate limit on the paused clock: when calls start, who starts first, and what a refusal costs.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_util::future::join_all;
use governor::Quota;
use tokio::task::yield_now;
use tokio::time::{Instant, advance, sleep};
use tokio_test::{assert_pending, assert_ready, assert_ready_err, assert_ready_ok, task};
use toolbooth::rate::RateLimit;
use toolbooth::{
    ErrorKind, Order, OverloadReason, RateLimitLayer, TimeoutScope, ToolCall, ToolError,
};
use tower::{Layer, Service, ServiceExt};

fn per_second(rate: u32, burst: u32) -> Quota {
    let not_zero = |n| NonZeroU32::new(n).expect("not 0");
    Quota::per_second(not_zero(rate)).allow_burst(not_zero(burst))
}

/// A tool that answers with the instant at which it was called.
#[derive(Debug, Clone)]
struct Now;

impl Service<ToolCall> for Now {
    type Response = Started;
    type Error = Infallible;
    type Future = Ready<Result<Started, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: ToolCall) -> Self::Future {
        ready(Ok(Started(Instant::now())))
    }
}

#[derive(Debug)]
struct Started(Instant);

toolbooth::whole_response!(Started);

fn call() -> ToolCall {
    ToolCall::new("tool", serde_json::Value::Null)
}

/// When each of so many calls, made at once, starts: in milliseconds.
async fn starts(rate: &RateLimitLayer, calls: usize) -> Vec<u128> {
    let tool = rate.layer(Now);
    let since = Instant::now();
    let started = join_all((0..calls).map(|_| tool.clone().oneshot(call()))).await;
    let millis =
        |started: Result<Started, ToolError>| (started.expect("no refusal").0 - since).as_millis();
    started.into_iter().map(millis).collect()
}

#[tokio::test(start_paused = true)]
async fn three_a_second_do_not_drift() {
    let rate = RateLimitLayer::new(per_second(3, 1));
    assert_eq!(
        starts(&rate, 7).await,
        [0, 334, 667, 1_000, 1_334, 1_667, 2_000]
    );
}

#[tokio::test(start_paused = true)]
async fn faster_than_the_timer_ticks() {
    let rate = RateLimitLayer::new(per_second(700, 1));
    assert_eq!(starts(&rate, 701).await.last(), Some(&1_000));
}

#[tokio::test(start_paused = true)]
async fn a_burst_then_the_rate_and_no_more_than_the_burst_comes_back() {
    let rate = RateLimitLayer::new(per_second(10, 3));
    assert_eq!(starts(&rate, 5).await, [0, 0, 0, 100, 200]);
    sleep(Duration::from_secs(3_600)).await;
    assert_eq!(rate.remaining(), 3);
    assert_eq!(starts(&rate, 5).await, [0, 0, 0, 100, 200]);
}

/// The driver holds nobody up by having to wait for its turn.
#[tokio::test(start_paused = true)]
async fn who_lines_up_lets_those_go_who_are_due() {
    let rate = RateLimitLayer::new(per_second(1_000, 1));
    let mut tool = rate.layer(Now);
    assert_ready_ok!(task::spawn(tool.call(call())).poll());
    let [mut first, mut second, mut third] = [(); 3].map(|()| task::spawn(tool.call(call())));
    assert_pending!(first.poll());
    assert_pending!(second.poll());
    // The time passes at the first poll, and nothing else runs until the second.
    let mut passing = task::spawn(advance(Duration::from_millis(1)));
    assert_pending!(passing.poll());
    assert!(!first.is_woken());
    assert_pending!(third.poll());
    assert!(first.is_woken() && !second.is_woken());
    assert_ready_ok!(first.poll());
    assert_eq!(rate.queued(), 2);
}

/// Those whom a newcomer let go are woken, whatever becomes of the newcomer.
#[tokio::test(start_paused = true)]
async fn who_panics_while_it_lines_up_has_woken_those_it_let_go() {
    let fair = Order::fair_by(|call| match call.tenant() {
        Some(tenant) => panic!("no key for {tenant}"),
        None => "all".into(),
    });
    let rate = RateLimitLayer::new(per_second(1_000, 1)).with_order(fair);
    let mut tool = rate.layer(Now);
    assert_ready_ok!(task::spawn(tool.call(call())).poll());
    let [mut first, mut second] = [(); 2].map(|()| task::spawn(tool.call(call())));
    assert_pending!(first.poll());
    assert_pending!(second.poll());
    let mut passing = task::spawn(advance(Duration::from_millis(1)));
    assert_pending!(passing.poll());
    let mut third = task::spawn(tool.call(call().with_tenant("nobody")));
    let panicked = catch_unwind(AssertUnwindSafe(|| third.poll()));
    assert!(panicked.is_err());
    assert!(first.is_woken() && !second.is_woken());
    assert_ready_ok!(first.poll());
    assert_eq!(rate.queued(), 1);
}

/// Lets time pass, and then the driver, whose timer fires in the same millisecond, do its work.
async fn pass(time: Duration) {
    sleep(time).await;
    yield_now().await;
}

/// Counts how often it is woken.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[tokio::test(start_paused = true)]
async fn five_thousand_waiters_are_woken_once_each_and_in_order() {
    let rate = RateLimitLayer::new(per_second(5_000, 1)).with_queue_capacity(5_000);
    let mut tool = rate.layer(Now);
    let since = Instant::now();
    assert_ready_ok!(task::spawn(tool.call(call())).poll());
    let mut waiting: Vec<_> = (0..5_000)
        .map(|_| (Box::pin(tool.call(call())), Arc::new(Wakes::default())))
        .collect();
    for (future, wakes) in &mut waiting {
        let waker = Waker::from(Arc::clone(wakes));
        assert_pending!(future.as_mut().poll(&mut Context::from_waker(&waker)));
    }
    assert_eq!(rate.queued(), 5_000);
    let mut next = 0;
    while next < waiting.len() {
        pass(Duration::from_millis(1)).await;
        let elapsed = since.elapsed().as_millis();
        // Those that were woken are a run at the head of the line.
        while let Some((future, wakes)) = waiting.get_mut(next) {
            if wakes.0.load(Ordering::Relaxed) == 0 {
                break;
            }
            let started = future
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()));
            assert_eq!((assert_ready_ok!(started).0 - since).as_millis(), elapsed);
            next += 1;
        }
        let woken: usize = waiting
            .iter()
            .map(|(_, wakes)| wakes.0.load(Ordering::Relaxed))
            .sum();
        assert_eq!(woken, next, "at {elapsed} ms");
        assert_eq!(next as u128, (elapsed * 5).min(5_000), "at {elapsed} ms");
    }
    assert_eq!(since.elapsed(), Duration::from_secs(1));
    assert_eq!(rate.queued(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_is_dropped_in_line_lets_all_behind_it_move_up() {
    let rate = RateLimitLayer::new(per_second(10, 1));
    let mut tool = rate.layer(Now);
    assert_ready_ok!(task::spawn(tool.call(call())).poll());
    let mut first = task::spawn(tool.call(call()));
    let mut second = task::spawn(tool.call(call()));
    let mut third = task::spawn(tool.call(call()));
    assert_pending!(first.poll());
    assert_pending!(second.poll());
    assert_pending!(third.poll());
    drop(second);
    assert_eq!(rate.queued(), 2);
    pass(Duration::from_millis(100)).await;
    assert!(first.is_woken() && !third.is_woken());
    assert_ready_ok!(first.poll());
    pass(Duration::from_millis(100)).await;
    assert!(third.is_woken());
    assert_ready_ok!(third.poll());
    assert_eq!((rate.queued(), rate.remaining()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_waiter_that_was_granted_and_not_polled_gives_its_token_to_the_next() {
    let rate = RateLimitLayer::new(per_second(10, 1));
    let mut tool = rate.layer(Now);
    assert_ready_ok!(task::spawn(tool.call(call())).poll());
    let mut granted = task::spawn(tool.call(call()));
    let mut next = task::spawn(tool.call(call()));
    assert_pending!(granted.poll());
    assert_pending!(next.poll());
    pass(Duration::from_millis(100)).await;
    assert!(granted.is_woken() && !next.is_woken());
    drop(granted);
    assert!(next.is_woken());
    assert_ready_ok!(next.poll());
    // And to the bucket, where nobody waits.
    let mut last = task::spawn(tool.call(call()));
    assert_pending!(last.poll());
    pass(Duration::from_millis(100)).await;
    assert_eq!(rate.remaining(), 0);
    drop(last);
    assert_eq!(rate.remaining(), 1);
}

#[tokio::test(start_paused = true)]
async fn rejects_with_the_time_until_the_next_token_and_takes_none() {
    let rate = RateLimitLayer::new(per_second(10, 10)).reject();
    let tool = rate.layer(Now);
    let answers = join_all((0..50).map(|_| tool.clone().oneshot(call()))).await;
    let refusals: Vec<_> = answers.into_iter().filter_map(Result::err).collect();
    assert_eq!(refusals.len(), 40);
    for refusal in refusals {
        assert_eq!(refusal.kind(), ErrorKind::RateLimited);
        assert_eq!(refusal.retry_after(), Some(Duration::from_millis(100)));
    }
    advance(Duration::from_millis(100)).await;
    assert_eq!(rate.remaining(), 1);
    assert_eq!(rate.clone().wait().queued(), 0);
}

#[tokio::test(start_paused = true)]
async fn refuses_at_once_a_call_whose_token_would_come_too_late() {
    let rate = RateLimitLayer::new(per_second(1, 1));
    let mut tool = rate.layer(Now);
    assert_ready_ok!(task::spawn(tool.call(call())).poll());
    let soon = Instant::now() + Duration::from_millis(1_000);
    let refusal = assert_ready_err!(task::spawn(tool.call(call().with_deadline(soon))).poll());
    assert_eq!(refusal.retry_after(), Some(Duration::from_secs(1)));
    let mut in_time = task::spawn(tool.call(call().with_deadline(soon + Duration::from_millis(1))));
    assert_pending!(in_time.poll());
    rate.set_max_wait(Duration::from_millis(1_500));
    let refusal = assert_ready_err!(task::spawn(rate.layer(Now).call(call())).poll());
    assert_eq!(refusal.retry_after(), Some(Duration::from_secs(2)));
    pass(Duration::from_secs(1)).await;
    assert_ready_ok!(in_time.poll());
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_has_passed_starts_nothing_and_takes_no_token() {
    let rate = RateLimitLayer::new(per_second(1, 1));
    let mut tool = rate.layer(Now);
    let timeout =
        assert_ready_err!(task::spawn(tool.call(call().with_deadline(Instant::now()))).poll());
    assert!(matches!(
        timeout,
        ToolError::Timeout {
            scope: TimeoutScope::Deadline,
            ..
        }
    ));
    assert_eq!(rate.remaining(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_full_line_overloads() {
    let rate = RateLimitLayer::new(per_second(1, 1));
    let mut tool = rate.layer(Now);
    assert_ready_ok!(task::spawn(tool.call(call())).poll());
    let mut waiting: Vec<_> = (0..1_024).map(|_| task::spawn(tool.call(call()))).collect();
    for call in &mut waiting {
        assert_pending!(call.poll());
    }
    let refusal = assert_ready_err!(task::spawn(tool.call(call())).poll());
    assert!(matches!(
        refusal,
        ToolError::Overloaded {
            reason: OverloadReason::QueueFull {
                capacity: 1_024,
                ..
            },
            ..
        }
    ));
    drop(waiting);
    assert_eq!(rate.queued(), 0);
}

#[tokio::test(start_paused = true)]
async fn readiness_spends_nothing_and_a_call_that_is_dropped_spends_its_token() {
    let rate = RateLimitLayer::new(per_second(1, 10));
    for _ in 0..10 {
        let mut idle = rate.layer(Now);
        assert_ready_ok!(Service::<ToolCall>::poll_ready(
            &mut idle,
            &mut Context::from_waker(Waker::noop())
        ));
    }
    assert_eq!(rate.remaining(), 10);
    drop(rate.layer(Now).call(call()));
    assert_eq!(rate.remaining(), 9);
}

#[tokio::test(start_paused = true)]
async fn clones_and_all_services_of_a_layer_share_one_bucket() {
    let rate = RateLimitLayer::new(per_second(1, 2)).reject();
    let mut tools: [RateLimit<Now>; 3] =
        [rate.layer(Now), rate.clone().layer(Now), rate.layer(Now)];
    let [first, second, third] = &mut tools;
    assert_ready_ok!(task::spawn(first.call(call())).poll());
    assert_ready_ok!(task::spawn(second.call(call())).poll());
    assert_ready_err!(task::spawn(third.call(call())).poll());
}

/// The driver lives on the runtime of the first waiter, and dies with it.
#[test]
fn a_layer_shared_by_two_runtimes_survives_the_death_of_either() {
    let runtime = || {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_time()
            .build()
    };
    let (first, second) = (runtime().unwrap(), runtime().unwrap());
    let rate = RateLimitLayer::new(per_second(20, 1));
    let mut tool = rate.layer(Now);
    first.block_on(tool.call(call())).unwrap();
    let doomed = first.spawn(tool.call(call()));
    while rate.queued() < 1 {
        std::thread::yield_now();
    }
    let spared = [
        second.spawn(tool.call(call())),
        second.spawn(tool.call(call())),
    ];
    while rate.queued() < 3 {
        std::thread::yield_now();
    }
    first.shutdown_background();
    for call in spared {
        second.block_on(call).unwrap().unwrap();
    }
    assert_eq!(rate.queued(), 0);
    drop(doomed);
    // And the other way round: what is left of the first runtime's work is gone with it.
    drop(second);
    let third = runtime().unwrap();
    third.block_on(tool.call(call())).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_future_that_outlives_its_runtime_is_dropped_in_peace() {
    let rate = RateLimitLayer::new(per_second(1, 1));
    let mut tool = rate.layer(Now);
    let other = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
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
    assert_ready!(task::spawn(async {}).poll());
}
