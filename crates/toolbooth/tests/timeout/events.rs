//! The events of changes of the limit.

use toolbooth::PerTool;

use super::support::events::EventLines;
use super::*;

#[tokio::test(start_paused = true)]
async fn each_change_of_the_limit_is_delivered() {
    let events = EventLines::new();
    let before = TimeoutLayer::new(PerTool::new(ms(100)).with("file", ms(300)));
    let timeout = before
        .clone()
        .with_events(events.clone())
        .with_name("total");
    timeout.set_limit(ms(2_500));
    advance(ms(10)).await;
    timeout.clone().set_limit_for("file", ms(20));
    timeout.set_limit_for("file", None);
    timeout.set_limit(Duration::MAX);
    // The value before has no sink.
    before.set_limit(ms(1));

    assert_eq!(
        events.take(),
        [
            "0 limit.changed total - = 2.5s",
            "10 limit.changed total file = 20ms",
            "10 limit.changed total file = -",
            "10 limit.changed total - = -",
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn sink_of_a_change_runs_without_a_lock() {
    let events = EventLines::new();
    let timeout = TimeoutLayer::new(ms(100));
    let inner = timeout.clone();
    let sink = move |_: &Event| inner.set_limit_for("file", ms(7));
    let timeout = timeout.with_events(sink).with_events(events.clone());
    timeout.set_limit(ms(20));
    assert_eq!(events.take(), ["0 limit.changed timeout - = 20ms"]);
    let error = error_of(timeout.layer(ScriptedTool::pending()), call()).await;
    assert_eq!(support::timeout(&error), (TOTAL, 20, 20));
}
