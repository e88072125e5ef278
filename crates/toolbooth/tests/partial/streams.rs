//! Partial results of answers that come piece by piece.

use futures_util::StreamExt;
use toolbooth::{Content, Outcome, ToolCall};
use tower::ServiceBuilder;

use super::*;

/// Emits `e0`, streams `s0`, emits `e1`, streams `s1`, ...: so many pieces, and fails.
fn emits_and_streams(pieces: usize) -> Probe {
    Probe::new(move |call: ToolCall| {
        let context = call.context().clone();
        let stream = futures_util::stream::iter(0..=pieces).map(move |at| {
            if at == pieces {
                return Err(BoxError::from("half way"));
            }
            context.emit(format!("e{at}"));
            Ok(Content::from(format!("s{at}")))
        });
        std::future::ready(Ok(tracked(&Count::default(), stream)))
    })
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn emitted_and_streamed_pieces_share_one_order_and_the_error_says_what_was_delivered() {
    let service = PartialResultLayer::new().layer(emits_and_streams(3));
    let mut stream = service.oneshot(call()).await.unwrap().into_stream();
    for piece in ["s0", "s1", "s2"] {
        assert_eq!(next(&mut stream).await.unwrap().unwrap(), piece);
    }
    let failed = next(&mut stream).await.unwrap().unwrap_err();
    let partial = failed.partial().unwrap();
    assert_eq!(
        texts(partial.contents()),
        ["e0", "s0", "e1", "s1", "e2", "s2"]
    );
    assert_eq!((partial.delivered(), partial.dropped()), (3, 0));
    assert!(next(&mut stream).await.is_none());
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn collect_counts_nothing_twice() {
    let service = PartialResultLayer::new().layer(emits_and_streams(3));
    let failed = service
        .oneshot(call())
        .await
        .unwrap()
        .collect()
        .await
        .unwrap_err();
    let partial = failed.partial().unwrap();
    assert_eq!(
        texts(partial.contents()),
        ["e0", "s0", "e1", "s1", "e2", "s2"]
    );
    // What was collected is lost with the error: nobody has it but the partial result.
    assert_eq!(partial.delivered(), 0);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn collect_keeps_what_came_though_no_layer_does() {
    let service = TimeoutLayer::unlimited().layer(emits_and_streams(2));
    let failed = service
        .oneshot(call())
        .await
        .unwrap()
        .collect()
        .await
        .unwrap_err();
    let partial = failed.partial().unwrap();
    assert_eq!(texts(partial.contents()), ["s0", "s1"]);
    assert_eq!(partial.delivered(), 0);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn collect_of_more_than_the_bounds_is_no_less_than_what_was_collected() {
    let service = PartialResultLayer::new()
        .with_max_items(1)
        .layer(emits_and_streams(3));
    let failed = service
        .oneshot(call())
        .await
        .unwrap()
        .collect()
        .await
        .unwrap_err();
    let partial = failed.into_partial().unwrap();
    // Three pieces came through the hands of `collect`, so that it need not lose them.
    assert_eq!(texts(partial.contents()), ["s0", "s1", "s2"]);
    assert_eq!(partial.delivered(), 0);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn cut_stream_attaches_what_was_streamed_by_the_limit() {
    let tool = Probe::new(async |_| {
        Ok(support::ticking(
            &Count::default(),
            ms(200),
            ["0", "200", "400", "600"],
        ))
    });
    let stack = ServiceBuilder::new()
        .layer(TimeoutLayer::new(ms(500)))
        .layer(PartialResultLayer::new())
        .service(tool);
    let call = call();
    let told = told(call.context());
    let mut stream = stack.oneshot(call).await.unwrap().into_stream();
    for piece in ["0", "200", "400"] {
        assert_eq!(next(&mut stream).await.unwrap().unwrap(), piece);
    }
    let struck = next(&mut stream).await.unwrap().unwrap_err();
    let partial = struck.partial().unwrap();
    assert_eq!(texts(partial.contents()), ["0", "200", "400"]);
    assert_eq!(partial.delivered(), 3);
    assert_eq!(told.ends().await, [(Outcome::TimedOut, 3)]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn two_layers_keep_each_piece_once() {
    let stack =
        PartialResultLayer::new().layer(PartialResultLayer::new().layer(emits_and_streams(2)));
    let mut stream = stack.oneshot(call()).await.unwrap().into_stream();
    for piece in ["s0", "s1"] {
        assert_eq!(next(&mut stream).await.unwrap().unwrap(), piece);
    }
    let failed = next(&mut stream).await.unwrap().unwrap_err();
    let partial = failed.partial().unwrap();
    assert_eq!(texts(partial.contents()), ["e0", "s0", "e1", "s1"]);
    assert_eq!(partial.delivered(), 2);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn completed_stream_attaches_nothing_and_tells_its_hooks_nothing() {
    let tool = Probe::new(async |_| Ok(support::ticking(&Count::default(), ms(1), ["a", "b"])));
    let call = call();
    let told = told(call.context());
    let answer = PartialResultLayer::new().layer(tool).oneshot(call).await;
    assert_eq!(text(answer).await, "ab");
    assert_eq!(told.ends().await, [(Outcome::Completed, 0)]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn hook_registered_after_a_success_is_told_nothing() {
    let tool = Probe::new(async |_| Ok(support::ticking(&Count::default(), ms(1), ["a", "b"])));
    let call = call();
    let context = call.context().clone();
    let answer = PartialResultLayer::new().layer(tool).oneshot(call).await;
    assert_eq!(text(answer).await, "ab");
    assert_eq!(told(&context).ends().await, [(Outcome::Completed, 0)]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn streamed_pieces_beyond_the_bounds_are_delivered_and_not_kept() {
    let service = PartialResultLayer::new()
        .with_max_items(2)
        .layer(emits_and_streams(5));
    let mut stream = service.oneshot(call()).await.unwrap().into_stream();
    let mut delivered = 0;
    let failed = loop {
        match next(&mut stream).await.unwrap() {
            Ok(_) => delivered += 1,
            Err(error) => break error,
        }
    };
    let partial = failed.partial().unwrap();
    assert_eq!(texts(partial.contents()), ["e0", "s0"]);
    assert_eq!(
        (delivered, partial.delivered(), partial.dropped()),
        (5, 5, 8)
    );
}
