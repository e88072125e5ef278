//! Panics as errors: wherever one comes from, what was kept goes along, and nothing of it passes.

#[path = "../support/mod.rs"]
mod support;

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use support::laws::{every_layer, panicked};
use support::{Probe, call, error, ms, texts, told};
use toolbooth::{
    CatchPanicLayer, CleanupLayer, ConcurrencyLimitLayer, ErrorKind, Outcome, PartialResultLayer,
    TimeoutLayer, ToolError,
};
use tower::{Layer, ServiceBuilder, ServiceExt};

every_layer!(CatchPanicLayer::new(), which contains panics);

mod off {
    use super::*;

    every_layer!(CatchPanicLayer::off());
}

/// Publishes two pieces, and panics with `text`.
fn panics_after_two(text: fn()) -> Probe {
    Probe::new(move |call| {
        call.context().emit("a");
        call.context().emit("b");
        async move {
            text();
            std::future::pending().await
        }
    })
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn what_was_kept_is_in_the_error_wherever_it_is_caught() {
    let keeps = PartialResultLayer::new();
    let catches = CatchPanicLayer::new();
    let panics = || panics_after_two(|| panic!("{} of {}", 2, 3));
    let outside = keeps.layer(catches.layer(panics()));
    let inside = catches.layer(keeps.layer(panics()));
    let errors = [outside.oneshot(call()).await, inside.oneshot(call()).await];
    for failed in errors.map(error) {
        assert_eq!(failed.to_string(), "the tool panicked: 2 of 3");
        assert_eq!(texts(failed.partial().unwrap().contents()), ["a", "b"]);
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn panic_that_is_no_text_is_an_error_all_the_same() {
    let tool = panics_after_two(|| std::panic::panic_any(17));
    let failed = error(CatchPanicLayer::new().layer(tool).oneshot(call()).await);
    assert_eq!(
        (failed.kind(), failed.to_string().as_str()),
        (
            ErrorKind::Panicked,
            "the tool panicked: the panic message is not a string"
        )
    );
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn layers_on_both_sides_give_back_what_they_took_and_see_a_panic() {
    let (outer, inner) = (ConcurrencyLimitLayer::new(1), ConcurrencyLimitLayer::new(1));
    let cleanup = CleanupLayer::new();
    let service = ServiceBuilder::new()
        .layer(outer.clone())
        .layer(TimeoutLayer::new(ms(10)))
        .layer(CatchPanicLayer::new())
        .layer(inner.clone())
        .layer(cleanup.clone())
        .service(Probe::panics_in_work());
    for _ in 0..3 {
        let call = call();
        let outcomes = told(call.context());
        let failed = error(service.clone().oneshot(call).await);
        assert_eq!(failed.kind(), ErrorKind::Panicked);
        assert_eq!((outer.available(), inner.available()), (1, 1));
        assert_eq!(outcomes.outcomes().await, [Outcome::Panicked]);
    }
    assert_eq!(cleanup.drain(ms(10)).await.ran, 3);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn panic_of_a_foreign_layer_inside_is_caught() {
    let panics =
        tower::util::MapRequestLayer::new(|_| -> toolbooth::ToolCall { panic!("mapping") });
    let service = CatchPanicLayer::new().layer(panics.layer(Probe::ready()));
    let failed = error(service.oneshot(call()).await);
    assert_eq!(failed.to_string(), "the tool panicked: mapping");
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn panic_outside_of_it_passes() {
    let panics = tower::util::MapErrLayer::new(|_: ToolError| -> ToolError { panic!("mapping") });
    let service = panics.layer(CatchPanicLayer::new().layer(Probe::panics_in_work()));
    let panic = AssertUnwindSafe(service.oneshot(call()))
        .catch_unwind()
        .await;
    assert_eq!(panicked(panic), "mapping");
}
