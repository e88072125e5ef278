//! Partial results: what is kept, how much of it, and what the error of a call takes along.

#[path = "../support/mod.rs"]
mod support;

mod bounds;
mod streams;

use support::laws::every_layer;
use support::{Count, Probe, call, error, ms, next, text, texts, told, tracked};
use toolbooth::{BoxError, CallContext, PartialResultLayer, TimeoutLayer, ToolError, ToolOutput};
use tower::{Layer, ServiceExt};

every_layer!(PartialResultLayer::new());

/// The error of a tool that publishes, and fails.
async fn failing<F>(layer: PartialResultLayer, publish: F) -> ToolError
where
    F: Fn(&CallContext) + Send + Sync + 'static,
{
    let tool = Probe::new(move |call| {
        publish(call.context());
        std::future::ready(Err(BoxError::from("half way")))
    });
    error(layer.layer(tool).oneshot(call()).await)
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn what_was_emitted_is_attached_in_order() {
    let failed = failing(PartialResultLayer::new(), |context| {
        for piece in ["a", "b", "c"] {
            context.emit(piece);
        }
    })
    .await;
    let partial = failed.partial().unwrap();
    assert_eq!(texts(partial.contents()), ["a", "b", "c"]);
    assert_eq!(
        (partial.dropped(), partial.delivered(), partial.snapshot()),
        (0, 0, None)
    );
    assert_eq!(failed.to_string(), "the tool failed");
    assert_eq!(
        texts(&failed.into_partial().unwrap().into_contents()),
        ["a", "b", "c"]
    );
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn timeout_outside_or_inside_attaches_the_same() {
    let tool = || {
        Probe::new(async |call| {
            call.context().emit("half");
            call.context().snapshot("50 %");
            std::future::pending().await
        })
    };
    let (timeout, partial) = (TimeoutLayer::new(ms(300)), PartialResultLayer::new());
    let outside = error(timeout.layer(partial.layer(tool())).oneshot(call()).await);
    let inside = error(partial.layer(timeout.layer(tool())).oneshot(call()).await);
    assert_eq!(outside.partial(), inside.partial());
    let partial = outside.into_partial().unwrap();
    assert_eq!(texts(partial.contents()), ["half"]);
    assert_eq!(partial.snapshot(), Some(&"50 %".into()));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn last_snapshot_wins_and_is_a_partial_of_its_own() {
    let failed = failing(PartialResultLayer::new(), |context| {
        context.snapshot("50 %");
        context.snapshot("90 %");
    })
    .await;
    let partial = failed.partial().unwrap();
    assert_eq!(partial.snapshot(), Some(&"90 %".into()));
    assert_eq!(partial.contents(), []);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn nothing_is_attached_where_nothing_was_published() {
    let failed = failing(PartialResultLayer::new(), |_| ()).await;
    assert_eq!(failed.partial(), None);
    assert_eq!(failed.into_partial(), None);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn nothing_is_attached_to_a_success() {
    let tool = Probe::new(async |call| {
        call.context().emit("half");
        Ok(ToolOutput::text("whole"))
    });
    let call = call();
    let told = told(call.context());
    let collected = PartialResultLayer::new()
        .layer(tool)
        .oneshot(call)
        .await
        .unwrap();
    assert_eq!(collected.meta(), None);
    let collected = collected.collect().await.unwrap();
    assert_eq!(texts(collected.contents()), ["whole"]);
    assert_eq!(told.outcomes().await, [toolbooth::Outcome::Completed]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn layer_that_is_off_keeps_nothing() {
    let off = PartialResultLayer::off()
        .with_max_items(5)
        .with_max_bytes(5)
        .with_drop_oldest();
    assert_eq!(
        failing(off, |context| context.emit("half")).await.partial(),
        None
    );
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn partial_that_a_tool_attached_itself_stays_where_the_call_has_none() {
    // A nested call's error, forwarded: what it had produced is in the source, and is not this call's.
    let nested = failing(PartialResultLayer::new(), |context| context.emit("nested")).await;
    let tool = Probe::new(move |_| std::future::ready(Err(nested.clone().into())));
    let failed = error(PartialResultLayer::new().layer(tool).oneshot(call()).await);
    assert_eq!(failed.partial(), None);
    let source = std::error::Error::source(&failed).unwrap();
    let source = source.downcast_ref::<ToolError>().unwrap();
    assert_eq!(texts(source.partial().unwrap().contents()), ["nested"]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn running_tool_reads_what_is_kept_of_its_call() {
    let tool = Probe::new(async |call| {
        let context = call.context();
        assert_eq!(context.partial(), None);
        context.emit("a");
        let kept = context.partial().map(|partial| partial.contents().len());
        context.emit("b");
        Ok(ToolOutput::text(format!("{kept:?}")))
    });
    let answer = PartialResultLayer::new().layer(tool).oneshot(call()).await;
    assert_eq!(text(answer).await, "Some(1)");
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn what_comes_after_the_end_goes_nowhere() {
    let (tell, context) = std::sync::mpsc::channel();
    let failed = failing(PartialResultLayer::new(), move |context| {
        context.emit("half");
        tell.send(context.clone()).unwrap();
    })
    .await;
    let context = context.recv().unwrap();
    for _ in 0..1_000 {
        context.emit("late");
        context.snapshot("late");
    }
    assert_eq!(texts(failed.partial().unwrap().contents()), ["half"]);
    assert_eq!(failed.partial().unwrap().snapshot(), None);
    assert_eq!(context.partial(), failed.into_partial());

    // Nor where nothing had been kept by the end.
    let (tell, context) = std::sync::mpsc::channel();
    let failed = failing(PartialResultLayer::new(), move |context| {
        tell.send(context.clone()).unwrap();
    })
    .await;
    let context = context.recv().unwrap();
    context.emit("late");
    assert_eq!((failed.partial(), context.partial()), (None, None));
}
