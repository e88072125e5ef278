//! Calls of buffered tools.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::task::{Context, Waker};

use futures_util::FutureExt;
use tokio::task::yield_now;
use tokio::time::Instant;
use toolbooth::{CancelReason, CatchPanicLayer, TimeoutLayer};
use toolbooth_test::{Script, ScriptedTool};

use super::*;

fn script(script: Script) -> ScriptedTool {
    ScriptedTool::script(script)
}

#[tokio::test(start_paused = true)]
async fn call_completes() {
    for setup in setups() {
        let tool = script(Script::new().delay(ms(10)).respond("done"));
        let stack = setup.stack(&Layers::new(1), tool);
        assert_eq!(stack.run(call("tool")).await, Outcome::Completed);
        stack.assert_events(&[INVOKED, STARTED, "tool.completed"], Outcome::Completed);
        let times: Vec<_> = stack.events.times();
        assert_eq!(times, [ms(0), ms(0), ms(10)], "{setup:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn response_reports_an_error() {
    for setup in setups() {
        let tool = ScriptedTool::new(async |_| Ok(ToolOutput::error("no such file")));
        let stack = setup.stack(&Layers::new(1), tool);
        stack.run(call("tool")).await;
        stack.assert_events(&[INVOKED, STARTED, "tool.completed"], Outcome::Completed);
        assert_eq!(stack.terminal().error_type(), Some("tool_error"));
    }
}

#[tokio::test(start_paused = true)]
async fn tool_fails() {
    for setup in setups() {
        let tool = script(Script::new().emit("a").delay(ms(10)).emit("b").fail("down"));
        let stack = setup.stack(&Layers::new(1), tool);
        let outcome = stack.run(call("tool")).await;
        let names = [
            INVOKED,
            STARTED,
            "tool.first_item",
            "tool.partial",
            "tool.partial",
            "tool.failed",
        ];
        stack.assert_events(&names, outcome);
        assert_eq!(outcome, Outcome::Failed);
    }
}

#[tokio::test(start_paused = true)]
async fn tool_panics() {
    for setup in setups() {
        for tool in [
            ScriptedTool::panics_in_call(),
            ScriptedTool::panics_in_future(),
        ] {
            let stack = setup.stack(&Layers::new(1), tool);
            let run = AssertUnwindSafe(stack.run(call("tool"))).catch_unwind();
            assert!(run.await.is_err());
            stack.assert_events(&[INVOKED, STARTED, "tool.panicked"], Outcome::Panicked);
            assert!(stack.terminal().error().is_none());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn panic_is_caught() {
    for setup in setups() {
        for tool in [
            ScriptedTool::panics_in_call(),
            ScriptedTool::panics_in_future(),
        ] {
            let stack = setup.stack(&Layers::new(1), CatchPanicLayer::new().layer(tool));
            let outcome = stack.run(call("tool")).await;
            stack.assert_events(&[INVOKED, STARTED, "tool.panicked"], outcome);
            assert!(stack.terminal().error().is_some());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn limit_expires() {
    for setup in setups() {
        let stack = setup.stack(&Layers::with(ms(50), 10, 1), ScriptedTool::pending());
        let outcome = stack.run(call("tool")).await;
        stack.assert_events(&[INVOKED, STARTED, "tool.timed_out"], outcome);
        let EventKind::TimedOut {
            layer,
            limit,
            started,
            error,
            ..
        } = stack.terminal()
        else {
            panic!("not timed out: {setup:?}");
        };
        assert_eq!(layer.expect("its name").to_string(), "timeout", "{setup:?}");
        assert_eq!((limit, started), (ms(50), true), "{setup:?}");
        assert_eq!(
            error.is_some(),
            setup.has_inside(Kind::Timeout),
            "{setup:?}"
        );
    }
}

/// The layer whose limit the deadline is has the name of the outermost one of those three.
#[tokio::test(start_paused = true)]
async fn deadline_has_passed_before_the_start() {
    for setup in setups() {
        let stack = setup.stack(&Layers::new(1), ScriptedTool::ready());
        let late = call("tool").with_deadline(Instant::now());
        tokio::time::advance(ms(1)).await;
        let outcome = stack.run(late).await;
        assert_eq!(outcome, Outcome::TimedOut);
        let limits = [Kind::Timeout, Kind::Rate, Kind::Concurrency];
        let rejects_at = limits.map(|kind| setup.position(kind)).into_iter().min();
        match rejects_at >= Some(setup.outside) {
            true => stack.assert_events(&[INVOKED, "tool.timed_out"], outcome),
            false => stack.assert_events(&[], outcome),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn handle_cancels_the_call() {
    for setup in setups() {
        let stack = setup.stack(&Layers::new(1), ScriptedTool::pending());
        let call = call("tool");
        let canceller = call.canceller();
        let (outcome, ()) = tokio::join!(stack.run(call), async {
            sleep(ms(10)).await;
            canceller.cancel();
        });
        stack.assert_events(&[INVOKED, STARTED, "tool.cancelled"], outcome);
        let EventKind::Cancelled { reason, error, .. } = stack.terminal() else {
            panic!("not cancelled: {setup:?}");
        };
        assert_eq!(reason, CancelReason::Explicit);
        // The outermost layer makes the error.
        assert_eq!(error.is_some(), setup.outside == 0, "{setup:?}");
    }
}

/// Hooks run after the call, whether or not the cleanup layer is reached.
#[tokio::test(start_paused = true)]
async fn hooks_follow_the_terminal_event() {
    for setup in setups() {
        for (script, terminal) in [
            (
                Script::new().delay(ms(10)).respond("done"),
                "tool.completed",
            ),
            (Script::new().hang(), "tool.timed_out"),
        ] {
            let layers = Layers::with(ms(50), 10, 1);
            let stack = setup.stack(&layers, ScriptedTool::script(script));
            let call = call("tool");
            call.context().on_cleanup(|_| sleep(ms(20)));
            let outcome = stack.run(call).await;
            stack.assert_events(&[INVOKED, STARTED, terminal], outcome);
            sleep(ms(30)).await;
            let names = [
                INVOKED,
                STARTED,
                terminal,
                "cleanup.started",
                "cleanup.finished",
            ];
            stack.assert_events(&names, outcome);
        }
    }
}

/// A tool that waits four times, and emits an item before each wait.
fn waits_four_times() -> ScriptedTool {
    ScriptedTool::new(async |call: ToolCall| {
        for _ in 0..4 {
            call.context().emit("a");
            yield_now().await;
        }
        Ok(ToolOutput::text("done"))
    })
}

#[tokio::test(start_paused = true)]
async fn call_is_dropped_at_every_await() {
    let cx = &mut Context::from_waker(Waker::noop());
    for setup in setups() {
        for polls in 0..=4 {
            let mut stack = setup.stack(&Layers::new(1), waits_four_times());
            {
                let mut response = pin!(stack.tool.call(call("tool")));
                for _ in 0..polls {
                    assert!(response.as_mut().poll(cx).is_pending());
                }
            }
            let mut names = vec![INVOKED, STARTED];
            if polls > 0 {
                names.push("tool.first_item");
            }
            names.extend(vec!["tool.partial"; polls]);
            names.push("tool.cancelled");
            stack.assert_events(&names, Outcome::Cancelled);
        }
    }
}

/// The sink of an events layer on either side receives each event in between once.
#[tokio::test(start_paused = true)]
async fn second_events_layer_changes_nothing_for_the_first() {
    for setup in setups() {
        let within = Recorder::new();
        let tool = script(Script::new().emit("a").delay(ms(10)).respond("done"));
        let tool = EventsLayer::new(within.sink()).layer(tool);
        let stack = setup.stack(&Layers::new(1), tool);
        stack.run(call("tool")).await;
        let names = [
            INVOKED,
            STARTED,
            "tool.first_item",
            "tool.partial",
            "tool.completed",
        ];
        stack.assert_events(&names, Outcome::Completed);
        assert_eq!(within.names(), names, "{setup:?}");
    }
}

/// A limit of a second layer inside of the one that expires is not the one that is named.
#[tokio::test(start_paused = true)]
async fn outer_of_two_limits_is_named_when_it_expires() {
    for setup in setups() {
        let longer = TimeoutLayer::new(ms(80)).with_name("longer");
        let tool = longer.layer(ScriptedTool::pending());
        let stack = setup.stack(&Layers::with(ms(50), 10, 1), tool);
        let outcome = stack.run(call("tool")).await;
        stack.assert_events(&[INVOKED, STARTED, "tool.timed_out"], outcome);
        let EventKind::TimedOut { layer, limit, .. } = stack.terminal() else {
            panic!("not timed out: {setup:?}");
        };
        let layer = layer.expect("its name").to_string();
        assert_eq!((layer.as_str(), limit), ("timeout", ms(50)), "{setup:?}");
    }
}
