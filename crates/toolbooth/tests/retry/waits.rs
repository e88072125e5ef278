//! When the next attempt is made, and until when.

use support::pass;
use tokio::task::yield_now;

use super::*;

/// When the attempts of one call were made, with this policy.
async fn starts(policy: RetryPolicy, error: ToolError, call: ToolCall) -> Vec<Duration> {
    let starts = Starts::new();
    let tool = RetryLayer::new(policy).layer(failing(&starts, error));
    fails(tool, call).await;
    starts.all()
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn waits_are_jittered_within_bounds_that_double_and_one_seed_is_one_sequence() {
    let policy = |seed| {
        RetryPolicy::new(7)
            .with_backoff(ms(100), ms(1_000))
            .with_seed(seed)
    };
    let mut sequences = Vec::new();
    for seed in [17, 17, 18] {
        let starts = starts(policy(seed), retryable(), call()).await;
        let mut last = ms(0);
        let waits: Vec<_> = starts[1..]
            .iter()
            .map(|start| start.saturating_sub(std::mem::replace(&mut last, *start)))
            .collect();
        let bounds = [100, 200, 400, 800, 1_000, 1_000].map(ms);
        assert_eq!(waits.len(), bounds.len());
        assert!(waits.iter().zip(bounds).all(|(wait, most)| *wait <= most));
        sequences.push(waits);
    }
    assert_eq!(sequences[0], sequences[1]);
    assert_ne!(sequences[0], sequences[2]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn next_attempt_is_no_earlier_than_the_error_says() {
    let policy = RetryPolicy::new(4).with_backoff(ms(1), ms(20));
    let starts = starts(policy, ToolError::rate_limited(ms(500)), call()).await;
    assert_eq!(starts, [0, 500, 1_000, 1_500].map(ms));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn no_attempt_is_made_at_or_after_the_caller_s_deadline() {
    for (deadline, made) in [(999, 2), (1_000, 2), (1_001, 3)] {
        let call = call().with_deadline(Instant::now() + ms(deadline));
        let error = ToolError::rate_limited(ms(500));
        let began = Instant::now();
        let starts = starts(at_once(9), error, call).await;
        assert_eq!(starts.len(), made, "deadline at {deadline}");
        // The error is returned when it is known that there is no time left, not when there is none.
        assert_eq!(began.elapsed(), *starts.last().unwrap());
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn no_attempt_is_made_at_or_after_the_limit_of_a_timeout_outside() {
    for (limit, made) in [(999, 2), (1_000, 2), (1_001, 3)] {
        let starts = Starts::new();
        let refusing = failing(&starts, ToolError::rate_limited(ms(500)));
        let layer = (TimeoutLayer::new(ms(limit)), RetryLayer::new(at_once(9)));
        let failed = error(layer.layer(refusing).oneshot(call()).await);
        assert_eq!(failed.retry_after(), Some(ms(500)));
        assert_eq!(starts.count(), made, "limit of {limit}");
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn limit_of_a_timeout_inside_is_no_deadline_of_the_call() {
    let starts = Starts::new();
    let log = starts.clone();
    let tool = Probe::new(move |_| {
        log.note();
        std::future::pending()
    });
    let layer = (RetryLayer::new(at_once(3)), TimeoutLayer::new(ms(100)));
    error(layer.layer(tool).oneshot(call()).await);
    assert_eq!(starts.all(), [0, 100, 200].map(ms));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn wait_that_is_not_a_time_ends_the_call_where_there_is_a_deadline() {
    let forever = ToolError::rate_limited(Duration::MAX);
    let call = call().with_deadline(Instant::now() + ms(1));
    assert_eq!(starts(at_once(2), forever, call).await, [ms(0)]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn waits_of_less_than_a_tick_end_before_a_deadline_or_are_not_begun() {
    let call = |deadline| call().with_deadline(Instant::now() + deadline);
    let soon = || ToolError::rate_limited(Duration::from_nanos(1));
    // The timer strikes at 1 ms, which is the deadline.
    let made = starts(at_once(2), soon(), call(ms(1))).await;
    assert_eq!(made, [ms(0)]);
    let made = starts(at_once(2), soon(), call(ms(2))).await;
    assert_eq!(made, [ms(0), ms(1)]);
}

/// Dropped while it waits for its second attempt, the call holds nothing inside, and makes no other attempt.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn call_that_is_dropped_between_attempts_is_over() {
    let starts = Starts::new();
    let limit = ConcurrencyLimitLayer::new(1);
    let tool = failing(&starts, ToolError::rate_limited(ms(500)));
    let log = tool.view();
    let tool = (RetryLayer::new(at_once(2)), limit.clone()).layer(tool);
    let running = tokio::spawn(tool.oneshot(call()));
    yield_now().await;
    pass(ms(499)).await;
    assert_eq!(
        (limit.available(), starts.count(), log.dropped()),
        (1, 1, 1)
    );
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    pass(ms(1_000)).await;
    assert_eq!((limit.available(), starts.count()), (1, 1));
}
