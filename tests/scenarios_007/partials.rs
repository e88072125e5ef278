//! Partial results (guarantees P1 to P3, P5 to P7).

use std::future::ready;

use toolbooth::PartialResultLayer;
use tower::retry::Retry;

use super::*;

/// P1, after a tool error and a drop. `report::streaming_tool_timeout` has it after a timeout.
#[tokio::test(start_paused = true)]
async fn failed_and_dropped_calls_keep_the_prefix_that_was_emitted() {
    let fails = StreamingTool::new(ms(200), 20).with_fail_on_chunk(7);
    let finished = finish(booth(ms(5_000)).wrap(fails), call("streaming")).await;
    assert_eq!(finished.error_kind(), Some(ErrorKind::Tool));
    assert_eq!(finished.at, ms(1_400));
    assert_eq!(contents(&finished), StreamingTool::chunks(7));
    // After a drop only the hooks receive it.
    let booth = booth(ms(5_000));
    let seen = Recorder::new();
    let hook = seen.clone();
    let call = call("streaming");
    call.context().on_cleanup_with(move |end| {
        let contents = end.partial().map(|partial| partial.contents().to_vec());
        hook.record((end.outcome(), contents));
        ready(())
    });
    let running = booth.wrap(StreamingTool::new(ms(200), 20)).oneshot(call);
    tokio::time::timeout(ms(499), running).await.unwrap_err();
    hooks_end(&booth).await;
    assert_eq!(
        seen.values(),
        [(Outcome::Cancelled, Some(StreamingTool::chunks(3)))]
    );
}

/// P1.
#[tokio::test(start_paused = true)]
async fn completed_call_has_the_whole_response_and_no_partial() {
    let booth = booth(ms(4_001));
    let seen = Recorder::new();
    let hook = seen.clone();
    let call = call("streaming");
    call.context().on_cleanup_with(move |end| {
        hook.record((end.outcome(), end.partial().is_some()));
        ready(())
    });
    let tool = booth.wrap(StreamingTool::new(ms(200), 20));
    let finished = finish(tool, call).await;
    assert_eq!(
        finished.result.unwrap().contents(),
        StreamingTool::chunks(20)
    );
    hooks_end(&booth).await;
    assert_eq!(seen.entries(), [(ms(4_000), (Outcome::Completed, false))]);
}

/// P1, control.
#[tokio::test(start_paused = true)]
async fn without_the_layer_there_is_no_partial() {
    let tool = TimeoutLayer::new(ms(1_999)).layer(StreamingTool::new(ms(200), 20));
    let finished = finish(boxed(tool), call("streaming")).await;
    assert_timed_out(&finished, ms(1_999));
    assert_eq!(partial(&finished), None);
}

/// P2.
#[tokio::test(start_paused = true)]
async fn stream_ends_with_one_error_that_counts_the_delivered_items() {
    let booth = booth(ms(1_999));
    let tool = booth.wrap(GeneratorTool::new(ms(500), 20));
    let mut items = tool.oneshot(call("generator")).await.unwrap().into_stream();
    for expected in GeneratorTool::items(4) {
        assert_eq!(items.next().await.unwrap().unwrap(), expected);
    }
    let error = items.next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    let partial = error.partial().unwrap();
    assert_eq!(partial.contents(), GeneratorTool::items(4));
    assert_eq!(partial.delivered(), 4);
    assert!(items.next().await.is_none());
}

/// P2.
#[tokio::test(start_paused = true)]
async fn collected_response_counts_no_item_twice() {
    let tool = booth(ms(1_999)).wrap(GeneratorTool::new(ms(500), 20));
    let finished = finish(tool, call("generator")).await;
    assert_timed_out(&finished, ms(1_999));
    assert_eq!(contents(&finished), GeneratorTool::items(4));
    assert_eq!(partial(&finished).map(Partial::delivered), Some(0));
}

