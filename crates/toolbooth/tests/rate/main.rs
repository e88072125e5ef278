//! `RateLimitLayer` on the paused clock: when calls start, and what a rejection costs.

#[path = "../support/mod.rs"]
mod support;

mod cool_down;
mod costs;
mod events;
mod load;
mod queue;
mod quotas;
mod refunds;

use std::num::NonZeroU32;
use std::task::{Context, Waker};
use std::time::Duration;

use governor::Quota;
use support::laws::every_layer;
use support::{ScriptedTool, call, call_all, error_of, ms, timeout};
use tokio::time::{Instant, advance, sleep};
use tokio_test::{assert_pending, assert_ready_err, assert_ready_ok, task};
use toolbooth::rate::RateLimit;
use toolbooth::{Order, OverloadReason, RateLimitLayer, TimeoutScope, ToolError};
use tower::{Layer, Service};

every_layer!(RateLimitLayer::new(per_second(1_000, 1_000)));

fn per_second(rate: u32, burst: u32) -> Quota {
    let not_zero = |n| NonZeroU32::new(n).expect("not 0");
    Quota::per_second(not_zero(rate)).allow_burst(not_zero(burst))
}

/// A limit around a tool that is ready, and the first call made of it.
fn limited(rate: &RateLimitLayer) -> RateLimit<ScriptedTool> {
    let mut tool = rate.layer(ScriptedTool::ready());
    assert_ready_ok!(task::spawn(tool.call(call())).poll());
    tool
}

/// The milliseconds after which each of `calls` concurrent calls starts.
async fn starts(rate: &RateLimitLayer, calls: usize) -> Vec<u128> {
    let tool = rate.layer(ScriptedTool::ready());
    let calls = call_all(tool, (0..calls).map(|_| call())).await;
    assert!(calls.iter().all(support::Finished::is_ok));
    calls.iter().map(|call| call.at.as_millis()).collect()
}

#[tokio::test(start_paused = true)]
async fn rate_of_three_a_second_does_not_drift() {
    let rate = RateLimitLayer::new(per_second(3, 1));
    let expected = [0, 334, 667, 1_000, 1_334, 1_667, 2_000];
    assert_eq!(starts(&rate, 7).await, expected);
}

#[tokio::test(start_paused = true)]
async fn rate_may_be_faster_than_half_the_timer_ticks() {
    let rate = RateLimitLayer::new(per_second(700, 1));
    assert_eq!(starts(&rate, 701).await.last(), Some(&1_000));
}

#[tokio::test(start_paused = true)]
async fn call_whose_token_is_late_is_rejected_at_once() {
    let rate = RateLimitLayer::new(per_second(1, 1)).with_max_wait(ms(1_500));
    let mut tool = limited(&rate);
    let soon = Instant::now() + ms(1_000);
    let late = call().with_deadline(soon);
    let rejected = assert_ready_err!(task::spawn(tool.call(late)).poll());
    assert_eq!(rejected.retry_after(), Some(ms(1_000)));
    let mut in_time = task::spawn(tool.call(call().with_deadline(soon + ms(1))));
    assert_pending!(in_time.poll());
    let rejected = assert_ready_err!(task::spawn(tool.call(call())).poll());
    assert_eq!(rejected.retry_after(), Some(ms(2_000)));
    queue::pass(ms(1_000)).await;
    assert_ready_ok!(in_time.poll());
}

#[tokio::test(start_paused = true)]
async fn call_past_its_deadline_takes_no_token() {
    let rate = RateLimitLayer::new(per_second(1, 1));
    let tool = ScriptedTool::ready();
    let late = call().with_deadline(Instant::now());
    let expired = error_of(rate.layer(tool.handle()), late).await;
    assert_eq!(timeout(&expired), (TimeoutScope::Deadline, 0, 0));
    assert_eq!(tool.probe().started(), 0);
    assert_eq!(rate.remaining(), 1);
}

#[tokio::test(start_paused = true)]
async fn readiness_takes_no_token_and_a_dropped_call_keeps_the_one_it_took() {
    let rate = RateLimitLayer::new(per_second(1, 10));
    for _ in 0..10 {
        let mut idle = rate.layer(ScriptedTool::ready());
        assert_ready_ok!(idle.poll_ready(&mut Context::from_waker(Waker::noop())));
    }
    assert_eq!(rate.remaining(), 10);
    drop(rate.layer(ScriptedTool::ready()).call(call()));
    assert_eq!(rate.remaining(), 9);
}

#[tokio::test(start_paused = true)]
async fn clones_and_services_of_one_layer_share_one_bucket() {
    let rate = RateLimitLayer::new(per_second(1, 2)).reject();
    let clone = rate.clone();
    assert_eq!(clone.clone().wait().queued(), 0);
    limited(&rate);
    let mut second = limited(&rate);
    assert_eq!(clone.remaining(), 0);
    assert_ready_err!(task::spawn(second.call(call())).poll());
    limited(&RateLimitLayer::new(per_second(1, 2)).reject());
}
