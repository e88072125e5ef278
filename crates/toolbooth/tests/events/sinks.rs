//! What sinks may do, and which events each of them receives.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures_util::FutureExt;
use support::takes;
use toolbooth::events::channel;
use toolbooth_test::{BoxTool, boxed};

use super::*;

const PASSED: [&str; 3] = ["tool.invoked", "tool.started", "tool.completed"];

#[tokio::test(start_paused = true)]
async fn full_channel_drops_and_counts_and_slows_nothing() {
    let (sink, mut events) = channel(4);
    let stack = EventsLayer::new(sink).layer(takes(ms(10)));
    let start = tokio::time::Instant::now();
    for _ in 0..3 {
        assert_eq!(text_of(stack.clone(), call()).await, "done");
    }
    assert_eq!(start.elapsed(), ms(30));
    assert_eq!(events.dropped(), 5);
    let received = std::iter::from_fn(|| events.try_recv());
    let names: Vec<_> = received.map(|event| event.name()).collect();
    assert_eq!(names, [PASSED[0], PASSED[1], PASSED[2], PASSED[0]]);

    // There is room again.
    text_of(stack, call()).await;
    assert_eq!(
        events.recv().await.map(|event| event.name()),
        Some(PASSED[0])
    );
    assert_eq!(events.dropped(), 5);
}

#[tokio::test(start_paused = true)]
async fn channel_without_a_receiver_counts_nothing() {
    let (sink, events) = channel(1);
    drop(events);
    let debug = format!("{:?}", sink.clone());
    text_of(EventsLayer::new(sink.clone()).layer(takes(ms(10))), call()).await;
    assert_eq!(format!("{sink:?}"), debug);
}

#[tokio::test(start_paused = true)]
async fn panic_of_a_sink_touches_neither_the_call_nor_other_sinks() {
    let events = Recorder::new();
    let layer = EventsLayer::new(|event: &Event| panic!("{}", event.name()));
    let stack = layer
        .with_sink(events.sink())
        .layer(ScriptedTool::new(|call| async move {
            call.context().emit("a");
            Ok(ToolOutput::text("done"))
        }));
    assert_eq!(text_of(stack, call()).await, "done");
    let names = [
        "tool.invoked",
        "tool.started",
        "tool.first_item",
        "tool.partial",
        "tool.completed",
    ];
    assert_eq!(events.names(), names);
}

#[tokio::test(start_paused = true)]
async fn sink_may_call_the_stack_that_it_observes() {
    let (stack, events) = (Arc::new(Mutex::new(None::<BoxTool>)), Recorder::new());
    let (inside, log) = (Arc::clone(&stack), events.clone());
    let limit = ConcurrencyLimitLayer::new(4);
    let layer = EventsLayer::new(move |event: &Event| {
        log.record((event.call_id.clone(), event.name()));
        if event.call_id.as_deref() == Some("outer") {
            let stack = inside.lock().unwrap().clone().unwrap();
            let response = stack.oneshot(call().with_id("inner")).now_or_never();
            assert!(response.expect("it is ready").is_ok());
        }
    });
    let tool = boxed(layer.layer(limit.layer(ScriptedTool::ready())));
    *stack.lock().unwrap() = Some(tool.clone());
    assert_eq!(text_of(tool, call().with_id("outer")).await, "done");
    let events = events.values();
    let of = |id| {
        let own = events
            .iter()
            .filter(|(call, _)| call.as_deref() == Some(id));
        own.map(|(_, name)| *name).collect::<Vec<_>>()
    };
    assert_eq!(of("outer"), PASSED);
    assert_eq!(of("inner"), [PASSED; 3].concat());
    assert_eq!((limit.in_flight(), limit.queued()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn sink_may_drop_the_last_handle_of_its_stack() {
    for at in PASSED {
        let (stack, events) = (Arc::new(Mutex::new(None::<BoxTool>)), Recorder::new());
        let (inside, sink) = (Arc::clone(&stack), events.clone());
        let layer = EventsLayer::new(move |event: &Event| {
            sink.record(event.name());
            if event.name() == at {
                drop(inside.lock().unwrap().take());
            }
        });
        let limit = ConcurrencyLimitLayer::new(1);
        *stack.lock().unwrap() = Some(boxed(layer.layer(limit.layer(takes(ms(10))))));
        drop(layer);
        let mut tool = stack.lock().unwrap().clone().unwrap();
        let response = tool.call(call());
        drop(tool);
        assert!(response.await.is_ok());
        assert!(stack.lock().unwrap().is_none());
        assert_eq!(events.values(), PASSED);
        assert_eq!(limit.available(), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn each_sink_of_a_layer_receives_streamed_items() {
    let (first, second) = (Recorder::new(), Recorder::new());
    let layer = EventsLayer::new(first.sink()).with_sink(second.sink());
    let (tool, _) = streams(|probe| ticking(probe, ms(10), ["a", "b"]));
    text_of(layer.layer(tool), call()).await;
    let names = [
        "tool.invoked",
        "tool.started",
        "tool.first_item",
        "tool.partial",
        "tool.partial",
        "tool.completed",
    ];
    assert_eq!(first.names(), names);
    assert_eq!(second.names(), names);
    assert_eq!(first.times(), [0, 0, 0, 0, 10, 10].map(ms));
}

/// A tool that emits an item, and then streams one.
fn emits_and_streams() -> ScriptedTool {
    ScriptedTool::new(|call: ToolCall| async move {
        call.context().emit("a");
        let items = futures_util::stream::iter([Ok::<_, ToolError>("b".into())]);
        Ok(ToolOutput::stream(items))
    })
}

#[tokio::test(start_paused = true)]
async fn sink_of_two_layers_receives_each_event_inside_once() {
    let (layer, events) = recorded();
    let stack = layer.layer(ConcurrencyLimitLayer::new(1).layer(layer.layer(emits_and_streams())));
    text_of(stack, call()).await;
    let names = [
        "tool.invoked",
        "tool.invoked",
        "tool.started",
        "tool.first_item",
        "tool.partial",
        "tool.partial",
        // Each pass has its own.
        "tool.completed",
        "tool.completed",
    ];
    assert_eq!(events.names(), names);
}

#[tokio::test(start_paused = true)]
async fn sinks_of_two_layers_receive_each_event_inside_of_theirs() {
    let ((outer, from_outer), (inner, from_inner)) = (recorded(), recorded());
    let stack = outer.layer(ConcurrencyLimitLayer::new(1).layer(inner.layer(emits_and_streams())));
    text_of(stack, call()).await;
    let names = [
        "tool.invoked",
        "tool.started",
        "tool.first_item",
        "tool.partial",
        "tool.partial",
        "tool.completed",
    ];
    assert_eq!(from_outer.names(), names);
    assert_eq!(from_inner.names(), names);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clones_on_two_threads_have_the_events_of_each_call_in_order() {
    const CALLS: usize = 1_000;
    let (layer, events) = recorded();
    let stack = boxed(layer.layer(ConcurrencyLimitLayer::new(4).layer(ScriptedTool::ready())));
    let callers = [(); 2].map(|()| {
        let stack = stack.clone();
        tokio::spawn(async move {
            for _ in 0..CALLS {
                text_of(stack.clone(), call()).await;
            }
        })
    });
    for caller in callers {
        caller.await.unwrap();
    }
    let mut calls = BTreeMap::<_, Vec<_>>::new();
    for event in events.values() {
        calls.entry(event.serial).or_default().push(event.name());
    }
    assert_eq!(calls.len(), 2 * CALLS);
    // Both callers fit into the limit: no call waits.
    assert!(calls.values().all(|names| *names == PASSED));
}
