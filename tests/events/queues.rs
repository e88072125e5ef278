//! Calls that wait for a permit or a token, or are rejected.

use toolbooth::{ConcurrencyLimitLayer, ErrorKind, RateLimitLayer};
use toolbooth_test::ScriptedTool;
use toolbooth_tests::quota;

use super::*;

/// Layers whose only permit is in use until `release` is dropped.
async fn occupied(layers: &Layers) -> impl Drop + use<> {
    struct Release(tokio::task::JoinHandle<()>);
    impl Drop for Release {
        fn drop(&mut self) {
            self.0.abort();
        }
    }
    let busy = boxed(layers.limit.layer(ScriptedTool::pending()));
    let holder = tokio::spawn(async move { drop(busy.oneshot(call("busy")).await) });
    while layers.limit.available() > 0 {
        tokio::task::yield_now().await;
    }
    Release(holder)
}

/// The names in between, if the layer is inside of the events layer.
fn seen(setup: &Setup, kind: Kind, names: &[&'static str]) -> Vec<&'static str> {
    match setup.has_inside(kind) {
        true => names.to_vec(),
        false => Vec::new(),
    }
}

#[tokio::test(start_paused = true)]
async fn call_waits_for_a_permit_and_completes() {
    for setup in setups() {
        let layers = Layers::new(1);
        let stack = setup.stack(&layers, ScriptedTool::ready());
        let release = occupied(&layers).await;
        let (outcome, ()) = tokio::join!(stack.run(call("tool")), async {
            sleep(ms(30)).await;
            drop(release);
        });
        assert_eq!(outcome, Outcome::Completed);
        let waits = seen(&setup, Kind::Concurrency, &["tool.queued", "tool.admitted"]);
        let names = [&[INVOKED][..], &waits, &[STARTED, "tool.completed"]].concat();
        stack.assert_events(&names, Outcome::Completed);
        for event in stack.events.values() {
            if let EventKind::Admitted { layer, waited, .. } = event.kind {
                assert_eq!(
                    (layer.to_string().as_str(), waited),
                    ("concurrency", ms(30))
                );
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn call_waits_for_a_token_and_completes() {
    for setup in setups() {
        let layers = Layers {
            rate: RateLimitLayer::new(quota(10, 1)),
            ..Layers::new(1)
        };
        let stack = setup.stack(&layers, ScriptedTool::ready());
        let first = boxed(layers.rate.layer(ScriptedTool::ready()));
        read(first, call("first")).await.unwrap();
        assert_eq!(stack.run(call("tool")).await, Outcome::Completed);
        let waits = seen(&setup, Kind::Rate, &["tool.queued", "tool.admitted"]);
        let names = [&[INVOKED][..], &waits, &[STARTED, "tool.completed"]].concat();
        stack.assert_events(&names, Outcome::Completed);
    }
}

#[tokio::test(start_paused = true)]
async fn caller_leaves_while_its_call_waits() {
    for setup in setups() {
        let layers = Layers::new(1);
        let stack = setup.stack(&layers, ScriptedTool::ready());
        let _release = occupied(&layers).await;
        let gone = tokio::time::timeout(ms(10), stack.run(call("tool"))).await;
        assert!(gone.is_err());
        let names = [INVOKED, "tool.queued", "tool.cancelled"];
        let names = seen(&setup, Kind::Concurrency, &names);
        stack.assert_events(&names, Outcome::Cancelled);
        if let [.., last] = &stack.events.values()[..] {
            let kind = &last.kind;
            assert!(
                matches!(kind, EventKind::Cancelled { started: false, .. }),
                "{kind:?}"
            );
        }
        assert_eq!(layers.limit.queued(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn handle_cancels_a_call_that_waits() {
    for setup in setups() {
        let layers = Layers::new(1);
        let stack = setup.stack(&layers, ScriptedTool::ready());
        let _release = occupied(&layers).await;
        let call = call("tool");
        let canceller = call.canceller();
        let (outcome, ()) = tokio::join!(stack.run(call), async {
            sleep(ms(10)).await;
            canceller.cancel();
        });
        let names = [INVOKED, "tool.queued", "tool.cancelled"];
        stack.assert_events(&seen(&setup, Kind::Concurrency, &names), outcome);
    }
}

#[tokio::test(start_paused = true)]
async fn limit_expires_in_the_queue() {
    let queues = |setup: &Setup| setup.position(Kind::Timeout) < setup.position(Kind::Concurrency);
    for setup in setups().filter(queues) {
        let layers = Layers::with(ms(50), 10, 1);
        let stack = setup.stack(&layers, ScriptedTool::ready());
        let _release = occupied(&layers).await;
        let outcome = stack.run(call("tool")).await;
        assert_eq!(outcome, Outcome::TimedOut);
        let names = [INVOKED, "tool.queued", "tool.timed_out"];
        stack.assert_events(&seen(&setup, Kind::Concurrency, &names), outcome);
        if let [.., last] = &stack.events.values()[..] {
            let kind = &last.kind;
            assert!(
                matches!(kind, EventKind::TimedOut { started: false, .. }),
                "{kind:?}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn full_queue_rejects_the_call() {
    for setup in setups() {
        let layers = Layers {
            limit: ConcurrencyLimitLayer::new(1).with_queue_capacity(0),
            ..Layers::new(1)
        };
        let stack = setup.stack(&layers, ScriptedTool::ready());
        let _release = occupied(&layers).await;
        let outcome = stack.run(call("tool")).await;
        let names = seen(&setup, Kind::Concurrency, &[INVOKED, "tool.rejected"]);
        stack.assert_events(&names, outcome);
        assert_rejected(&stack, "concurrency", ErrorKind::Overloaded);
    }
}

#[tokio::test(start_paused = true)]
async fn rate_rejects_the_call() {
    for setup in setups() {
        let layers = Layers {
            rate: RateLimitLayer::new(quota(10, 1)).with_max_wait(ms(0)),
            ..Layers::new(1)
        };
        let stack = setup.stack(&layers, ScriptedTool::ready());
        let first = boxed(layers.rate.layer(ScriptedTool::ready()));
        read(first, call("first")).await.unwrap();
        let outcome = stack.run(call("tool")).await;
        let names = seen(&setup, Kind::Rate, &[INVOKED, "tool.rejected"]);
        stack.assert_events(&names, outcome);
        assert_rejected(&stack, "rate", ErrorKind::RateLimited);
    }
}

#[track_caller]
fn assert_rejected(stack: &Stack, name: &str, kind: ErrorKind) {
    for event in stack.events.values() {
        if let EventKind::Rejected {
            layer, why, error, ..
        } = event.kind
        {
            assert_eq!(layer.expect("its name").to_string(), name);
            assert_eq!((why, error.started()), (kind, false));
        }
    }
}
