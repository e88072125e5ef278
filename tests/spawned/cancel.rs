//! Cancellation by the caller.

use futures_util::{FutureExt, StreamExt, poll, stream};
use tokio::time::sleep;
use toolbooth::{CancelReason, Content, ErrorKind, Outcome, stream_tool_fn};
use tower::retry::Retry;

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
        // The consumer has not been polled yet.
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

#[tokio::test(start_paused = true)]
async fn tool_cancels_its_own_call() {
    let layers = Layers::new(1);
    let stack = layers.stack(
        &Kind::ALL,
        tool(|context| async move {
            let canceller = context.canceller();
            tokio::spawn(async move {
                sleep(ms(30)).await;
                canceller.cancel();
            });
            std::future::pending().await
        }),
    );
    let start = Instant::now();
    assert_explicit(&stack.oneshot(call()).await.unwrap_err(), "by the tool");
    assert_eq!(start.elapsed(), ms(30));
}

#[tokio::test(start_paused = true)]
async fn later_attempt_cancels_its_own_call() {
    for outside in 0..=Kind::ALL.len() {
        let layers = Layers::new(1);
        let (outer, inner) = Kind::ALL.split_at(outside);
        let takes = tool(|context| async move {
            if context.attempt() == 1 {
                return Err("no".into());
            }
            let canceller = context.canceller();
            tokio::spawn(async move {
                sleep(ms(30)).await;
                canceller.cancel();
            });
            context.cancelled().await;
            Err(ToolError::cancelled(CancelReason::Explicit).into())
        });
        let retry = Retry::new(retries(1), layers.stack(inner, takes));
        let stack = layers.stack(outer, boxed(retry));
        let start = Instant::now();
        let case = format!("retry inside {outside}");
        assert_explicit(&stack.oneshot(call()).await.unwrap_err(), &case);
        assert_eq!(start.elapsed(), ms(40), "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn canceller_created_during_a_later_attempt_cancels_it() {
    for outside in 0..=Kind::ALL.len() {
        let case = format!("retry inside {outside}");
        let (layers, inside) = (Layers::new(1), Probe::new());
        let (outer, inner) = Kind::ALL.split_at(outside);
        let probe = inside.clone();
        let waits = tool(move |context| {
            let inside = probe.enter();
            async move {
                let _inside = inside;
                match context.attempt() {
                    1 => Err("no".into()),
                    _ => std::future::pending::<Result<&str, BoxError>>().await,
                }
            }
        });
        let retry = Retry::new(retries(1), layers.stack(inner, waits));
        let call = call();
        let context = call.context().clone();
        let mut running = Box::pin(layers.stack(outer, boxed(retry)).oneshot(call));
        assert!(
            tokio::time::timeout(ms(20), &mut running).await.is_err(),
            "{case}"
        );
        assert_eq!((inside.started(), inside.running()), (2, 1), "{case}");

        context.canceller().cancel();
        let error = running.now_or_never().expect(&case).unwrap_err();
        assert_explicit(&error, &case);
        assert_eq!(inside.running(), 0, "{case}");
        assert_eq!(layers.limit.available(), 1, "{case}");
    }
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
