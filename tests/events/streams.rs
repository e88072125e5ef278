//! Calls of streaming tools.

use futures_util::StreamExt;
use toolbooth_test::{Script, ScriptedTool};

use super::*;

/// A tool that streams two items, and goes on with this script.
fn streams(then: fn(Script) -> Script) -> ScriptedTool {
    ScriptedTool::script(then(Script::new().stream(["a"]).delay(ms(10)).emit("b")))
}

/// The events up to the second item.
const TWO: [&str; 5] = [
    INVOKED,
    STARTED,
    "tool.first_item",
    "tool.partial",
    "tool.partial",
];

fn then(terminal: &'static str) -> Vec<&'static str> {
    [&TWO[..], &[terminal]].concat()
}

#[tokio::test(start_paused = true)]
async fn stream_completes() {
    for setup in setups() {
        let stack = setup.stack(&Layers::new(1), streams(|script| script));
        assert_eq!(stack.run(call("tool")).await, Outcome::Completed);
        stack.assert_events(&then("tool.completed"), Outcome::Completed);
    }
}

#[tokio::test(start_paused = true)]
async fn stream_reports_an_error() {
    for setup in setups() {
        let tool = ScriptedTool::new(async |_| {
            let items = ["a", "b"].map(|item| Ok::<_, ToolError>(item.into()));
            let output = ToolOutput::stream(futures_util::stream::iter(items));
            Ok(output.with_is_error(true))
        });
        let stack = setup.stack(&Layers::new(1), tool);
        stack.run(call("tool")).await;
        stack.assert_events(&then("tool.completed"), Outcome::Completed);
        assert_eq!(stack.terminal().error_type(), Some("tool_error"));
    }
}

#[tokio::test(start_paused = true)]
async fn stream_fails() {
    for setup in setups() {
        let stack = setup.stack(&Layers::new(1), streams(|script| script.fail("down")));
        let outcome = stack.run(call("tool")).await;
        stack.assert_events(&then("tool.failed"), outcome);
        assert_eq!(outcome, Outcome::Failed);
    }
}

#[tokio::test(start_paused = true)]
async fn stream_expires() {
    for setup in setups() {
        let tool = streams(|script| script.hang());
        let stack = setup.stack(&Layers::with(ms(50), 10, 1), tool);
        let outcome = stack.run(call("tool")).await;
        assert_eq!(outcome, Outcome::TimedOut);
        stack.assert_events(&then("tool.timed_out"), outcome);
    }
}

/// The task beside the response ends everything inside of the timeout. The layers around it end
/// when the consumer reads or drops the response.
#[tokio::test(start_paused = true)]
async fn stream_expires_that_is_not_read() {
    for setup in setups() {
        for reads in [true, false] {
            let tool = streams(|script| script.hang());
            let stack = setup.stack(&Layers::with(ms(50), 10, 1), tool);
            let output = stack.tool.clone().oneshot(call("tool")).await.unwrap();
            sleep(ms(60)).await;
            let ended = stack.events.names().contains(&"tool.timed_out");
            assert_eq!(ended, !setup.has_inside(Kind::Timeout), "{setup:?}");
            match reads {
                true => assert!(output.collect().await.is_err()),
                false => drop(output),
            }
            stack.assert_passes();
            let outcome = match reads || ended {
                true => Outcome::TimedOut,
                false => Outcome::Cancelled,
            };
            assert_eq!(stack.terminal().outcome(), Some(outcome), "{setup:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn stream_is_dropped_after_each_item() {
    for setup in setups() {
        for items in 0..=2 {
            let tool = streams(|script| script.hang());
            let stack = setup.stack(&Layers::new(1), tool);
            let output = stack.tool.clone().oneshot(call("tool")).await.unwrap();
            let mut stream = output.into_stream();
            for _ in 0..items {
                stream.next().await.expect("an item").unwrap();
            }
            drop(stream);
            let names = match items {
                0 => vec![INVOKED, STARTED, "tool.cancelled"],
                _ => [&TWO[..3 + items], &["tool.cancelled"]].concat(),
            };
            stack.assert_events(&names, Outcome::Cancelled);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn handle_cancels_a_stream() {
    for setup in setups() {
        let tool = streams(|script| script.hang());
        let stack = setup.stack(&Layers::new(1), tool);
        let call = call("tool");
        let canceller = call.canceller();
        let (outcome, ()) = tokio::join!(stack.run(call), async {
            sleep(ms(20)).await;
            canceller.cancel();
        });
        stack.assert_events(&then("tool.cancelled"), outcome);
    }
}
