//! Panics of a tool, of a stream and of the caller.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::pin::pin;

use futures_util::{FutureExt, StreamExt};
use toolbooth::{BoxError, Content, ToolOutput, stream_tool_fn};
use toolbooth_test::BoxTool;
use tower::{Service, service_fn};

use super::*;

/// Panics without printing a message.
fn panics() -> Result<&'static str, BoxError> {
    resume_unwind(Box::new("the tool panics"))
}

async fn panicked<F: Future<Output: Send>>(call: F) -> bool {
    AssertUnwindSafe(call).catch_unwind().await.is_err()
}

/// A tool that panics before it returns a future.
fn panicking_at_call() -> BoxTool {
    boxed(service_fn(|_: ToolCall| {
        std::future::ready(panics().map(ToolOutput::text))
    }))
}

#[tokio::test(start_paused = true)]
async fn tool_that_panics_ends_its_call_as_panicked() {
    for order in Kind::orders() {
        let case = format!("{order:?}");
        let layers = layers();
        let (contexts, hooks) = (Recorder::<CallContext>::new(), Recorder::new());
        let (log, hook_log) = (contexts.clone(), hooks.clone());
        let panicking = tool(move |context| {
            context.on_cleanup(hook_log.hook_for("tool's"));
            context.emit("half");
            log.record(context);
            async {
                sleep(ms(10)).await;
                panics()
            }
        });
        let stack = layers.stack(&order, panicking);
        for round in 1..=3 {
            let call = call();
            call.context().on_cleanup(hooks.hook_for("caller's"));
            assert!(panicked(stack.clone().oneshot(call)).await, "{case}");
            layers.assert_released(&case);
            let remaining = layers.rate.remaining();
            assert_eq!(remaining, Layers::TOKENS - round, "{case}");
            sleep(ms(1)).await;
            let expected = ["tool's", "caller's"].map(|whose| (whose, Outcome::Panicked));
            assert_eq!(hooks.take(), expected, "{case}");
            let context = contexts.take().remove(0);
            assert_eq!(context.cancel_reason(), None, "{case}");
            assert_eq!(texts(context.partial().as_ref()), ["half"], "{case}");
        }
        let report = layers.cleanup.drain(MINUTE).await;
        assert_eq!((report.ran, report.failed, report.abandoned), (6, 0, 0));
    }
}

/// A foreign layer that catches panics and turns them into errors.
fn catching(inner: BoxTool) -> BoxTool {
    boxed(service_fn(move |call: ToolCall| {
        let call = AssertUnwindSafe(inner.clone().oneshot(call)).catch_unwind();
        call.map(|ended| ended.unwrap_or_else(|_| Err(ToolError::panicked("caught"))))
    }))
}

#[tokio::test(start_paused = true)]
async fn panic_that_is_caught_between_two_layers_is_a_panic_for_both() {
    for order in Kind::orders() {
        for outside in 0..=5 {
            let case = format!("{order:?}, caught inside {outside}");
            let (layers, hooks) = (layers(), Recorder::new());
            let log = hooks.clone();
            let panicking = tool(move |context| {
                context.on_cleanup(log.hook());
                context.emit("half");
                async {
                    sleep(ms(10)).await;
                    panics()
                }
            });
            let (outer, inner) = order.split_at(outside);
            let caught = catching(layers.stack(inner, panicking));
            let error = layers.stack(outer, caught).oneshot(call()).await;
            let error = error.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Panicked, "{case}");
            assert_eq!(error.call_id(), (outside > 0).then_some("call_7"), "{case}");
            let attached = if outside > 0 { vec!["half"] } else { vec![] };
            assert_eq!(texts(error.partial()), attached, "{case}");
            layers.assert_released(&case);
            layers.cleanup.drain(MINUTE).await;
            assert_eq!(hooks.values(), [Outcome::Panicked], "{case}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn tool_that_panics_in_call_ends_its_call_as_panicked() {
    for order in Kind::orders() {
        let case = format!("{order:?}");
        let (layers, hooks) = (layers(), Recorder::new());
        let stack = layers.stack(&order, panicking_at_call());
        let call = call();
        call.context().on_cleanup(hooks.hook());
        assert!(panicked(stack.oneshot(call)).await, "{case}");
        layers.assert_released(&case);
        layers.cleanup.drain(MINUTE).await;
        assert_eq!(hooks.values(), [Outcome::Panicked], "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn stream_that_panics_ends_its_call_as_panicked() {
    for order in Kind::orders() {
        let case = format!("{order:?}");
        let (layers, hooks) = (layers(), Recorder::new());
        let log = hooks.clone();
        let streaming = stream_tool_fn("tool", move |context: CallContext, (): ()| {
            context.on_cleanup(log.hook());
            futures_util::stream::iter([1, 2]).map(|n| match n {
                1 => Ok::<_, Infallible>(Content::from("one")),
                _ => resume_unwind(Box::new("the stream panics")),
            })
        });
        let stack = layers.stack(&order, boxed(streaming));
        let output = stack.oneshot(call()).await.unwrap();
        assert_eq!(layers.limit.in_flight(), 1, "{case}");
        assert!(panicked(output.collect()).await, "{case}");
        layers.assert_released(&case);
        layers.cleanup.drain(MINUTE).await;
        assert_eq!(hooks.values(), [Outcome::Panicked], "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn caller_that_panics_while_it_owns_the_call_cancels_it() {
    for order in Kind::orders() {
        let case = format!("{order:?}");
        let layers = layers();
        let (contexts, hooks) = (Recorder::<CallContext>::new(), Recorder::new());
        let (log, hook_log) = (contexts.clone(), hooks.clone());
        let hanging = tool(move |context| {
            context.on_cleanup(hook_log.hook());
            log.record(context);
            std::future::pending::<Result<_, BoxError>>()
        });
        let mut stack = layers.stack(&order, hanging);

        // Between two polls of the call, and before the first one.
        for polls in [1, 0] {
            let future = stack.call(call());
            let caller = async {
                let mut future = pin!(future);
                for _ in 0..polls {
                    assert!(future.as_mut().now_or_never().is_none());
                }
                sleep(ms(1)).await;
                resume_unwind(Box::new("the caller panics"))
            };
            assert!(panicked(caller).await, "{case}");
            layers.assert_released(&case);
            sleep(ms(1)).await;
            assert_eq!(hooks.take(), [Outcome::Cancelled], "{case}");
            let reason = contexts.take().remove(0).cancel_reason();
            assert_eq!(reason, Some(CancelReason::CallerGone), "{case}");
        }

        // And while it reads a stream.
        let log = hooks.clone();
        let streaming = stream_tool_fn("tool", move |context: CallContext, (): ()| {
            context.on_cleanup(log.hook());
            futures_util::stream::repeat_with(|| Ok::<_, Infallible>(Content::from("more")))
        });
        let stack = layers.stack(&order, boxed(streaming));
        let caller = async {
            let mut stream = stack.oneshot(call()).await.expect("a stream").into_stream();
            stream.next().await.expect("an item").expect("no error");
            resume_unwind(Box::new("the caller panics"))
        };
        assert!(panicked(caller).await, "{case}");
        layers.assert_released(&case);
        layers.cleanup.drain(MINUTE).await;
        assert_eq!(hooks.values(), [Outcome::Cancelled], "{case}");
    }
}
