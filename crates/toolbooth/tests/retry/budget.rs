//! How many attempts all calls together may have besides their first ones.

use futures_util::future::join_all;
use tower::retry::budget::TpsBudget;

use super::*;

/// So many calls at once of a tool that fails always; the attempts that were made.
async fn dead(policy: &RetryPolicy, calls: usize) -> usize {
    let starts = Starts::new();
    let tool = RetryLayer::new(policy.clone()).layer(failing(&starts, retryable()));
    join_all((0..calls).map(|_| fails(tool.clone(), call()))).await;
    starts.count()
}

/// So many calls that succeed.
async fn alive(policy: &RetryPolicy, calls: usize) {
    let tool = RetryLayer::new(policy.clone()).layer(Probe::ready());
    for _ in 0..calls {
        assert!(tool.clone().oneshot(call()).await.is_ok());
    }
}

fn budget(min_per_second: u32, share: f32) -> TpsBudget {
    TpsBudget::new(Duration::from_secs(10), min_per_second, share)
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn dead_tool_gets_a_hundred_retries_in_ten_seconds_by_default() {
    let policy = at_once(3);
    assert_eq!(dead(&policy, 1_000).await, 1_100);
    assert_eq!(dead(&policy, 1_000).await, 1_000);
    tokio::time::advance(Duration::from_secs(12)).await;
    assert_eq!(dead(&policy, 1_000).await, 1_100);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn five_calls_that_succeed_pay_for_one_retry() {
    let policy = at_once(3).with_budget(budget(0, 0.2));
    assert_eq!(dead(&policy, 10).await, 10);
    alive(&policy, 24).await;
    assert_eq!(dead(&policy, 10).await, 14);
    alive(&policy, 1).await;
    assert_eq!(dead(&policy, 10).await, 11);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn clones_share_a_budget_and_so_do_policies_that_are_given_one() {
    let shared = Arc::new(budget(1, 0.0));
    let policy = at_once(3).with_budget(Arc::clone(&shared));
    assert_eq!(dead(&policy.clone(), 3).await, 3 + 6);
    assert_eq!(dead(&policy, 3).await, 3 + 4);
    let other = at_once(3).with_budget(shared);
    assert_eq!(dead(&other, 3).await, 3);
    assert_eq!(dead(&at_once(3), 3).await, 3 + 6);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn without_a_budget_every_call_has_all_its_attempts() {
    let policy = at_once(3).without_budget();
    assert_eq!(dead(&policy, 1_000).await, 3_000);
}

/// An attempt that cannot be made for another reason spends nothing.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn only_attempts_that_are_made_spend() {
    let policy = at_once(2).with_budget(budget(1, 0.0));
    let starts = Starts::new();
    let layer = RetryLayer::new(policy.clone());
    let late = failing(&starts, ToolError::rate_limited(ms(500)));
    let useless = failing(&starts, ToolError::unknown_tool("serach"));
    for _ in 0..20 {
        let deadline = Instant::now() + ms(500);
        fails(layer.layer(late.clone()), call().with_deadline(deadline)).await;
        fails(layer.layer(useless.clone()), call()).await;
    }
    assert_eq!(starts.count(), 40);
    assert_eq!(dead(&policy, 20).await, 20 + 10);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn what_the_budget_refuses_is_the_attempt_s_own_error() {
    let starts = Starts::new();
    let policy = at_once(3).with_budget(budget(0, 0.0));
    let tool = RetryLayer::new(policy).layer(failing(&starts, ToolError::rate_limited(ms(7))));
    let refused = fails(tool, call()).await;
    assert_eq!(refused.retry_after(), Some(ms(7)));
    assert_eq!(starts.count(), 1);
}
