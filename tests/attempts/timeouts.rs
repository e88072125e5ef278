//! A retry of tower's and a timeout, inside and outside of it.

use toolbooth_test::timeout_of;
use tower::ServiceBuilder;
use tower::retry::RetryLayer;

use super::*;

#[tokio::test(start_paused = true)]
async fn attempt_that_timed_out_inside_the_retry_is_repeated_with_the_whole_limit() {
    for order in Kind::orders() {
        for outside in 0..=5 {
            let inner = &order[outside..];
            if !inner.contains(&Kind::Timeout) {
                continue;
            }
            let case = format!("{order:?}, retry inside {outside}");
            let layers = Layers::with(ms(50), Layers::TOKENS, 2);
            let (contexts, hooks) = (Recorder::<CallContext>::new(), Recorder::new());
            let remaining = Recorder::new();
            let (log, hook_log, left) = (contexts.clone(), hooks.clone(), remaining.clone());
            let hangs_once = tool(move |context| {
                let attempt = context.attempt();
                context.on_cleanup(hook_log.hook_for(attempt));
                left.record((context.is_cancelled(), context.remaining()));
                log.record(context);
                async move {
                    match attempt {
                        1 => std::future::pending().await,
                        _ => sleep(ms(10)).await,
                    }
                    Ok::<_, io::Error>("done")
                }
            });
            let stack = layers.retried(retries(2), &order, outside, hangs_once);
            let start = Instant::now();
            let output = stack.oneshot(call()).await.unwrap();
            assert_eq!(output.collect().await.unwrap().text(), "done", "{case}");
            assert_eq!(start.elapsed(), ms(50 + 5 + 10), "{case}");
            let whole = (false, Some(ms(50)));
            assert_eq!(remaining.values(), [whole, whole], "{case}");
            let contexts = contexts.values();
            let reasons: Vec<_> = contexts.iter().map(CallContext::cancel_reason).collect();
            assert_eq!(reasons, [Some(CancelReason::Timeout), None], "{case}");
            layers.assert_released(&case);
            layers.cleanup.drain(MINUTE).await;
            let expected = match inner.contains(&Kind::Cleanup) {
                true => [(1, Outcome::TimedOut), (2, Outcome::Completed)],
                false => [(2, Outcome::Completed), (1, Outcome::Completed)],
            };
            assert_eq!(hooks.values(), expected, "{case}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn timeout_outside_the_retry_bounds_all_attempts_together() {
    for order in Kind::orders() {
        for outside in 0..=5 {
            let (outer, inner) = order.split_at(outside);
            if !outer.contains(&Kind::Timeout) {
                continue;
            }
            let case = format!("{order:?}, retry inside {outside}");
            let layers = Layers::with(ms(100), Layers::TOKENS, 2);
            let (contexts, hooks) = (Recorder::<CallContext>::new(), Recorder::new());
            let (log, hook_log) = (contexts.clone(), hooks.clone());
            let failing = tool(move |context| {
                context.on_cleanup(hook_log.hook_for(context.attempt()));
                context.emit("begun");
                log.record(context);
                async {
                    sleep(ms(40)).await;
                    Err("no")
                }
            });
            let stack = layers.retried(retries(2), &order, outside, failing);
            let start = Instant::now();
            let error = stack.oneshot(call()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Timeout, "{case}");
            assert_eq!(start.elapsed(), ms(100), "{case}");
            assert_eq!(texts(error.partial()), ["begun"], "{case}");
            // The third attempt started at 90 ms.
            let contexts = contexts.values();
            assert_eq!(contexts.len(), 3, "{case}");
            let reason = contexts[2].cancel_reason();
            assert_eq!(reason, Some(CancelReason::Timeout), "{case}");
            layers.assert_released(&case);
            layers.cleanup.drain(MINUTE).await;
            let (failed, timed_out) = (Outcome::Failed, Outcome::TimedOut);
            let expected = match inner.contains(&Kind::Cleanup) {
                true => [(1, failed), (2, failed), (3, timed_out)],
                false => [(3, timed_out), (2, timed_out), (1, timed_out)],
            };
            assert_eq!(hooks.values(), expected, "{case}");
        }
    }
}

/// T4.
#[tokio::test(start_paused = true)]
async fn limit_of_an_attempt_is_capped_by_the_rest_of_the_limit_of_the_call() {
    let remaining = Recorder::new();
    let log = remaining.clone();
    let hanging = tool(move |context| {
        log.record(context.remaining());
        std::future::pending::<Result<_, io::Error>>()
    });
    let stack = ServiceBuilder::new()
        .layer(TimeoutLayer::new(ms(100)))
        .layer(RetryLayer::new(retries(2)))
        .layer(TimeoutLayer::new(ms(60)))
        .service(hanging);
    let start = Instant::now();
    let error = stack.oneshot(call()).await.unwrap_err();
    let (_, limit, elapsed) = timeout_of(&error).unwrap();
    assert_eq!(
        (limit, elapsed, start.elapsed()),
        (ms(100), ms(100), ms(100))
    );
    assert_eq!(remaining.values(), [Some(ms(60)), Some(ms(35))]);
}

#[tokio::test(start_paused = true)]
async fn caller_that_drops_the_call_during_the_second_attempt_cancels_that_one() {
    for outside in 0..=5 {
        let case = format!("retry inside {outside}");
        let layers = layers();
        let (contexts, hooks) = (Recorder::<CallContext>::new(), Recorder::new());
        let (log, hook_log) = (contexts.clone(), hooks.clone());
        let failing = tool(move |context| {
            context.on_cleanup(hook_log.hook_for(context.attempt()));
            log.record(context);
            async {
                sleep(ms(10)).await;
                Err("no")
            }
        });
        let stack = layers.retried(retries(2), &Kind::ALL, outside, failing);
        let dropped = tokio::time::timeout(ms(20), stack.oneshot(call())).await;
        assert!(dropped.is_err(), "{case}");
        let contexts = contexts.values();
        assert_eq!(contexts.len(), 2, "{case}");
        if outside == 0 {
            assert_eq!(contexts[0].cancel_reason(), None, "{case}");
        }
        let reason = contexts[1].cancel_reason();
        assert_eq!(reason, Some(CancelReason::CallerGone), "{case}");
        layers.assert_released(&case);
        layers.cleanup.drain(MINUTE).await;
        let (failed, cancelled) = (Outcome::Failed, Outcome::Cancelled);
        let expected = match outside <= 3 {
            true => [(1, failed), (2, cancelled)],
            false => [(2, cancelled), (1, cancelled)],
        };
        assert_eq!(hooks.values(), expected, "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn call_that_times_out_between_two_attempts_ends_once() {
    for outside in 1..=5 {
        let case = format!("retry inside {outside}");
        // The first attempt ends at 10 ms, the second would start at 15 ms.
        let layers = Layers::with(ms(12), Layers::TOKENS, 2);
        let (seen, hooks) = (Recorder::new(), Recorder::new());
        let stack = layers.retried(retries(2), &Kind::ALL, outside, failing(&seen, &hooks));
        let start = Instant::now();
        let error = stack.oneshot(call()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{case}");
        assert_eq!(start.elapsed(), ms(12), "{case}");
        assert_eq!(texts(error.partial()), ["1.1"], "{case}");
        layers.assert_released(&case);
        layers.cleanup.drain(MINUTE).await;
        let outcome = match outside <= 3 {
            true => Outcome::Failed,
            false => Outcome::TimedOut,
        };
        assert_eq!(hooks.values(), [(1, outcome)], "{case}");
        sleep(MINUTE).await;
        assert_eq!(seen.values(), Seen::three("call_7")[..1], "{case}");
    }
}
