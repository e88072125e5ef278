//! The budget: how many retries all calls together may make.

use futures_util::future::join_all;
use toolbooth::RetryBudget;

use super::*;

/// The attempts that `calls` concurrent calls of a failing tool make.
async fn attempts(policy: &RetryPolicy, calls: usize) -> usize {
    let starts = Starts::new();
    let tool = RetryLayer::new(policy.clone()).layer(failing(&starts, retryable()));
    join_all((0..calls).map(|_| failure(tool.clone(), call()))).await;
    starts.len()
}

/// Makes `calls` calls that succeed.
async fn succeed(policy: &RetryPolicy, calls: usize) {
    let tool = RetryLayer::new(policy.clone()).layer(ScriptedTool::ready());
    for _ in 0..calls {
        assert!(tool.clone().oneshot(call()).await.is_ok());
    }
}

fn budget(min_per_second: u32, ratio: f64) -> RetryBudget {
    RetryBudget::new(ratio, min_per_second).expect("a ratio")
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn default_allows_a_hundred_retries_in_ten_seconds_without_successes() {
    let policy = at_once(3);
    assert_eq!(attempts(&policy, 1_000).await, 1_100);
    assert_eq!(attempts(&policy, 1_000).await, 1_000);
    tokio::time::advance(Duration::from_secs(12)).await;
    assert_eq!(attempts(&policy, 1_000).await, 1_100);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn successes_earn_retries_by_the_share() {
    let policy = at_once(3).with_budget(budget(0, 0.2));
    assert_eq!(attempts(&policy, 10).await, 10);
    succeed(&policy, 24).await;
    assert_eq!(attempts(&policy, 10).await, 14);
    succeed(&policy, 1).await;
    assert_eq!(attempts(&policy, 10).await, 11);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn clones_share_a_budget_and_so_do_policies_given_the_same_one() {
    let shared = budget(1, 0.0);
    let policy = at_once(3).with_budget(shared.clone());
    assert_eq!(attempts(&policy.clone(), 3).await, 3 + 6);
    assert_eq!(attempts(&policy, 3).await, 3 + 4);
    let other = at_once(3).with_budget(shared);
    assert_eq!(attempts(&other, 3).await, 3);
    assert_eq!(attempts(&at_once(3), 3).await, 3 + 6);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn without_a_budget_every_call_makes_all_its_attempts() {
    let policy = at_once(3).without_budget();
    assert_eq!(attempts(&policy, 1_000).await, 3_000);
}

/// A retry that is ruled out for another reason takes nothing from the budget.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn only_retries_that_are_made_take_from_the_budget() {
    let policy = at_once(2).with_budget(budget(1, 0.0));
    let starts = Starts::new();
    let layer = RetryLayer::new(policy.clone());
    let late = failing(&starts, ToolError::rate_limited(ms(500)));
    let useless = failing(&starts, ToolError::unknown_tool("serach"));
    for _ in 0..20 {
        let deadline = Instant::now() + ms(500);
        failure(layer.layer(late.clone()), call().with_deadline(deadline)).await;
        failure(layer.layer(useless.clone()), call()).await;
    }
    assert_eq!(starts.len(), 40);
    assert_eq!(attempts(&policy, 20).await, 20 + 10);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn exhausted_budget_returns_the_error_of_the_attempt() {
    let starts = Starts::new();
    let policy = at_once(3).with_budget(budget(0, 0.0));
    let tool = failing(&starts, ToolError::rate_limited(ms(7)));
    let rejected = failure(RetryLayer::new(policy).layer(tool), call()).await;
    assert_eq!(rejected.retry_after(), Some(ms(7)));
    assert_eq!(starts.len(), 1);
}

/// Case A8. The ratio is exact: tower's budget allows as many retries as with a ratio of 1.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn ten_successes_earn_six_retries_with_a_ratio_of_three_fifths() {
    let policy = at_once(2).with_budget(budget(0, 0.6));
    succeed(&policy, 10).await;
    assert_eq!(attempts(&policy, 10).await, 10 + 6);
    assert_eq!(attempts(&policy, 10).await, 10);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn successful_call_deposits_once() {
    let shared = budget(0, 1.0);
    let policy = at_once(3).with_budget(shared.clone());
    succeed(&policy, 2).await;
    let tool = ScriptedTool::new(async |call: ToolCall| match call.context().attempt() {
        3 => Ok(ToolOutput::text("done")),
        _ => Err(retryable().into()),
    });
    // Withdraws the two retries, then deposits one.
    let response = RetryLayer::new(policy.clone())
        .layer(tool)
        .oneshot(call())
        .await;
    assert_eq!(text(response.map_err(ToolError::from)).await, "done");
    assert_eq!(attempts(&policy, 5).await, 5 + 1);
}
