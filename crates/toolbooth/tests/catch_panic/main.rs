//! `CatchPanicLayer`: turns panics into errors with the partial result attached.

#[path = "../support/mod.rs"]
mod support;

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use support::events::EventLines;
use support::laws::every_layer;
use support::{Outcomes, ScriptedTool, call, error_of, ms, panic_text, texts};
use toolbooth::{
    CatchPanicLayer, CleanupLayer, ConcurrencyLimitLayer, ErrorKind, Outcome, PartialResultLayer,
    TimeoutLayer, ToolError,
};
use tower::util::{MapErrLayer, MapRequestLayer};
use tower::{Layer, ServiceBuilder, ServiceExt};

every_layer!(CatchPanicLayer::new(), catches panics);

mod off {
    use super::*;

    every_layer!(CatchPanicLayer::off());
}

/// Emits two items, and panics.
fn panics_after_two_items(panics: fn()) -> ScriptedTool {
    ScriptedTool::new(move |call| {
        call.context().emit("a");
        call.context().emit("b");
        async move {
            panics();
            std::future::pending().await
        }
    })
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn partial_result_is_attached_on_either_side_of_the_layer() {
    let (keeps, catches) = (PartialResultLayer::new(), CatchPanicLayer::new());
    let panics = || panics_after_two_items(|| panic!("{} of {}", 2, 3));
    let outside = keeps.layer(catches.layer(panics()));
    let inside = catches.layer(keeps.layer(panics()));
    for failed in [
        error_of(outside, call()).await,
        error_of(inside, call()).await,
    ] {
        assert_eq!(failed.to_string(), "the tool panicked: 2 of 3");
        assert_eq!(texts(failed.partial().unwrap().contents()), ["a", "b"]);
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn panic_with_a_payload_that_is_no_text_is_an_error() {
    let tool = panics_after_two_items(|| std::panic::panic_any(17));
    let failed = error_of(CatchPanicLayer::new().layer(tool), call()).await;
    assert_eq!(failed.kind(), ErrorKind::Panicked);
    assert_eq!(
        failed.to_string(),
        "the tool panicked: the panic message is not a string"
    );
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn layers_on_both_sides_release_their_permits_and_see_the_outcome() {
    let (outer, inner) = (ConcurrencyLimitLayer::new(1), ConcurrencyLimitLayer::new(1));
    let cleanup = CleanupLayer::new();
    let service = ServiceBuilder::new()
        .layer(outer.clone())
        .layer(TimeoutLayer::new(ms(10)))
        .layer(CatchPanicLayer::new())
        .layer(inner.clone())
        .layer(cleanup.clone())
        .service(ScriptedTool::panics_in_future());
    for _ in 0..3 {
        let call = call();
        let outcomes = Outcomes::of(call.context());
        assert_eq!(
            error_of(service.clone(), call).await.kind(),
            ErrorKind::Panicked
        );
        assert_eq!((outer.available(), inner.available()), (1, 1));
        assert_eq!(outcomes.all().await, [Outcome::Panicked]);
    }
    assert_eq!(cleanup.drain(ms(10)).await.ran, 3);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn panic_is_the_terminal_event_on_either_side_of_the_layer() {
    let events = EventLines::new();
    let catches = CatchPanicLayer::new;
    let tool = ScriptedTool::panics_in_future;
    let outside = events.layer().layer(catches().layer(tool()));
    error_of(outside, call().with_id("outside")).await;
    let inside = catches().layer(events.layer().layer(tool()));
    error_of(inside, call().with_id("inside")).await;
    assert_eq!(
        events.take(),
        [
            "0 outside tool.invoked",
            "0 outside tool.started",
            "0 outside tool.panicked",
            "0 inside tool.invoked",
            "0 inside tool.started",
            "0 inside tool.panicked",
        ]
    );
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn panic_of_a_foreign_layer_inside_is_caught() {
    let panics = MapRequestLayer::new(|_| -> toolbooth::ToolCall { panic!("mapping") });
    let service = CatchPanicLayer::new().layer(panics.layer(ScriptedTool::ready()));
    let failed = error_of(service, call()).await;
    assert_eq!(failed.to_string(), "the tool panicked: mapping");
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn panic_of_a_layer_outside_propagates() {
    let panics = MapErrLayer::new(|_: ToolError| -> ToolError { panic!("mapping") });
    let catches = CatchPanicLayer::new().layer(ScriptedTool::panics_in_future());
    let service = panics.layer(catches);
    let panic = AssertUnwindSafe(service.oneshot(call())).catch_unwind();
    assert_eq!(panic_text(panic.await), "mapping");
}
