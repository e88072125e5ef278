//! What the layers of policies report.

use std::sync::{Arc, OnceLock};

use toolbooth::{Event, EventKind, Toolbox};
use toolbooth_test::{FailingTool, FastTool, Recorder, SlowTool, call};
use tower::{Layer, ServiceExt};

use super::policies;
use super::support::events::EventLines;
use super::support::{error_of, ms};

#[tokio::test(start_paused = true)]
async fn changes_of_breakers_and_limits_have_the_names_of_their_layers() {
    let events = EventLines::new();
    let toolbox = Toolbox::builder()
        .with_events(events.clone())
        .tool("tool", FailingTool::new(0))
        .policies(policies("default = { breaker = 2, rate = '10/s' }"))
        .build()
        .unwrap();
    assert_eq!(events.take(), [""; 0]);
    for _ in 0..2 {
        error_of(toolbox.clone(), call("tool")).await;
    }
    let opened = ["0 breaker.changed breaker of tool - closed open failures"];
    assert_eq!(events.take(), opened);

    // The sink is also that of layers which later policies add.
    let apply = |toml: &str| toolbox.apply(policies(toml)).unwrap();
    apply("default = { breaker = 2, rate = '4/s' }\ntools.tool = { concurrency = 3, queue = 8 }");
    apply("default = { breaker = 2, rate = '4/s' }\ntools.tool = { concurrency = 5, queue = 8 }");
    // What does not change is not reported.
    apply("default = { breaker = 2, rate = '4/s' }\ntools.tool = { concurrency = 5, queue = 8 }");
    assert_eq!(
        events.take(),
        [
            "0 limit.changed rate of tool - = a token every 250ms, burst of 4",
            "0 limit.changed rate of tool queue_capacity = 8",
            "0 limit.changed concurrency of tool - = 5 at once",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn change_of_a_limit_is_reported_once_the_new_policies_are_visible() {
    let seen = Recorder::new();
    let recorder = seen.clone();
    let handle: Arc<OnceLock<Toolbox>> = Arc::default();
    let inner = Arc::clone(&handle);
    let sink = move |event: &Event| {
        let toolbox = inner.get().expect("it is built");
        // The sink uses the toolbox, and changes it.
        let stack = toolbox.stack("tool").expect("there is a tool");
        recorder.record((event.name(), stack.to_string().contains("concurrency 2")));
        if toolbox.insert("other", FastTool::new()).is_ok() {
            toolbox
                .apply(policies("tools.tool.concurrency = 3"))
                .unwrap();
        }
    };
    let toolbox = Toolbox::builder()
        .tool("tool", FastTool::new())
        .policies(policies("tools.tool.concurrency = 1"))
        .with_events(sink)
        .build()
        .unwrap();
    assert!(handle.set(toolbox.clone()).is_ok());
    toolbox
        .apply(policies("tools.tool.concurrency = 2"))
        .unwrap();
    let expected = [("limit.changed", true), ("limit.changed", false)];
    assert_eq!(seen.values(), expected);
    let stack = toolbox.stack("tool").unwrap().to_string();
    assert!(stack.contains("concurrency 3"), "{stack}");
}

/// The sink replaces the policies while the breaker notifies it.
#[tokio::test(start_paused = true)]
async fn sink_of_a_breaker_may_apply_policies() {
    let events = EventLines::new();
    let handle: Arc<OnceLock<Toolbox>> = Arc::default();
    let inner = Arc::clone(&handle);
    let toolbox = Toolbox::builder()
        .tool("tool", FailingTool::new(0))
        .policies(policies("default = { breaker = 1, concurrency = 4 }"))
        .with_events(move |event: &Event| {
            if let EventKind::BreakerChanged { .. } = event.kind {
                let toolbox = inner.get().expect("it is built");
                let lower = policies("default = { breaker = 1, concurrency = 1 }");
                toolbox.apply(lower).unwrap();
            }
        })
        .with_events(|_: &Event| panic!("a sink"))
        .with_events(events.clone())
        .build()
        .unwrap();
    assert!(handle.set(toolbox.clone()).is_ok());
    error_of(toolbox, call("tool")).await;
    assert_eq!(
        events.take(),
        [
            "0 breaker.changed breaker of tool - closed open failures",
            "0 limit.changed concurrency of tool - = 1 at once",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn events_layer_around_a_toolbox_sees_the_layers_of_its_policies() {
    let events = EventLines::new();
    let toml = "tools.tool = { concurrency = 1, rate = '1/s', timeout = '1100ms' }";
    let toolbox = Toolbox::builder()
        .tool("tool", SlowTool::new(ms(1_050)))
        .policies(policies(toml))
        .build()
        .unwrap();
    let service = events.layer().layer(toolbox);
    let run = |id: &str| service.clone().oneshot(call("tool").with_id(id));
    let (first, second) = tokio::join!(run("first"), run("second"));
    assert!(first.is_ok() && second.is_err());
    assert_eq!(
        events.take(),
        [
            "0 first tool.invoked",
            "0 first tool.started",
            "0 second tool.invoked",
            "0 second tool.queued rate of tool",
            "1000 second tool.admitted rate of tool 1000",
            "1000 second tool.queued concurrency of tool",
            "1050 first tool.completed",
            "1050 second tool.admitted concurrency of tool 50",
            "1050 second tool.started",
            "1100 second tool.timed_out started=true",
        ]
    );
}
