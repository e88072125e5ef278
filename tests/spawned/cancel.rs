//! The owner of a call cancels it.

use futures_util::{FutureExt, StreamExt, poll, stream};
use tokio::time::sleep;
use toolbooth::{CancelReason, Canceller, Content, ErrorKind, Outcome, stream_tool_fn};
use tower::retry::{Policy, Retry};
use tower::service_fn;

use super::*;

/// That the call was cancelled by its owner, and by nobody else.
fn assert_explicit(error: &ToolError, case: &str) {
    assert!(
        matches!(
            error,
            ToolError::Cancelled {
                reason: CancelReason::Explicit,
                ..
            }
        ),
        "{case}: {error}"
    );
    assert_eq!(error.outcome(), Outcome::Cancelled, "{case}");
    assert!(!error.is_retryable(), "{case}");
}

#[tokio::test(start_paused = true)]
async fn a_running_call_ends_in_every_order() {
    for order in Ours::stacks() {
        let case = format!("{order:?}");
        let (layers, inside, hooks) = (Layers::new(), Probe::new(), Recorder::new());
        let told = Recorder::new();
        let (probe, notes) = (inside.clone(), told.clone());
        let stack = layers.stack(
            &order,
            tool(move |context| {
                let (inside, notes) = (probe.enter(), notes.clone());
                context.emit("so far");
                async move {
                    let _inside = inside;
                    context.cancelled().await;
                    notes.record(context.cancel_reason());
                    std::future::pending().await
                }
            }),
        );
        let call = call();
        let canceller = call.canceller();
        call.context().on_cleanup(hooks.hook());
        let start = Instant::now();
        let answer = tokio::spawn(stack.oneshot(call));
        sleep(ms(500)).await;
        assert_eq!(inside.running(), 1, "{case}");

        canceller.clone().cancel();
        let error = answer.await.unwrap().unwrap_err();
        assert_explicit(&error, &case);
        assert_eq!(start.elapsed(), ms(500), "{case}");
        assert_eq!((inside.started(), inside.running()), (1, 0), "{case}");
        assert_eq!(told.values(), [Some(CancelReason::Explicit)], "{case}");
        let kept = error.partial().map(|partial| partial.contents().to_vec());
        let expected = order
            .contains(&Ours::Partial)
            .then(|| vec!["so far".into()]);
        assert_eq!(kept, expected, "{case}");
        assert_eq!(layers.limit.available(), 1, "{case}");
        layers.cleanup.drain(MINUTE).await;
        tokio::task::yield_now().await;
        assert_eq!(hooks.values(), [Outcome::Cancelled], "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_cancelled_before_it_is_made_is_not_started_and_takes_nothing() {
    for order in Ours::stacks() {
        let case = format!("{order:?}");
        let (layers, inside) = (Layers::new(), Probe::new());
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
async fn a_call_that_waits_in_line_gives_up_its_place() {
    for order in Ours::stacks() {
        if !order.contains(&Ours::Concurrency) {
            continue;
        }
        let case = format!("{order:?}");
        let (layers, inside) = (Layers::new(), Probe::new());
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
async fn a_call_that_waits_for_a_token_gives_up_its_place() {
    let rate = RateLimitLayer::new(Quota::per_hour(NonZeroU32::MIN));
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
fn streaming(inside: &Probe) -> Tool {
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
async fn a_streamed_answer_ends_within_the_stream() {
    for order in Ours::stacks() {
        let case = format!("{order:?}");
        let (layers, inside) = (Layers::new(), Probe::new());
        let call = call();
        let canceller = call.canceller();
        let stack = layers.stack(&order, streaming(&inside));
        let mut answer = stack.oneshot(call).await.unwrap().into_stream();
        let start = Instant::now();
        let reader = tokio::spawn(async move {
            let mut chunks = 0;
            while let Some(chunk) = answer.next().await {
                match chunk {
                    Ok(_) => chunks += 1,
                    Err(error) => {
                        assert!(answer.next().await.is_none());
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
        if order.contains(&Ours::Partial) {
            assert_eq!(error.partial().unwrap().delivered(), 3, "{case}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_streamed_answer_that_nobody_reads_is_cut_all_the_same() {
    for order in Ours::stacks() {
        let case = format!("{order:?}");
        let (layers, inside) = (Layers::new(), Probe::new());
        let call = call();
        let canceller = call.canceller();
        let stack = layers.stack(&order, streaming(&inside));
        let mut answer = stack.oneshot(call).await.unwrap().into_stream();
        sleep(ms(1_000)).await;
        assert_eq!(inside.running(), 1, "{case}");
        canceller.cancel();
        tokio::task::yield_now().await;
        assert_eq!(
            (inside.running(), layers.limit.available()),
            (0, 1),
            "{case}"
        );
        // What was ready is still delivered.
        assert_eq!(
            answer.next().await.unwrap().unwrap(),
            Content::from("chunk_0"),
            "{case}"
        );
        assert_explicit(&answer.next().await.unwrap().unwrap_err(), &case);
        assert!(answer.next().await.is_none(), "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_ready_counts() {
    for order in Ours::stacks() {
        let layers = Layers::new();
        let stack = layers.stack(
            &order,
            tool(|context| async move {
                context.cancelled().await;
                Ok("as far as I got")
            }),
        );
        let call = call();
        let canceller = call.canceller();
        let answer = tokio::spawn(stack.oneshot(call));
        sleep(ms(10)).await;
        canceller.cancel();
        let output = answer.await.unwrap().unwrap();
        assert_eq!(
            output.collect().await.unwrap().text(),
            "as far as I got",
            "{order:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn after_the_end_it_does_nothing() {
    for order in Ours::stacks() {
        let layers = Layers::new();
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
async fn the_first_reason_stays() {
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

/// Tries again for ever, whatever happened.
#[derive(Debug, Clone)]
struct Stubborn(u32);

impl<T> Policy<ToolCall, T, ToolError> for Stubborn {
    type Future = std::pin::Pin<Box<tokio::time::Sleep>>;

    fn retry(
        &mut self,
        _: &mut ToolCall,
        result: &mut Result<T, ToolError>,
    ) -> Option<Self::Future> {
        let left = self.0.checked_sub(1).filter(|_| result.is_err())?;
        self.0 = left;
        Some(Box::pin(sleep(ms(10))))
    }

    fn clone_request(&mut self, request: &ToolCall) -> Option<ToolCall> {
        Some(request.clone())
    }
}

#[tokio::test(start_paused = true)]
async fn no_attempt_is_started_after_it_wherever_the_retry_stands() {
    for order in Ours::stacks() {
        for outside in 0..=order.len() {
            let case = format!("{order:?}, retry inside {outside}");
            let (layers, inside) = (Layers::new(), Probe::new());
            let (outer, inner) = order.split_at(outside);
            let retry = Retry::new(Stubborn(5), layers.stack(inner, hanging(&inside)));
            let stack = layers.stack(outer, boxed(retry));
            let call = call();
            let canceller = call.canceller();
            let answer = tokio::spawn(stack.oneshot(call));
            sleep(ms(10)).await;
            canceller.cancel();
            assert_explicit(&answer.await.unwrap().unwrap_err(), &case);
            assert_eq!((inside.started(), inside.running()), (1, 0), "{case}");
            assert_eq!(layers.limit.available(), 1, "{case}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_backoff_is_not_waited_for_by_a_layer_around() {
    let layers = Layers::new();
    let failing = tool(|_| async { Err("no".into()) });
    let retry = Retry::new(Stubborn(5), layers.stack(&[Ours::Partial], failing));
    let stack = layers.stack(&[Ours::Timeout], boxed(retry));
    let call = call();
    let canceller = call.canceller();
    let start = Instant::now();
    let answer = tokio::spawn(stack.oneshot(call));
    sleep(ms(25)).await;
    canceller.cancel();
    assert_explicit(&answer.await.unwrap().unwrap_err(), "in the third backoff");
    assert_eq!(start.elapsed(), ms(25));
}

/// A tool that fails until `attempt`, and then cancels its own call after 30 ms.
fn cancels_itself_at(attempt: u32, canceller: Canceller) -> Tool {
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
async fn a_tool_cancels_its_own_call() {
    let layers = Layers::new();
    let call = call();
    let stack = layers.stack(&Ours::ALL, cancels_itself_at(1, call.canceller()));
    let start = Instant::now();
    assert_explicit(&stack.oneshot(call).await.unwrap_err(), "by the tool");
    assert_eq!(start.elapsed(), ms(30));
}

/// The second attempt is no fork of the one that the layers outside of the retry know.
#[tokio::test(start_paused = true)]
async fn a_later_attempt_cancels_its_call_wherever_the_retry_stands() {
    for outside in 0..=Ours::ALL.len() {
        let layers = Layers::new();
        let (outer, inner) = Ours::ALL.split_at(outside);
        let call = call();
        let cancels = cancels_itself_at(2, call.canceller());
        let retry = Retry::new(Stubborn(1), layers.stack(inner, cancels));
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
async fn a_layer_in_between_cancels_the_inner_call_alone() {
    for outside in 0..=Ours::ALL.len() {
        let case = format!("inside {outside}");
        let (layers, inside) = (Layers::new(), Probe::new());
        let (outer, inner) = Ours::ALL.split_at(outside);
        let inner = layers.stack(inner, hanging(&inside));
        let between = service_fn(move |call: ToolCall| {
            let (inner, context) = (inner.clone(), call.context().clone());
            let canceller = call.canceller();
            async move {
                let answer = tokio::spawn(inner.oneshot(call));
                sleep(ms(30)).await;
                canceller.cancel();
                assert_eq!(context.cancel_reason(), Some(CancelReason::Explicit));
                context.cancelled().await;
                answer.await.expect("no panic")
            }
        });
        let stack = layers.stack(outer, boxed(between));
        let answer = tokio::spawn(stack.oneshot(call()));
        match outside == Ours::ALL.len() {
            // No layer is inside to end the call: the tool is only notified.
            true => {
                sleep(ms(50)).await;
                answer.abort();
            }
            false => assert_explicit(&answer.await.unwrap().unwrap_err(), &case),
        }
    }
}

/// It cancels the attempt that it was taken from, and those forked afterwards.
#[tokio::test(start_paused = true)]
async fn an_attempt_forked_before_the_handle_was_taken_goes_on() {
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
async fn a_tool_without_any_layer_is_told() {
    let call = call();
    let canceller = call.canceller();
    let mut answer = Box::pin(
        tool(|context| async move {
            context.cancelled().await;
            Err(ToolError::cancelled(CancelReason::Explicit).into())
        })
        .oneshot(call),
    );
    assert!(poll!(&mut answer).is_pending());
    canceller.cancel();
    assert_explicit(&answer.now_or_never().unwrap().unwrap_err(), "no layer");
}
