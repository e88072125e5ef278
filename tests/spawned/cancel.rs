//! Cancellation by the caller.

use futures_util::{FutureExt, StreamExt, poll, stream};
use tokio::time::sleep;
use toolbooth::{CancelReason, Canceller, Content, ErrorKind, Outcome, stream_tool_fn};
use tower::retry::Retry;
use tower::service_fn;

use super::*;

/// Asserts that the call was cancelled by its caller.
fn assert_explicit(error: &ToolError, case: &str) {
    assert_eq!(cancel_reason(error), Some(CancelReason::Explicit), "{case}");
    assert_eq!(error.outcome(), Outcome::Cancelled, "{case}");
    assert!(!error.is_retryable(), "{case}");
}

#[tokio::test(start_paused = true)]
async fn running_call_ends_in_every_order() {
    for order in Kind::stacks() {
        let case = format!("{order:?}");
        let (layers, inside, hooks) = (Layers::new(1), Probe::new(), Recorder::new());
        let reasons = Recorder::new();
        let (probe, log) = (inside.clone(), reasons.clone());
        let stack = layers.stack(
            &order,
            tool(move |context| {
                let (inside, log) = (probe.enter(), log.clone());
                context.emit("so far");
                async move {
                    let _inside = inside;
                    context.cancelled().await;
                    log.record(context.cancel_reason());
                    std::future::pending().await
                }
            }),
        );
        let call = call();
        let canceller = call.canceller();
        call.context().on_cleanup(hooks.hook());
        let start = Instant::now();
        let running = tokio::spawn(stack.oneshot(call));
        sleep(ms(500)).await;
        assert_eq!(inside.running(), 1, "{case}");

        canceller.clone().cancel();
        let error = running.await.unwrap().unwrap_err();
        assert_explicit(&error, &case);
        assert_eq!(start.elapsed(), ms(500), "{case}");
        assert_eq!((inside.started(), inside.running()), (1, 0), "{case}");
        assert_eq!(reasons.values(), [Some(CancelReason::Explicit)], "{case}");
        let kept = error.partial().map(|partial| partial.contents().to_vec());
        let expected = order
            .contains(&Kind::Partial)
            .then(|| vec!["so far".into()]);
        assert_eq!(kept, expected, "{case}");
        assert_eq!(layers.limit.available(), 1, "{case}");
        layers.cleanup.drain(MINUTE).await;
        tokio::task::yield_now().await;
        assert_eq!(hooks.values(), [Outcome::Cancelled], "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn call_that_is_cancelled_before_it_is_made_does_not_start() {
    for order in Kind::stacks() {
        let case = format!("{order:?}");
        let (layers, inside) = (Layers::new(1), Probe::new());
        let call = call();
        let canceller = call.canceller();
        canceller.cancel();
        assert!(call.context().is_cancelled(), "{case}");
        let error = layers.stack(&order, hanging(&inside)).oneshot(call).await;
        assert_explicit(&error.unwrap_err(), &case);
        assert_eq!(inside.started(), 0, "{case}");
        assert_eq!(layers.rate.remaining(), Layers::TOKENS, "{case}");
        assert_eq!(layers.limit.available(), 1, "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn cancelled_waiter_leaves_the_queue() {
    for order in Kind::stacks() {
        if !order.contains(&Kind::Concurrency) {
            continue;
        }
        let case = format!("{order:?}");
        let (layers, inside) = (Layers::new(1), Probe::new());
        let stack = layers.stack(&order, hanging(&inside));
        let first = tokio::spawn(stack.clone().oneshot(call()));
        sleep(ms(1)).await;
        let second = call();
        let canceller = second.canceller();
        let second = tokio::spawn(stack.clone().oneshot(second));
        sleep(ms(1)).await;
        assert_eq!((inside.running(), layers.limit.queued()), (1, 1), "{case}");

        canceller.cancel();
        assert_explicit(&second.await.unwrap().unwrap_err(), &case);
        assert_eq!(
            (layers.limit.in_flight(), layers.limit.queued()),
            (1, 0),
            "{case}"
        );
        first.abort();
        assert!(first.await.unwrap_err().is_cancelled(), "{case}");
        assert_eq!(
            (inside.started(), layers.limit.available()),
            (1, 1),
            "{case}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn cancelled_waiter_for_a_token_leaves_the_queue() {
    let rate = RateLimitLayer::new(hourly(1));
    let inside = Probe::new();
    let stack = rate.layer(hanging(&inside));
    let first = tokio::spawn(stack.clone().oneshot(call()));
    sleep(ms(1)).await;
    let second = call();
    let canceller = second.canceller();
    let second = tokio::spawn(stack.oneshot(second));
    sleep(ms(1)).await;
    assert_eq!((inside.running(), rate.queued()), (1, 1));
    canceller.cancel();
    assert_explicit(&second.await.unwrap().unwrap_err(), "rate");
    assert_eq!(rate.queued(), 0);
    first.abort();
}

/// A chunk at 0, 200, 400, ... ms, for ever.
fn streaming(inside: &Probe) -> BoxTool {
    let inside = inside.clone();
    boxed(stream_tool_fn("tool", move |(): ()| {
        let inside = inside.enter();
        stream::unfold((0, inside), |(chunk, inside)| async move {
            if chunk > 0 {
                sleep(ms(200)).await;
            }
            let content = Content::from(format!("chunk_{chunk}"));
            Some((Ok::<_, ToolError>(content), (chunk + 1, inside)))
        })
    }))
}

#[tokio::test(start_paused = true)]
async fn stream_that_is_read_ends_with_an_error() {
    for order in Kind::stacks() {
        let case = format!("{order:?}");
        let (layers, inside) = (Layers::new(1), Probe::new());
        let call = call();
        let canceller = call.canceller();
        let stack = layers.stack(&order, streaming(&inside));
        let mut items = stack.oneshot(call).await.unwrap().into_stream();
        let start = Instant::now();
        let reader = tokio::spawn(async move {
            let mut chunks = 0;
            while let Some(chunk) = items.next().await {
                match chunk {
                    Ok(_) => chunks += 1,
                    Err(error) => {
                        assert!(items.next().await.is_none());
                        return (chunks, error);
                    }
                }
            }
            unreachable!("it streams for ever")
        });
        sleep(ms(500)).await;
        canceller.cancel();
        // Its task ends it, whether or not the consumer polls.
        tokio::task::yield_now().await;
        assert_eq!(
            (inside.running(), layers.limit.available()),
            (0, 1),
            "{case}"
        );
        let (chunks, error) = reader.await.unwrap();
        assert_explicit(&error, &case);
        assert_eq!((chunks, start.elapsed()), (3, ms(500)), "{case}");
        if order.contains(&Kind::Partial) {
            assert_eq!(error.partial().unwrap().delivered(), 3, "{case}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn stream_that_is_not_read_is_dropped() {
    for order in Kind::stacks() {
        let case = format!("{order:?}");
        let (layers, inside) = (Layers::new(1), Probe::new());
        let call = call();
        let canceller = call.canceller();
        let stack = layers.stack(&order, streaming(&inside));
        let mut items = stack.oneshot(call).await.unwrap().into_stream();
        sleep(ms(1_000)).await;
        assert_eq!(inside.running(), 1, "{case}");
        canceller.cancel();
        tokio::task::yield_now().await;
        assert_eq!(
            (inside.running(), layers.limit.available()),
            (0, 1),
            "{case}"
        );
        // An item that was ready is still delivered.
        assert_eq!(
            items.next().await.unwrap().unwrap(),
            Content::from("chunk_0"),
            "{case}"
        );
        assert_explicit(&items.next().await.unwrap().unwrap_err(), &case);
        assert!(items.next().await.is_none(), "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn response_that_is_ready_wins() {
    for order in Kind::stacks() {
        let layers = Layers::new(1);
        let stack = layers.stack(
            &order,
            tool(|context| async move {
                context.cancelled().await;
                Ok("half")
            }),
        );
        let call = call();
        let canceller = call.canceller();
        let running = tokio::spawn(stack.oneshot(call));
        sleep(ms(10)).await;
        canceller.cancel();
        let output = running.await.unwrap().unwrap();
        assert_eq!(output.collect().await.unwrap().text(), "half", "{order:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn cancellation_after_the_end_does_nothing() {
    for order in Kind::stacks() {
        let layers = Layers::new(1);
        let call = call();
        let (canceller, context) = (call.canceller(), call.context().clone());
        let output = layers
            .stack(&order, tool(|_| async { Ok("done") }))
            .oneshot(call)
            .await;
        canceller.cancel();
        assert_eq!(context.cancel_reason(), None, "{order:?}");
        assert_eq!(
            output.unwrap().collect().await.unwrap().text(),
            "done",
            "{order:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn first_reason_stays() {
    let timeout = TimeoutLayer::new(ms(100));
    let call = call();
    let (canceller, context) = (call.canceller(), call.context().clone());
    let error = timeout
        .layer(hanging(&Probe::new()))
        .oneshot(call)
        .await
        .unwrap_err();
    canceller.cancel();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    assert_eq!(context.cancel_reason(), Some(CancelReason::Timeout));
}

/// Repeats every error after 10 ms.
fn retries(retries: u32) -> Retries {
    Retries::new(retries).after(ms(10))
}

#[tokio::test(start_paused = true)]
async fn no_attempt_starts_after_a_cancellation() {
    for order in Kind::stacks() {
        for outside in 0..=order.len() {
            let case = format!("{order:?}, retry inside {outside}");
            let (layers, inside) = (Layers::new(1), Probe::new());
            let (outer, inner) = order.split_at(outside);
            let retry = Retry::new(retries(5), layers.stack(inner, hanging(&inside)));
            let stack = layers.stack(outer, boxed(retry));
            let call = call();
            let canceller = call.canceller();
            let running = tokio::spawn(stack.oneshot(call));
            sleep(ms(10)).await;
            canceller.cancel();
            assert_explicit(&running.await.unwrap().unwrap_err(), &case);
            assert_eq!((inside.started(), inside.running()), (1, 0), "{case}");
            assert_eq!(layers.limit.available(), 1, "{case}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn cancellation_ends_the_backoff_of_an_inner_retry() {
    let layers = Layers::new(1);
    let failing = tool(|_| async { Err("no".into()) });
    let retry = Retry::new(retries(5), layers.stack(&[Kind::Partial], failing));
    let stack = layers.stack(&[Kind::Timeout], boxed(retry));
    let call = call();
    let canceller = call.canceller();
    let start = Instant::now();
    let running = tokio::spawn(stack.oneshot(call));
    sleep(ms(25)).await;
    canceller.cancel();
    assert_explicit(&running.await.unwrap().unwrap_err(), "in the third backoff");
    assert_eq!(start.elapsed(), ms(25));
}

/// A tool that fails until `attempt`, and then cancels its own call after 30 ms.
fn cancels_itself_at(attempt: u32, canceller: Canceller) -> BoxTool {
    tool(move |context| {
        let canceller = canceller.clone();
        async move {
            if context.attempt() < attempt {
                return Err("no".into());
            }
            tokio::spawn(async move {
                sleep(ms(30)).await;
                canceller.cancel();
            });
            std::future::pending::<Result<&str, BoxError>>().await
        }
    })
}

#[tokio::test(start_paused = true)]
async fn tool_cancels_its_own_call() {
    let layers = Layers::new(1);
    let call = call();
    let stack = layers.stack(&Kind::ALL, cancels_itself_at(1, call.canceller()));
    let start = Instant::now();
    assert_explicit(&stack.oneshot(call).await.unwrap_err(), "by the tool");
    assert_eq!(start.elapsed(), ms(30));
}

/// The second attempt is no fork of the one that the layers outside of the retry know.
#[tokio::test(start_paused = true)]
async fn later_attempt_cancels_its_own_call() {
    for outside in 0..=Kind::ALL.len() {
        let layers = Layers::new(1);
        let (outer, inner) = Kind::ALL.split_at(outside);
        let call = call();
        let cancels = cancels_itself_at(2, call.canceller());
        let retry = Retry::new(retries(1), layers.stack(inner, cancels));
        let stack = layers.stack(outer, boxed(retry));
        let start = Instant::now();
        let case = format!("retry inside {outside}");
        assert_explicit(&stack.oneshot(call).await.unwrap_err(), &case);
        assert_eq!(start.elapsed(), ms(40), "{case}");
    }
}

/// Another crate's layer takes a handle from the call that it passes on: the inner call is
/// cancelled, and the layers outside see it fail.
#[tokio::test(start_paused = true)]
async fn layer_in_between_cancels_the_inner_call_alone() {
    for outside in 0..=Kind::ALL.len() {
        let case = format!("inside {outside}");
        let (layers, inside) = (Layers::new(1), Probe::new());
        let (outer, inner) = Kind::ALL.split_at(outside);
        let inner = layers.stack(inner, hanging(&inside));
        let between = service_fn(move |call: ToolCall| {
            let (inner, context) = (inner.clone(), call.context().clone());
            let canceller = call.canceller();
            async move {
                let running = tokio::spawn(inner.oneshot(call));
                sleep(ms(30)).await;
                canceller.cancel();
                assert_eq!(context.cancel_reason(), Some(CancelReason::Explicit));
                context.cancelled().await;
                running.await.expect("no panic")
            }
        });
        let stack = layers.stack(outer, boxed(between));
        let running = tokio::spawn(stack.oneshot(call()));
        match outside == Kind::ALL.len() {
            // No layer is inside to end the call: the tool is only notified.
            true => {
                sleep(ms(50)).await;
                running.abort();
            }
            false => assert_explicit(&running.await.unwrap().unwrap_err(), &case),
        }
    }
}

/// It cancels the attempt that it was taken from, and those forked afterwards.
#[tokio::test(start_paused = true)]
async fn attempt_forked_before_the_handle_was_taken_goes_on() {
    let (first, earlier) = (call(), call());
    let forked_before = earlier.clone();
    let cancellers = [first.canceller(), earlier.canceller()];
    let forked_after = first.clone();
    cancellers.iter().for_each(Canceller::cancel);
    let reasons = [&first, &forked_after, &earlier, &forked_before]
        .map(|call| call.context().cancel_reason());
    let explicit = Some(CancelReason::Explicit);
    assert_eq!(reasons, [explicit, explicit, explicit, None]);
}

#[tokio::test(start_paused = true)]
async fn tool_without_any_layer_is_cancelled() {
    let call = call();
    let canceller = call.canceller();
    let mut running = Box::pin(
        tool(|context| async move {
            context.cancelled().await;
            Err(ToolError::cancelled(CancelReason::Explicit).into())
        })
        .oneshot(call),
    );
    assert!(poll!(&mut running).is_pending());
    canceller.cancel();
    assert_explicit(&running.now_or_never().unwrap().unwrap_err(), "no layer");
}
