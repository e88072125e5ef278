//! Retries on either side of the events layer, in every position.

use std::time::Duration;

use toolbooth::RetryPolicy;
use toolbooth_test::{Script, ScriptedTool};
use tower::retry::Retry;

use super::*;

/// Repeats a call once, at once.
fn once() -> RetryPolicy {
    RetryPolicy::new(2)
        .with_backoff(Duration::ZERO, Duration::ZERO)
        .with_idempotent(true)
        .without_budget()
}

/// As [`Setup::stack`], with a retry inside the first `retried` layers. In the same position, the
/// events layer is outside of it.
fn stack(setup: Setup, retried: usize, tool: impl Into<Tool>) -> Stack {
    let (layers, events) = (Layers::new(1), Recorder::new());
    let layer = EventsLayer::new(events.sink());
    let mut tool = tool.into().0;
    for outside in (0..=setup.order.len()).rev() {
        if let Some(kind) = setup.order.get(outside) {
            tool = layers.around(*kind, tool);
        }
        if outside == retried {
            tool = boxed(Retry::new(once(), tool));
        }
        if outside == setup.outside {
            tool = boxed(layer.layer(tool));
        }
    }
    Stack {
        setup,
        tool,
        events,
    }
}

#[tokio::test(start_paused = true)]
async fn outside_of_a_retry_a_call_has_one_terminal_event_and_inside_each_attempt_has() {
    for setup in setups() {
        for retried in 0..=setup.order.len() {
            let tool = [Script::new().fail("down"), Script::new().respond("done")];
            let stack = stack(setup, retried, ScriptedTool::scripts(tool));
            assert_eq!(stack.run(call("tool")).await, Outcome::Completed);
            let names: &[_] = match setup.outside <= retried {
                // No layer sees the start of the second attempt.
                true if retried == setup.order.len() => {
                    &[INVOKED, STARTED, "tool.retry", "tool.completed"]
                }
                true => &[INVOKED, STARTED, "tool.retry", STARTED, "tool.completed"],
                false => &[
                    INVOKED,
                    STARTED,
                    "tool.failed",
                    INVOKED,
                    STARTED,
                    "tool.completed",
                ],
            };
            stack.assert_events(names, Outcome::Completed);
            let attempts = stack.events.values().into_iter().map(|event| event.attempt);
            let attempts: Vec<_> = attempts.collect();
            let expected: &[_] = match names.len() {
                6 => &[1, 1, 1, 2, 2, 2],
                5 => &[1, 1, 2, 2, 1],
                _ => &[1, 1, 2, 1],
            };
            assert_eq!(attempts, expected, "{setup:?}, retried in {retried}");
        }
    }
}

/// Two attempts are in their own passes, and both are dropped with the call.
#[tokio::test(start_paused = true)]
async fn call_that_is_dropped_in_its_second_attempt_is_cancelled() {
    for setup in setups() {
        for retried in 0..=setup.order.len() {
            let tool = [Script::new().fail("down"), Script::new().hang()];
            let stack = stack(setup, retried, ScriptedTool::scripts(tool));
            let gone = tokio::time::timeout(ms(10), stack.run(call("tool"))).await;
            assert!(gone.is_err());
            let names: &[_] = match setup.outside <= retried {
                true if retried == setup.order.len() => {
                    &[INVOKED, STARTED, "tool.retry", "tool.cancelled"]
                }
                true => &[INVOKED, STARTED, "tool.retry", STARTED, "tool.cancelled"],
                false => &[
                    INVOKED,
                    STARTED,
                    "tool.failed",
                    INVOKED,
                    STARTED,
                    "tool.cancelled",
                ],
            };
            stack.assert_events(names, Outcome::Cancelled);
        }
    }
}
