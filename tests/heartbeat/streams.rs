//! Streams from end to end: who sets their pace, what comes through, and what becomes of a consumer that stalls.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{FutureExt, StreamExt};
use tokio::time::sleep;
use toolbooth::{CleanupLayer, ConcurrencyLimitLayer, ContentStream, stream_tool_fn};
use toolbooth_test::GeneratorTool;
use tower::ServiceBuilder;

use super::*;

/// Numbers that are always there, and how many were asked for.
fn numbers() -> (BoxTool, Arc<AtomicUsize>) {
    let made = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&made);
    let tool = stream_tool_fn("tool", move |_: CallContext, _: ()| {
        let made = Arc::clone(&counted);
        futures_util::stream::iter(0..).map(move |number: usize| {
            made.fetch_add(1, Ordering::SeqCst);
            Ok::<_, BoxError>(Content::from(number.to_string()))
        })
    });
    (BoxTool::new(tool), made)
}

/// All layers around it that follow a stream.
fn booth(timeout: &TimeoutLayer, permits: &ConcurrencyLimitLayer, tool: BoxTool) -> BoxTool {
    BoxTool::new(
        ServiceBuilder::new()
            .layer(timeout.clone())
            .layer(permits.clone())
            .layer(CleanupLayer::new())
            .layer(PartialResultLayer::new())
            .service(tool),
    )
}

async fn streamed(tool: BoxTool) -> ContentStream {
    tool.oneshot(call()).await.expect("a stream").into_stream()
}

