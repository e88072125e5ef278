//! Streams under limits: their pace, their items, and consumers that stall.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{FutureExt, StreamExt};
use tokio::time::sleep;
use toolbooth::{CleanupLayer, ConcurrencyLimitLayer, ContentStream, stream_tool_fn};
use toolbooth_test::GeneratorTool;
use tower::ServiceBuilder;

use super::*;

/// A stream of numbers that is always ready, and how many items it has yielded.
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
    (boxed(tool), made)
}

/// All layers that follow a stream.
fn booth(timeout: &TimeoutLayer, permits: &ConcurrencyLimitLayer, tool: BoxTool) -> BoxTool {
    boxed(
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
async fn consumer_sets_the_pace_and_no_item_is_buffered() {
    let (tool, made) = numbers();
    let limits = TimeoutLayer::new(ms(10_000)).with_idle(ms(200));
    let mut stream = streamed(booth(&limits, &ConcurrencyLimitLayer::new(1), tool)).await;
    for taken in 0..50 {
        assert_eq!(made.load(Ordering::SeqCst), taken);
        let item = stream.next().await.unwrap().unwrap();
        assert_eq!(item.as_text(), Some(taken.to_string().as_str()));
        sleep(ms(150)).await;
    }
    assert_eq!(made.load(Ordering::SeqCst), 50);
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_items_arrive_in_order_once_each() {
    let tool = boxed(stream_tool_fn("tool", |_: CallContext, _: ()| {
        futures_util::stream::iter(0..10_000).then(|number: usize| async move {
            // Ready at once, after a yield, and after a sleep.
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
    let items: Vec<_> = stream.map(Result::unwrap).collect().await;
    let expected: Vec<_> = (0..10_000)
        .map(|n: usize| Content::from(n.to_string()))
        .collect();
    assert_eq!(items, expected);
}

#[tokio::test(start_paused = true)]
async fn stalled_consumer_does_not_hold_the_permit_past_the_limit() {
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
        // A stream that is always ready, and one that has no further item.
        let (endless, made) = numbers();
        let empty = boxed(GeneratorTool::new(ms(60_000), 2));
        for tool in [endless, empty] {
            let permits = ConcurrencyLimitLayer::new(1);
            let watch = Stopwatch::start();
            let mut stream = streamed(booth(&limits, &permits, tool)).await;
            for _ in 0..taken {
                stream.next().await.unwrap().unwrap();
            }
            // The consumer stalls.
            watch.until(ms(at - 1)).await;
            assert_eq!(permits.available(), 0, "{scope}");
            watch.until(ms(at)).await;
            tokio::task::yield_now().await;
            assert_eq!(permits.available(), 1, "{scope}");

            // A minute later it reads the item that was ready, and the error.
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
        // Only the item that was ready at the limit was buffered.
        assert_eq!(made.load(Ordering::SeqCst), taken + 1);
    }
}

/// The item arrives at the instant of the limit.
#[tokio::test(start_paused = true)]
async fn item_at_the_idle_limit_counts_for_a_waiting_consumer() {
    let tool = boxed(GeneratorTool::new(ms(200), 20));
    let permits = ConcurrencyLimitLayer::new(1);
    let stream = streamed(booth(&idle(200), &permits, tool.clone())).await;
    let items: Vec<_> = stream.map(Result::unwrap).collect().await;
    assert_eq!(items, GeneratorTool::items(20));

    // A consumer that polled once gets that item, although the next limit expires.
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
async fn beats_reset_the_idle_limit_of_a_stream_without_items() {
    let tool = tool(|call| async move {
        let beats = futures_util::stream::unfold(call, |call| async move {
            for _ in 0..9 {
                call.heartbeat();
                sleep(ms(100)).await;
            }
            Some((Ok::<_, BoxError>(Content::from("item")), call))
        });
        Ok(ToolOutput::stream(beats.take(2)))
    });
    assert_eq!(
        ended(idle(101).layer(tool.clone()), call()).await,
        ok(1_800)
    );
    assert_eq!(
        ended(idle(99).layer(tool), call()).await,
        expired(IDLE, 99, 99)
    );
}

/// P2: item by item with a terminal error, and collected.
#[tokio::test(start_paused = true)]
async fn both_views_of_a_stream_that_became_idle() {
    let hangs = || {
        let items = futures_util::stream::iter(["a", "b", "c"]);
        let items = items.map(|item| Ok::<_, BoxError>(Content::from(item)));
        let output = items.chain(futures_util::stream::pending());
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
