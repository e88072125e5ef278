//! When the next attempt starts, and after which instant none does.

use futures_util::future::join_all;
use support::pass;

use super::*;

/// The starts of the attempts of one call.
async fn starts(policy: RetryPolicy, error: ToolError, call: ToolCall) -> Vec<Duration> {
    let starts = Starts::new();
    let tool = RetryLayer::new(policy).layer(failing(&starts, error));
    failure(tool, call).await;
    starts.times()
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn backoff_is_jittered_below_a_bound_that_doubles_and_reproducible_by_seed() {
    let policy = |seed| {
        RetryPolicy::new(7)
            .with_backoff(ms(100), ms(1_000))
            .with_seed(seed)
    };
    let mut sequences = Vec::new();
    for seed in [17, 17, 18] {
        let starts = starts(policy(seed), retryable(), call()).await;
        let waits: Vec<_> = starts
            .windows(2)
            .map(|pair| pair[1].saturating_sub(pair[0]))
            .collect();
        let bounds = [100, 200, 400, 800, 1_000, 1_000].map(ms);
        assert_eq!(waits.len(), bounds.len());
        assert!(waits.iter().zip(bounds).all(|(wait, bound)| *wait <= bound));
        sequences.push(waits);
    }
    assert_eq!(sequences[0], sequences[1]);
    assert_ne!(sequences[0], sequences[2]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn next_attempt_waits_for_retry_after_and_the_backoff_on_top() {
    let error = || ToolError::rate_limited(ms(500));
    let exact = starts(at_once(4), error(), call()).await;
    assert_eq!(exact, [0, 500, 1_000, 1_500].map(ms));
    // The tool names the time with its own error.
    let own = || retryable().with_retry_after(ms(500));
    assert_eq!(starts(at_once(4), own(), call()).await, exact);

    let policy = |base| RetryPolicy::new(4).with_backoff(base, ms(20)).with_seed(7);
    let jittered = starts(policy(ms(20)), error(), call()).await;
    // The same draws without a hint.
    let jitter = starts(policy(ms(20)), retryable(), call()).await;
    let expected: Vec<_> = (0..).zip(jitter).map(|(n, at)| n * ms(500) + at).collect();
    assert_eq!(jittered, expected);
    assert_ne!(jittered, exact);
}

/// Case A5. Attempts after a hint are spread by jitter.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn attempts_of_calls_that_were_rejected_together_are_spread() {
    let one = Quota::per_second(NonZeroU32::MIN);
    let starts = Starts::new();
    let log = starts.clone();
    let tool = ServiceBuilder::new()
        .layer(RetryLayer::new(RetryPolicy::new(4).with_seed(5)))
        .map_request(move |call: ToolCall| {
            log.record(());
            call
        })
        .layer(RateLimitLayer::new(one).reject())
        .service(ScriptedTool::ready());
    let results = join_all((0..10).map(|_| tool.clone().oneshot(call()))).await;
    assert!(results.iter().any(Result::is_ok));

    let times = starts.times();
    assert_eq!(times[..10], [ms(0); 10]);
    // The second attempts of the nine: from the hint on, within the backoff of 100 ms.
    let mut second = times[10..19].to_vec();
    assert!(
        second.iter().all(|at| (ms(1_000)..=ms(1_101)).contains(at)),
        "{second:?}"
    );
    second.dedup();
    assert!(second.len() >= 6, "{second:?}");
}

/// Case A4. A hint beyond the maximum ends the retries with the error, at once.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn hint_beyond_the_maximum_ends_the_retries_at_once() {
    let second = Duration::from_secs(1);
    for (hint, attempts) in [
        (60 * second, 2),
        (60 * second + ms(1), 1),
        (86_400 * second, 1),
        (Duration::MAX, 1),
    ] {
        let log = Starts::new();
        let start = Instant::now();
        let tool = failing(&log, ToolError::rate_limited(hint));
        let rejected = failure(RetryLayer::new(at_once(2)).layer(tool), call()).await;
        assert_eq!(rejected.retry_after(), Some(hint));
        assert_eq!(log.len(), attempts, "{hint:?}");
        let waits = u32::try_from(attempts).unwrap() - 1;
        assert_eq!(start.elapsed(), 60 * second * waits, "{hint:?}");
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn maximum_of_the_hint_is_a_setting() {
    let error = || ToolError::rate_limited(ms(500));
    let policy = |max| at_once(2).with_max_retry_after(max);
    assert_eq!(starts(policy(ms(499)), error(), call()).await.len(), 1);
    assert_eq!(starts(policy(ms(500)), error(), call()).await.len(), 2);
    assert_eq!(
        starts(policy(Duration::ZERO), error(), call()).await.len(),
        1
    );
    // The backoff is bounded by its own maximum.
    let policy = RetryPolicy::new(2).with_backoff(ms(500), ms(500));
    let policy = policy.with_max_retry_after(Duration::ZERO);
    assert_eq!(starts(policy, retryable(), call()).await.len(), 2);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn no_attempt_starts_at_or_after_the_deadline() {
    for (deadline, attempts) in [(999, 2), (1_000, 2), (1_001, 3)] {
        let call = call().with_deadline(Instant::now() + ms(deadline));
        let error = ToolError::rate_limited(ms(500));
        let start = Instant::now();
        let starts = starts(at_once(9), error, call).await;
        assert_eq!(starts.len(), attempts, "deadline at {deadline}");
        // The error is returned as soon as no retry fits, not at the deadline.
        assert_eq!(start.elapsed(), *starts.last().unwrap());
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn no_attempt_starts_at_or_after_the_limit_of_an_outer_timeout() {
    for (limit, attempts) in [(999, 2), (1_000, 2), (1_001, 3)] {
        let starts = Starts::new();
        let rejecting = failing(&starts, ToolError::rate_limited(ms(500)));
        let layer = (TimeoutLayer::new(ms(limit)), RetryLayer::new(at_once(9)));
        let failed = error_of(layer.layer(rejecting), call()).await;
        assert_eq!(failed.retry_after(), Some(ms(500)));
        assert_eq!(starts.len(), attempts, "limit of {limit}");
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn limit_of_an_inner_timeout_is_per_attempt() {
    let starts = Starts::new();
    let recorder = starts.clone();
    let tool = ScriptedTool::new(move |_| {
        recorder.record(());
        std::future::pending()
    });
    let layer = (RetryLayer::new(at_once(3)), TimeoutLayer::new(ms(100)));
    error_of(layer.layer(tool), call().with_idempotent(true)).await;
    assert_eq!(starts.times(), [0, 100, 200].map(ms));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn unbounded_retry_after_ends_a_call_with_a_deadline() {
    let forever = ToolError::rate_limited(Duration::MAX);
    let call = call().with_deadline(Instant::now() + ms(1));
    assert_eq!(starts(at_once(2), forever, call).await, [ms(0)]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn wait_shorter_than_a_timer_tick_ends_before_the_deadline_or_does_not_start() {
    let call = |deadline| call().with_deadline(Instant::now() + deadline);
    let soon = || ToolError::rate_limited(Duration::from_nanos(1));
    // The timer fires at 1 ms, which is the deadline.
    assert_eq!(starts(at_once(2), soon(), call(ms(1))).await, [ms(0)]);
    assert_eq!(
        starts(at_once(2), soon(), call(ms(2))).await,
        [ms(0), ms(1)]
    );
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn call_dropped_between_attempts_holds_nothing_and_makes_no_other() {
    let limit = ConcurrencyLimitLayer::new(1);
    let tool = support::fails(ToolError::rate_limited(ms(500)));
    let service = (RetryLayer::new(at_once(2)), limit.clone()).layer(tool.handle());
    let running = tokio::spawn(service.oneshot(call()));
    tokio::task::yield_now().await;
    pass(ms(499)).await;
    let probe = tool.probe();
    assert_eq!(
        (limit.available(), probe.started(), probe.running()),
        (1, 1, 0)
    );
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    pass(ms(1_000)).await;
    assert_eq!((limit.available(), probe.started()), (1, 1));
}