#[tokio::test(start_paused = true)]
async fn the_consumer_sets_the_pace_and_nothing_is_made_ahead_of_it() {
    let (tool, made) = numbers();
    let limits = TimeoutLayer::new(ms(10_000)).with_idle(ms(200));
    let mut stream = streamed(booth(&limits, &ConcurrencyLimitLayer::new(1), tool)).await;
    for taken in 0..50 {
        assert_eq!(made.load(Ordering::SeqCst), taken);
        let piece = stream.next().await.unwrap().unwrap();
        assert_eq!(piece.as_text(), Some(taken.to_string().as_str()));
        sleep(ms(150)).await;
    }
    assert_eq!(made.load(Ordering::SeqCst), 50);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_pieces_come_in_order_once_each() {
    let tool = BoxTool::new(stream_tool_fn("tool", |_: CallContext, _: ()| {
        futures_util::stream::iter(0..10_000).then(|number: usize| async move {
            // Ready at once, after a turn of the scheduler, and after a wait.
            match number % 3 {
                0 => {}
                1 => tokio::task::yield_now().await,
                _ => sleep(ms(1)).await,
            }
            Ok::<_, BoxError>(Content::from(number.to_string()))
        })
    }));
    let limits = TimeoutLayer::new(ms(60_000)).with_idle(ms(2));
    let stream = streamed(booth(&limits, &ConcurrencyLimitLayer::new(1), tool)).await;
    let pieces: Vec<_> = stream.map(Result::unwrap).collect().await;
    let expected: Vec<_> = (0..10_000)
        .map(|n: usize| Content::from(n.to_string()))
        .collect();
    assert_eq!(pieces, expected);
}

#[tokio::test(start_paused = true)]
async fn a_stalled_consumer_does_not_hold_the_permit_past_the_limit() {
    for (limits, scope, at) in [
        (TimeoutLayer::new(ms(1_000)), TOTAL, 1_000),
        (TimeoutLayer::new(ms(1_000)).with_idle(ms(300)), IDLE, 300),
        (
            TimeoutLayer::unlimited().with_first_item(ms(400)),
            FIRST_ITEM,
            400,
        ),
    ] {
        let taken = usize::from(scope != FIRST_ITEM);
        // One that has pieces all the time, and one that has none any more.
        let (endless, made) = numbers();
        let empty = BoxTool::new(GeneratorTool::new(ms(60_000), 2));
        for tool in [endless, empty] {
            let permits = ConcurrencyLimitLayer::new(1);
            let watch = Stopwatch::start();
            let mut stream = streamed(booth(&limits, &permits, tool)).await;
            for _ in 0..taken {
                stream.next().await.unwrap().unwrap();
            }
            // Here it stalls.
            watch.until(ms(at - 1)).await;
            assert_eq!(permits.available(), 0, "{scope}");
            watch.until(ms(at)).await;
            tokio::task::yield_now().await;
            assert_eq!(permits.available(), 1, "{scope}");

            // A minute later it finds what was ready then, and the error.
            watch.until(ms(60_000)).await;
            let mut rest: Vec<_> = stream.collect().await;
            let error = rest.pop().unwrap().unwrap_err();
            let at = u128::from(at);
            assert_eq!(scope_of(&error), (scope, at, at));
            assert!(rest.len() <= 1);
            let partial = error.partial().unwrap();
            assert_eq!(partial.delivered(), (taken + rest.len()) as u64);
            assert_eq!(partial.contents().len(), taken + rest.len());
        }
        // Nothing was made ahead but the one piece that was ready at the limit.
        assert_eq!(made.load(Ordering::SeqCst), taken + 1);
    }
}

/// It waits for the next piece as the limit comes, and the piece comes with it.
#[tokio::test(start_paused = true)]
async fn a_piece_at_the_idle_limit_counts_for_a_consumer_that_waits_for_it() {
    let tool = BoxTool::new(GeneratorTool::new(ms(200), 20));
    let permits = ConcurrencyLimitLayer::new(1);
    let stream = streamed(booth(&idle(200), &permits, tool.clone())).await;
    let pieces: Vec<_> = stream.map(Result::unwrap).collect().await;
    assert_eq!(pieces, GeneratorTool::items(20));

    // One that asked once and does not come back for it is cut at the next limit; the piece is still there.
    let mut stream = streamed(booth(&idle(200), &permits, tool)).await;
    let watch = Stopwatch::start();
    assert!(stream.next().await.unwrap().is_ok());
    assert!(stream.next().now_or_never().is_none());
    watch.until(ms(399)).await;
    assert_eq!(permits.available(), 0);
    watch.until(ms(401)).await;
    assert_eq!(permits.available(), 1);
    let rest: Vec<_> = stream.collect().await;
    assert_eq!(rest[0].as_ref().unwrap(), &GeneratorTool::items(2)[1]);
    assert_eq!(scope_of(rest[1].as_ref().unwrap_err()), (IDLE, 200, 400));
    assert_eq!(rest.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn behind_the_limit_no_piece_comes_even_of_a_stream_that_is_always_ready() {
    for (limits, scope) in [
        (TimeoutLayer::new(ms(100)), TOTAL),
        (TimeoutLayer::new(ms(100)).with_idle(ms(10)), TOTAL),
        (TimeoutLayer::unlimited().with_idle(ms(0)), IDLE),
    ] {
        let (tool, made) = numbers();
        let mut stream = streamed(kept(&limits, tool)).await;
        let mut pieces = 0;
        let error = loop {
            match stream.next().await.unwrap() {
                Ok(_) => pieces += 1,
                Err(error) => break error,
            }
            if pieces % 10 == 0 {
                tokio::time::advance(ms(1)).await;
            }
        };
        assert_eq!(scope_of(&error).0, scope);
        assert_eq!(pieces, made.load(Ordering::SeqCst));
        assert_eq!(error.partial().unwrap().delivered(), pieces as u64);
        assert!(stream.next().await.is_none());
        assert!(stream.next().await.is_none());
    }
}

/// What is emitted beside a stream keeps it alive as well.
#[tokio::test(start_paused = true)]
async fn a_stream_that_gives_nothing_is_kept_alive_by_beats() {
    let tool = tool(|call| async move {
        let beats = futures_util::stream::unfold(call, |call| async move {
            for _ in 0..9 {
                call.heartbeat();
                sleep(ms(100)).await;
            }
            Some((Ok::<_, BoxError>(Content::from("piece")), call))
        });
        Ok(ToolOutput::stream(beats.take(2)))
    });
    assert_eq!(
        ended(idle(101).layer(tool.clone()), call()).await,
        ok(1_800)
    );
    assert_eq!(
        ended(idle(99).layer(tool), call()).await,
        struck(IDLE, 99, 99)
    );
}

/// The two views: item by item with a terminal error, and collected.
#[tokio::test(start_paused = true)]
async fn p2_both_views_of_a_stream_that_went_idle() {
    let hangs = || {
        let pieces = futures_util::stream::iter(["a", "b", "c"]);
        let pieces = pieces.map(|piece| Ok::<_, BoxError>(Content::from(piece)));
        let output = pieces.chain(futures_util::stream::pending());
        let output = std::sync::Mutex::new(Some(ToolOutput::stream(output)));
        let output = Arc::new(output);
        tool(move |_| {
            let output = output.lock().expect("no panic under it").take();
            async move { output.ok_or_else(|| "called twice".into()) }
        })
    };
    let stream = streamed(kept(&idle(300), hangs())).await;
    let mut items: Vec<_> = stream.collect().await;
    let error = items.pop().unwrap().unwrap_err();
    assert_eq!(items.len(), 3);
    let partial = error.partial().unwrap();
    assert_eq!(
        (texts(partial.contents()).len(), partial.delivered()),
        (3, 3)
    );

    let error = collected(kept(&idle(300), hangs()), call())
        .await
        .unwrap_err();
    assert_eq!(scope_of(&error), (IDLE, 300, 300));
    let partial = error.partial().unwrap();
    assert_eq!(texts(partial.contents()), ["a", "b", "c"]);
    assert_eq!(partial.delivered(), 0);
}
