//! Partial results of streaming responses.

use futures_util::StreamExt;
use toolbooth::{Content, ToolCall};

use super::support::{next_text, streaming, streams, ticking};
use super::*;

/// Emits `e0`, streams `s0`, emits `e1`, streams `s1`, ..., and fails after `items` items.
fn emits_and_streams(items: usize) -> ScriptedTool {
    ScriptedTool::new(move |call: ToolCall| {
        let context = call.context().clone();
        let stream = futures_util::stream::iter(0..=items).map(move |at| {
            if at == items {
                return Err("half way");
            }
            context.emit(format!("e{at}"));
            Ok(Content::from(format!("s{at}")))
        });
        std::future::ready(Ok(streaming(&support::Probe::new(), stream)))
    })
}

/// The error of collecting the response of a service.
async fn collect_error<S>(service: S) -> ToolError
where
    S: tower::Service<ToolCall, Response = ToolOutput, Error = ToolError>,
{
    let output = service.oneshot(call()).await.expect("a response");
    output.collect().await.expect_err("an error")
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn emitted_and_streamed_items_share_one_order_and_delivered_ones_are_counted() {
    let service = PartialResultLayer::new().layer(emits_and_streams(3));
    let mut stream = stream_of(service, call()).await;
    let (texts, failed) = rest(&mut stream).await;
    assert_eq!(texts, ["s0", "s1", "s2"]);
    let expected = vec!["e0", "s0", "e1", "s1", "e2", "s2"];
    assert_eq!(kept(&failed.unwrap()), (expected, 0, 3));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn collect_counts_nothing_twice() {
    let failed = collect_error(PartialResultLayer::new().layer(emits_and_streams(3))).await;
    // The items that `collect` had read are lost with the error, and count as not delivered.
    let expected = vec!["e0", "s0", "e1", "s1", "e2", "s2"];
    assert_eq!(kept(&failed), (expected, 0, 0));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn collect_keeps_the_items_it_read_without_a_layer_or_beyond_its_bounds() {
    let failed = collect_error(TimeoutLayer::unlimited().layer(emits_and_streams(2))).await;
    assert_eq!(kept(&failed), (vec!["s0", "s1"], 0, 0));

    let bounded = PartialResultLayer::new().with_max_items(1);
    let failed = collect_error(bounded.layer(emits_and_streams(3))).await;
    let partial = failed.into_partial().unwrap();
    assert_eq!(texts(partial.contents()), ["s0", "s1", "s2"]);
    assert_eq!(partial.delivered(), 0);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn expired_stream_attaches_what_was_streamed() {
    let (tool, _) = streams(|probe| ticking(probe, ms(200), ["0", "200", "400", "600"]));
    let stack = TimeoutLayer::new(ms(500)).layer(PartialResultLayer::new().layer(tool));
    let call = call();
    let outcomes = Outcomes::of(call.context());
    let (texts, expired) = rest(&mut stream_of(stack, call).await).await;
    assert_eq!(texts, ["0", "200", "400"]);
    assert_eq!(kept(&expired.unwrap()), (vec!["0", "200", "400"], 0, 3));
    assert_eq!(outcomes.with_partials().await, [(Outcome::TimedOut, 3)]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn two_layers_keep_each_item_once() {
    let inner = PartialResultLayer::new().layer(emits_and_streams(2));
    let mut stream = stream_of(PartialResultLayer::new().layer(inner), call()).await;
    let (_, failed) = rest(&mut stream).await;
    assert_eq!(kept(&failed.unwrap()), (vec!["e0", "s0", "e1", "s1"], 0, 2));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn hooks_of_a_completed_stream_get_no_partial_result() {
    let (tool, _) = streams(|probe| ticking(probe, ms(1), ["a", "b"]));
    let call = call();
    let context = call.context().clone();
    let before = Outcomes::of(&context);
    assert_eq!(
        text_of(PartialResultLayer::new().layer(tool), call).await,
        "ab"
    );
    assert_eq!(before.with_partials().await, [(Outcome::Completed, 0)]);
    let after = Outcomes::of(&context);
    assert_eq!(after.with_partials().await, [(Outcome::Completed, 0)]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn streamed_items_beyond_the_bounds_are_delivered_and_not_kept() {
    let bounded = PartialResultLayer::new().with_max_items(2);
    let mut stream = stream_of(bounded.layer(emits_and_streams(5)), call()).await;
    assert_eq!(next_text(&mut stream).await, "s0");
    let (texts, failed) = rest(&mut stream).await;
    assert_eq!(texts.len(), 4);
    assert_eq!(kept(&failed.unwrap()), (vec!["e0", "s0"], 8, 5));
}
