//! Contents in events: only for sinks that want them, and shared.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use toolbooth::events::{EventsLayer, WithContents, channel};
use toolbooth::{Event, EventKind, EventSink, ToolCall, ToolOutput, ToolRequest};
use tower::Layer;

use crate::support::{ScriptedTool, text_of};

fn done() -> ScriptedTool {
    ScriptedTool::new(|_| async { Ok(ToolOutput::text("done")) })
}

/// Returns the arguments and the contents that a sink received.
async fn seen(wants: bool, call: ToolCall) -> (Vec<Option<Arc<Value>>>, Vec<usize>) {
    let seen = Arc::new(Mutex::new((Vec::new(), Vec::new())));
    let sink = {
        let seen = Arc::clone(&seen);
        move |event: &Event| match &event.kind {
            EventKind::Invoked { arguments, .. } => seen
                .lock()
                .expect("no panic under it")
                .0
                .push(arguments.clone()),
            EventKind::Completed { contents, .. } => {
                let contents = contents.iter().map(|contents| contents.len());
                seen.lock().expect("no panic under it").1.extend(contents);
            }
            _ => {}
        }
    };
    let layer = match wants {
        true => EventsLayer::new(WithContents::new(sink)),
        false => EventsLayer::new(sink),
    };
    text_of(layer.layer(done()), call).await;
    let seen = seen.lock().expect("no panic under it");
    seen.clone()
}

#[tokio::test(start_paused = true)]
async fn sink_receives_contents_only_if_it_wants_them() {
    let call = ToolCall::new("tool", json!({ "pattern": "TODO" }));
    let arguments = call.shared_args();
    assert_eq!(seen(false, call.clone()).await, (vec![None], vec![]));
    let (received, contents) = seen(true, call).await;
    assert!(matches!(&received[..], [Some(shared)] if Arc::ptr_eq(shared, &arguments)));
    assert_eq!(contents, [1]);
}

/// One sink that wants contents gives none to the others of the layer.
#[tokio::test(start_paused = true)]
async fn wanting_contents_is_the_setting_of_each_sink() {
    let (plain, mut plain_events) = channel(9);
    let (full, mut full_events) = channel(9);
    let full = WithContents::new(full);
    assert_eq!(
        (full.wants_contents(), plain.wants_contents()),
        (true, false)
    );
    let layer = EventsLayer::new(plain).with_sink(full);
    text_of(layer.layer(done()), ToolCall::new("tool", json!(7))).await;
    let mut arguments = Vec::new();
    for events in [&mut plain_events, &mut full_events] {
        let Some(EventKind::Invoked {
            arguments: received,
            ..
        }) = events.recv().await.map(|event| event.kind)
        else {
            panic!("invoked first");
        };
        arguments.push(received.as_deref().cloned());
    }
    assert_eq!(arguments, [None, Some(json!(7))]);
}

/// Arguments of another type are not known, and stay where they are.
#[test]
fn only_arguments_of_json_are_known() {
    assert_eq!(
        ToolCall::new("tool", json!(7)).arguments().as_deref(),
        Some(&json!(7))
    );
    assert_eq!(ToolCall::new("tool", 7).arguments(), None);
    assert_eq!(ToolCall::new("tool", String::from("7")).arguments(), None);
    let request = http::Request::new(json!(7));
    assert_eq!(request.arguments(), None);
}
