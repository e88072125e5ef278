//! Changing the limits of a layer: `with_*` before it is shared, `set_*` while it is in use.

use serde_json::json;
use tokio::time::sleep;
use toolbooth::{PerTool, ToolError};

use super::*;

/// The limit that a call of `tool` through the service meets, in milliseconds.
async fn limit_of<S>(service: &S, tool: &'static str) -> u128
where
    S: Service<ToolCall, Response = ToolOutput, Error = ToolError> + Clone,
{
    let call = ToolCall::new(tool, json!(null));
    timeout(&error(service.clone().oneshot(call).await)).1
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn set_limit_applies_to_later_calls_of_all_clones_and_services() {
    let layer = TimeoutLayer::new(PerTool::new(ms(1_000)).with("file", ms(2_000)));
    let service = layer.layer(ScriptedTool::pending());
    let running = tokio::spawn(service.clone().oneshot(call()));
    sleep(ms(500)).await;

    layer.clone().set_limit(ms(100));
    assert_eq!(limit_of(&service, "tool").await, 100);
    assert_eq!(
        limit_of(&layer.layer(ScriptedTool::pending()), "tool").await,
        100
    );
    assert_eq!(limit_of(&service, "file").await, 2_000);
    let running = running.await.expect("it does not panic");
    assert_eq!(timeout(&error(running)), (TOTAL, 1_000, 1_000));

    layer.set_limit_for("file", ms(50));
    assert_eq!(limit_of(&service, "file").await, 50);
    assert_eq!(limit_of(&service, "tool").await, 100);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn set_limit_to_none_removes_the_limit_and_an_unlimited_layer_can_get_one() {
    let layer = TimeoutLayer::unlimited();
    let service = layer.layer(ScriptedTool::pending());
    layer.set_limit(ms(100));
    assert_eq!(limit_of(&service, "tool").await, 100);
    layer.set_limit_for("tool", None);
    let unlimited = service.clone().oneshot(call().with_timeout(ms(700)));
    assert_eq!(timeout(&error(unlimited.await)).1, 700, "the call's own");
    assert_eq!(limit_of(&service, "file").await, 100);
    layer.set_limit(None);
    let endless = tokio::time::timeout(ms(3_600_000), service.oneshot(call()));
    assert!(endless.await.is_err());
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn with_methods_leave_an_earlier_clone_as_it_is() {
    let plain = TimeoutLayer::new(ms(1_000));
    let idle = plain.clone().with_idle(ms(100));
    assert_eq!(
        limit_of(&plain.layer(ScriptedTool::pending()), "tool").await,
        1_000
    );
    assert_eq!(
        limit_of(&idle.layer(ScriptedTool::pending()), "tool").await,
        100
    );
}

/// A configured copy is a layer of its own: it starts from the limits of that moment.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn configured_copy_takes_the_changed_limits_along_and_changes_alone() {
    let first = TimeoutLayer::new(ms(1_000));
    first.set_limit(ms(300));
    let copy = first.clone().with_grace(ms(1));
    copy.set_limit_for("file", ms(20));
    assert_eq!(
        limit_of(&copy.layer(ScriptedTool::pending()), "tool").await,
        300
    );
    assert_eq!(
        limit_of(&first.layer(ScriptedTool::pending()), "file").await,
        300
    );
    assert_eq!(
        limit_of(&copy.layer(ScriptedTool::pending()), "file").await,
        20
    );
}