/// P3.
#[tokio::test(start_paused = true)]
async fn partial_is_bounded_and_counts_what_it_dropped() {
    // Chunks of 7 bytes each, ten of them.
    let chunks = StreamingTool::chunks(10);
    for (layer, kept, dropped) in [
        (PartialResultLayer::new(), &chunks[..], 0),
        (PartialResultLayer::new().with_max_items(4), &chunks[..4], 6),
        (
            PartialResultLayer::new().with_max_bytes(30),
            &chunks[..4],
            6,
        ),
        (
            PartialResultLayer::new()
                .with_max_items(4)
                .with_drop_oldest(),
            &chunks[6..],
            6,
        ),
        (
            PartialResultLayer::new()
                .with_max_bytes(30)
                .with_drop_oldest(),
            &chunks[6..],
            6,
        ),
        (PartialResultLayer::new().with_max_items(0), &[], 10),
    ] {
        let booth = Layers {
            partial: layer,
            ..booth(ms(1_999))
        };
        let tool = booth.wrap(StreamingTool::new(ms(200), 20));
        let finished = finish(tool, call("streaming")).await;
        assert_timed_out(&finished, ms(1_999));
        assert_eq!(contents(&finished), kept);
        assert_eq!(partial(&finished).map(Partial::dropped), Some(dropped));
    }
}

/// P5.
#[tokio::test(start_paused = true)]
async fn error_at_chunk_k_keeps_the_chunks_before_it() {
    for k in [0, 1, 3, 10, 19] {
        let tool = StreamingTool::new(ms(200), 20).with_fail_on_chunk(k);
        let finished = finish(booth(ms(60_000)).wrap(tool), call("streaming")).await;
        // At chunk 0 there is no partial to attach.
        let error = finished.result.as_ref().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Tool);
        let source = std::error::Error::source(error).unwrap();
        assert_eq!(source.to_string(), format!("failed on chunk {k}"));
        assert_eq!(contents(&finished), StreamingTool::chunks(k));
        assert_eq!(partial(&finished).is_some(), k > 0);
    }
}

/// P6.
#[tokio::test(start_paused = true)]
async fn last_snapshot_wins() {
    let tool = tool_fn("index", async |call: CallContext, (): ()| {
        for done in 1..=100 {
            sleep(ms(100)).await;
            call.snapshot(json!({ "items_processed": done, "total_items": 100 }));
        }
        Ok::<_, Infallible>("indexed")
    });
    for (limit, done) in [
        (99, None),
        (101, Some(1)),
        (599, Some(5)),
        (9_999, Some(99)),
    ] {
        let finished = finish(booth(ms(limit)).wrap(tool.clone()), call("index")).await;
        assert_timed_out(&finished, ms(limit));
        let snapshot =
            done.map(|done| Content::from(json!({ "items_processed": done, "total_items": 100 })));
        assert_eq!(
            partial(&finished).and_then(Partial::snapshot),
            snapshot.as_ref()
        );
        assert_eq!(contents(&finished), []);
    }
}

/// P7.
#[tokio::test(start_paused = true)]
async fn partial_is_no_success_and_is_repeated_only_by_a_policy() {
    let tool = StreamingTool::new(ms(200), 20);
    let booth = booth(ms(499));
    let ends = Recorder::new();
    let once = call("streaming");
    once.context().on_cleanup(ends.hook());
    let finished = finish(booth.wrap(tool.clone()), once).await;
    hooks_end(&booth).await;
    assert_eq!(contents(&finished).len(), 3);
    assert_eq!(finished.error_kind(), Some(ErrorKind::Timeout));
    assert_eq!(ends.values(), [Outcome::TimedOut]);
    assert_eq!(tool.probe().started(), 1);

    // A retry repeats it, and it is still no success.
    let tool = StreamingTool::new(ms(200), 20);
    let retried = boxed(Retry::new(Retries::new(1), booth.wrap(tool.clone())));
    let finished = finish(retried, call("streaming")).await;
    assert_eq!(finished.at, ms(998));
    assert_eq!(finished.error_kind(), Some(ErrorKind::Timeout));
    assert_eq!(contents(&finished), StreamingTool::chunks(3));
    assert_eq!(tool.probe().started(), 2);
}
