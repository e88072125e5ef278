//! A retry of tower's in any position of the stack.

use toolbooth::{CleanupLayer, ConcurrencyLimitLayer, Partial, PartialResultLayer};
use tower::retry::RetryLayer;
use tower::{Layer, ServiceBuilder};

use super::*;

#[tokio::test(start_paused = true)]
async fn three_attempts_of_one_call_in_every_order_and_position() {
    for order in Kind::orders() {
        for outside in 0..=5 {
            let case = format!("{order:?}, retry inside {outside}");
            let (layers, seen, hooks) = (layers(), Recorder::new(), Recorder::new());
            let stack = layers.retried(retries(2), &order, outside, failing(&seen, &hooks));
            let call = call();
            call.context().on_cleanup(hooks.hook_for(0));

            let start = Instant::now();
            let error = stack.oneshot(call).await.unwrap_err();
            assert_eq!(start.elapsed(), ms(40), "{case}");
            assert_eq!(seen.values(), Seen::three("call_7"), "{case}");

            // The error and the partial result of the last attempt.
            assert_eq!(error.kind(), ErrorKind::Tool, "{case}");
            assert_eq!(error.source().unwrap().to_string(), "attempt 3", "{case}");
            assert_eq!(error.call_id(), Some("call_7"), "{case}");
            assert_eq!(texts(error.partial()), ["3.1", "3.2"], "{case}");

            layers.assert_released(&case);
            let inside_retry = |kind| order[outside..].contains(&kind);
            let spent = if inside_retry(Kind::Rate) { 3 } else { 1 };
            assert_eq!(layers.rate.remaining(), Layers::TOKENS - spent, "{case}");

            // The caller registered its hook, 0, with the first attempt.
            let report = layers.cleanup.drain(MINUTE).await;
            assert_eq!((report.ran, report.failed, report.abandoned), (4, 0, 0));
            let order = match inside_retry(Kind::Cleanup) {
                true => [1, 0, 2, 3],
                false => [3, 2, 1, 0],
            };
            let expected = order.map(|attempt| (attempt, Outcome::Failed));
            assert_eq!(hooks.values(), expected, "{case}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn attempt_that_completes_after_two_failures_completes_the_call_without_a_partial() {
    for outside in 0..=5 {
        let case = format!("retry inside {outside}");
        let (layers, seen, hooks) = (layers(), Recorder::new(), Recorder::new());
        let (log, hook_log) = (seen.clone(), hooks.clone());
        let third = tool(move |context| {
            let number = context.attempt();
            let failed = attempt(context, log.clone(), hook_log.clone());
            async move {
                let failed = failed.await;
                if number == 3 { Ok("done") } else { Err(failed) }
            }
        });
        let stack = layers.retried(retries(2), &Kind::ALL, outside, third);
        let output = stack.oneshot(call()).await.unwrap();
        assert_eq!(output.collect().await.unwrap().text(), "done", "{case}");
        assert_eq!(seen.values(), Seen::three("call_7"), "{case}");
        layers.assert_released(&case);
        layers.cleanup.drain(MINUTE).await;
        let (failed, completed) = (Outcome::Failed, Outcome::Completed);
        let expected = match outside <= 3 {
            true => [(1, failed), (2, failed), (3, completed)],
            false => [(3, completed), (2, completed), (1, completed)],
        };
        assert_eq!(hooks.values(), expected, "{case}");
    }
}

/// Uses the context of an earlier attempt while the next one runs.
#[tokio::test(start_paused = true)]
async fn ended_attempt_publishes_nothing_into_the_next_one() {
    // With the retry innermost no layer observes the end of the first attempt.
    for outside in 0..=4 {
        let case = format!("retry inside {outside}");
        let (layers, late) = (layers(), Recorder::new());
        let (ended, registered) = (Recorder::<CallContext>::new(), Recorder::new());
        let (contexts, results, hooks) = (ended.clone(), registered.clone(), late.clone());
        let failing = tool(move |context| {
            for over in contexts.values() {
                (0..5).for_each(|_| over.emit("late"));
                over.snapshot("late");
                results.record(over.on_cleanup(hooks.hook_for(over.attempt())));
            }
            context.emit(format!("on time {}", context.attempt()));
            contexts.record(context);
            async { Err("no") }
        });
        let stack = layers.retried(retries(2), &Kind::ALL, outside, failing);
        let error = stack.oneshot(call()).await.unwrap_err();
        assert_eq!(registered.values(), [Registered::RunsNow; 3], "{case}");
        assert_eq!(texts(error.partial()), ["on time 3"], "{case}");
        assert_eq!(error.partial().unwrap().snapshot(), None, "{case}");
        assert_eq!(ended.len(), 3, "{case}");
        sleep(ms(1)).await;
        let mut late = late.values();
        late.sort_by_key(|(attempt, _)| *attempt);
        let expected = [1, 1, 2].map(|attempt| (attempt, Outcome::Failed));
        assert_eq!(late, expected, "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn partial_is_kept_although_the_first_attempt_never_reached_its_layer() {
    let start = Instant::now();
    let full = ConcurrencyLimitLayer::new(1).with_queue_capacity(0);
    let partials = Recorder::<Option<Partial>>::new();
    let log = partials.clone();
    let slow = tool(move |context| {
        let log = log.clone();
        context.on_cleanup_with(move |end| async move { log.record(end.partial().cloned()) });
        context.emit("half");
        async {
            sleep(MINUTE).await;
            Ok::<_, io::Error>("done")
        }
    });
    let cleanup = CleanupLayer::new();
    let stack = ServiceBuilder::new()
        .layer(TimeoutLayer::new(ms(100)))
        .layer(cleanup.clone())
        .layer(RetryLayer::new(retries(2)))
        .layer(full.clone())
        .layer(PartialResultLayer::new())
        .service(slow);
    // Holds the permit during the first attempt and releases it before the second.
    let busy = full.layer(tool(|_| async {
        sleep(ms(1)).await;
        Ok::<_, io::Error>("busy")
    }));
    let busy = tokio::spawn(busy.oneshot(call()));
    tokio::task::yield_now().await;
    assert_eq!(full.available(), 0);

    let error = stack.oneshot(call()).await.unwrap_err();
    assert_eq!(
        (error.kind(), start.elapsed()),
        (ErrorKind::Timeout, ms(100))
    );
    assert_eq!(texts(error.partial()), ["half"]);
    assert!(busy.await.unwrap().is_ok());
    cleanup.drain(MINUTE).await;
    let partials = partials.values();
    assert_eq!(partials.len(), 1);
    assert_eq!(texts(partials[0].as_ref()), ["half"]);
}

#[tokio::test(start_paused = true)]
async fn nested_retries_count_the_attempts_of_one_call() {
    let (seen, hooks) = (Recorder::new(), Recorder::new());
    let (log, hook_log) = (seen.clone(), hooks.clone());
    let failing = tool(move |context| {
        log.record(Seen::of(&context));
        let attempt = context.attempt();
        context.on_cleanup(hook_log.hook_for(attempt));
        for _ in 0..[1, 3, 2, 3][attempt as usize - 1] {
            context.emit(format!("of {attempt}"));
        }
        std::future::pending::<Result<_, io::Error>>()
    });
    let cleanup = CleanupLayer::new();
    let stack = ServiceBuilder::new()
        .layer(RetryLayer::new(retries(1)))
        .layer(PartialResultLayer::new())
        .layer(RetryLayer::new(retries(1)))
        .layer(cleanup.clone())
        .layer(TimeoutLayer::new(ms(20)))
        .service(failing);
    let start = Instant::now();
    let error = stack.oneshot(call()).await.unwrap_err();
    let took = start.elapsed();
    assert_eq!(
        (error.kind(), took),
        (ErrorKind::Timeout, ms(4 * 20 + 3 * 5))
    );
    assert_eq!(texts(error.partial()), ["of 4"; 3]);
    let seen = seen.values();
    assert_eq!(seen[..3], Seen::three("call_7"));
    assert_eq!((seen.len(), seen[3].attempt), (4, 4));
    assert_eq!((&*seen[3].id, seen[3].cancelled), ("call_7", false));
    cleanup.drain(MINUTE).await;
    let expected = [1, 2, 3, 4].map(|attempt| (attempt, Outcome::TimedOut));
    assert_eq!(hooks.values(), expected);
}
