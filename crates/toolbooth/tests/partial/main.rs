//! `PartialResultLayer`: what it keeps, within which bounds, and where it attaches it.

#[path = "../support/mod.rs"]
mod support;

mod bounds;
mod streams;

use support::laws::every_layer;
use support::{Outcomes, ScriptedTool, call, error_of, kept, ms, rest, stream_of, text_of, texts};
use toolbooth::{
    BoxError, CallContext, Outcome, PartialResultLayer, TimeoutLayer, ToolError, ToolOutput,
};
use tower::{Layer, ServiceExt};

every_layer!(PartialResultLayer::new());

/// The error of a tool that publishes, and fails.
async fn failing<F>(layer: PartialResultLayer, publish: F) -> ToolError
where
    F: Fn(&CallContext) + Send + Sync + 'static,
{
    let tool = ScriptedTool::new(move |call| {
        publish(call.context());
        std::future::ready(Err(BoxError::from("half way")))
    });
    error_of(layer.layer(tool), call()).await
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn emitted_items_are_attached_in_order() {
    let failed = failing(PartialResultLayer::new(), |context| {
        for item in ["a", "b", "c"] {
            context.emit(item);
        }
    })
    .await;
    assert_eq!(kept(&failed), (vec!["a", "b", "c"], 0, 0));
    assert_eq!(failed.partial().unwrap().snapshot(), None);
    assert_eq!(failed.to_string(), "the tool failed");
    let contents = failed.into_partial().unwrap().into_contents();
    assert_eq!(texts(&contents), ["a", "b", "c"]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn timeout_outside_or_inside_attaches_the_same() {
    let tool = || {
        ScriptedTool::new(async |call| {
            call.context().emit("half");
            call.context().snapshot("50 %");
            std::future::pending().await
        })
    };
    let (timeout, partial) = (TimeoutLayer::new(ms(300)), PartialResultLayer::new());
    let outside = error_of(timeout.layer(partial.layer(tool())), call()).await;
    let inside = error_of(partial.layer(timeout.layer(tool())), call()).await;
    assert_eq!(outside.partial(), inside.partial());
    let partial = outside.into_partial().unwrap();
    assert_eq!(texts(partial.contents()), ["half"]);
    assert_eq!(partial.snapshot(), Some(&"50 %".into()));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn last_snapshot_alone_is_a_partial_result() {
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
async fn nothing_published_attaches_nothing() {
    let failed = failing(PartialResultLayer::new(), |_| ()).await;
    assert_eq!(failed.partial(), None);
    assert_eq!(failed.into_partial(), None);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn success_carries_no_partial_result() {
    let tool = ScriptedTool::new(async |call| {
        call.context().emit("half");
        Ok(ToolOutput::text("complete"))
    });
    let call = call();
    let outcomes = Outcomes::of(call.context());
    let output = PartialResultLayer::new().layer(tool).oneshot(call).await;
    let output = output.unwrap();
    assert_eq!(output.meta(), None);
    let collected = output.collect().await.unwrap();
    assert_eq!(texts(collected.contents()), ["complete"]);
    assert_eq!(outcomes.all().await, [Outcome::Completed]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn layer_that_is_off_keeps_nothing() {
    let off = PartialResultLayer::off()
        .with_max_items(5)
        .with_max_bytes(5)
        .with_drop_oldest();
    let failed = failing(off, |context| context.emit("half")).await;
    assert_eq!(failed.partial(), None);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn partial_result_of_a_nested_call_stays_in_the_source() {
    let nested = failing(PartialResultLayer::new(), |context| context.emit("nested")).await;
    let failed = error_of(
        PartialResultLayer::new().layer(support::fails(nested)),
        call(),
    )
    .await;
    assert_eq!(failed.partial(), None);
    let source = std::error::Error::source(&failed).unwrap();
    let source = source.downcast_ref::<ToolError>().unwrap();
    assert_eq!(texts(source.partial().unwrap().contents()), ["nested"]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn running_tool_reads_what_is_kept_of_its_call() {
    let tool = ScriptedTool::new(async |call| {
        let context = call.context();
        assert_eq!(context.partial(), None);
        context.emit("a");
        let kept = context.partial().map(|partial| partial.contents().len());
        context.emit("b");
        Ok(ToolOutput::text(format!("{kept:?}")))
    });
    let service = PartialResultLayer::new().layer(tool);
    assert_eq!(text_of(service, call()).await, "Some(1)");
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn items_after_the_end_are_discarded() {
    for items in [&["half"][..], &[]] {
        let (sender, receiver) = std::sync::mpsc::channel();
        let failed = failing(PartialResultLayer::new(), move |context| {
            items.iter().for_each(|item| context.emit(*item));
            sender.send(context.clone()).unwrap();
        })
        .await;
        let context = receiver.recv().unwrap();
        for _ in 0..1_000 {
            context.emit("late");
            context.snapshot("late");
        }
        let partial = failed.into_partial();
        let contents = partial.iter().flat_map(|partial| partial.contents());
        assert_eq!(texts(contents), items);
        assert!(partial.iter().all(|partial| partial.snapshot().is_none()));
        assert_eq!(context.partial(), partial);
    }
}
