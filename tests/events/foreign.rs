//! Layers of tower, and a layer that spawns, on either side of the events layer.

use toolbooth::SpawnLayer;
use toolbooth_test::{Readiness, Script, ScriptedTool};
use toolbooth_tests::MINUTE;
use tower::buffer::Buffer;
use tower::limit::ConcurrencyLimitLayer as TowerConcurrencyLimitLayer;
use tower::load_shed::LoadShed;
use tower::timeout::Timeout as TowerTimeout;

use super::*;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Foreign {
    Buffer,
    LoadShed,
    Timeout,
    ConcurrencyLimit,
    Spawn,
}

// === impl Foreign ===

impl Foreign {
    const ALL: [Self; 5] = [
        Self::Buffer,
        Self::LoadShed,
        Self::Timeout,
        Self::ConcurrencyLimit,
        Self::Spawn,
    ];

    fn around(self, inner: BoxTool) -> BoxTool {
        match self {
            Self::Buffer => boxed(Buffer::new(inner, 4)),
            Self::LoadShed => boxed(LoadShed::new(inner)),
            Self::Timeout => boxed(TowerTimeout::new(inner, MINUTE)),
            Self::ConcurrencyLimit => boxed(TowerConcurrencyLimitLayer::new(2).layer(inner)),
            Self::Spawn => boxed(SpawnLayer::new().layer(inner)),
        }
    }
}

/// The recommended order, with the events layer in each position.
fn positions() -> impl Iterator<Item = Setup> {
    let order = Kind::ALL;
    (0..=order.len()).map(move |outside| Setup { order, outside })
}

/// As [`Setup::stack`], with another layer inside the first `inside` layers. In the same position,
/// the events layer is outside of it.
fn stack(
    setup: Setup,
    layers: &Layers,
    foreign: &dyn Fn(BoxTool) -> BoxTool,
    inside: usize,
    tool: ScriptedTool,
) -> Stack {
    let events = Recorder::new();
    let layer = EventsLayer::new(events.sink());
    let mut tool = boxed(tool);
    for outside in (0..=setup.order.len()).rev() {
        if let Some(kind) = setup.order.get(outside) {
            tool = layers.around(*kind, tool);
        }
        if outside == inside {
            tool = foreign(tool);
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
async fn call_has_the_same_events_with_every_layer_in_every_position() {
    for foreign in Foreign::ALL {
        for setup in positions() {
            for inside in 0..=setup.order.len() {
                let wait = Script::new().emit("a").delay(ms(20));
                for (script, terminal) in [
                    (wait.clone().respond("done"), "tool.completed"),
                    (wait.clone().fail("down"), "tool.failed"),
                    (wait.hang(), "tool.cancelled"),
                ] {
                    let around = |tool| foreign.around(tool);
                    let tool = ScriptedTool::script(script);
                    let stack = stack(setup, &Layers::new(1), &around, inside, tool);
                    let run = stack.run(call("tool"));
                    let outcome = tokio::time::timeout(ms(50), run).await;
                    let names = [
                        INVOKED,
                        STARTED,
                        "tool.first_item",
                        "tool.partial",
                        terminal,
                    ];
                    stack.assert_events(&names, outcome.unwrap_or(Outcome::Cancelled));
                }
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn timeout_of_tower_is_one_only_inside_of_the_events_layer() {
    for setup in positions() {
        for inside in 0..=setup.order.len() {
            let around = |tool| boxed(TowerTimeout::new(tool, ms(50)));
            let tool = ScriptedTool::pending();
            let stack = stack(setup, &Layers::new(1), &around, inside, tool);
            let outcome = stack.run(call("tool")).await;
            assert_eq!(outcome, Outcome::TimedOut);
            match setup.outside <= inside {
                true => stack.assert_events(&[INVOKED, STARTED, "tool.timed_out"], outcome),
                // The timeout drops the call, without a reason.
                false => {
                    let names = [INVOKED, STARTED, "tool.cancelled"];
                    stack.assert_events(&names, Outcome::Cancelled);
                }
            }
        }
    }
}

/// A buffer calls its inner service later. An outer layer counts it as the tool.
#[tokio::test(start_paused = true)]
async fn wait_inside_of_a_buffer_follows_the_start() {
    for setup in positions() {
        for inside in 0..=setup.order.len() {
            let layers = Layers::new(1);
            let around = |tool| Foreign::Buffer.around(tool);
            let stack = stack(setup, &layers, &around, inside, ScriptedTool::ready());
            let busy = boxed(layers.limit.layer(ScriptedTool::pending()));
            let busy = tokio::spawn(busy.oneshot(call("busy")));
            sleep(ms(1)).await;
            let (outcome, ()) = tokio::join!(stack.run(call("tool")), async {
                sleep(ms(30)).await;
                busy.abort();
            });
            assert_eq!(outcome, Outcome::Completed);
            let (buffer, limit) = (inside, setup.position(Kind::Concurrency));
            let names: &[_] = match setup.has_inside(Kind::Concurrency) {
                true if setup.outside <= buffer && buffer <= limit => &[
                    INVOKED,
                    STARTED,
                    "tool.queued",
                    "tool.admitted",
                    "tool.completed",
                ],
                true => &[
                    INVOKED,
                    "tool.queued",
                    "tool.admitted",
                    STARTED,
                    "tool.completed",
                ],
                false => &[INVOKED, STARTED, "tool.completed"],
            };
            stack.assert_events(names, Outcome::Completed);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn load_shed_inside_rejects() {
    for setup in positions() {
        let around = |tool| boxed(LoadShed::new(tool));
        let tool = ScriptedTool::ready().with_readiness(Readiness::Pending);
        let stack = stack(setup, &Layers::new(1), &around, 5, tool);
        let outcome = stack.run(call("tool")).await;
        stack.assert_events(&[INVOKED, STARTED, "tool.rejected"], outcome);
    }
}
