//! Streaming responses end at the end of the grace, whether or not their consumers poll.

use futures_util::StreamExt;
use support::{next, next_text, rest, stream_of, ticking};
use toolbooth::{BoxError, Content};

use super::*;

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn stream_is_in_flight_to_its_last_item() {
    let shutdown = ShutdownLayer::new();
    let (tool, probe) = streams(|probe| ticking(probe, ms(10), ["a", "b"]));
    let mut stream = stream_of(shutdown.layer(tool), call()).await;
    assert_eq!(next_text(&mut stream).await, "a");
    assert_eq!(shutdown.in_flight(), 1);
    let reading = tokio::spawn(async move { rest(&mut stream).await });
    let start = Instant::now();
    assert_eq!(
        shut_down(&shutdown, MINUTE, MINUTE).await,
        Counts::calls(1, 0)
    );
    assert_eq!((start.elapsed(), probe.running()), (ms(10), 0));
    let (texts, error) = reading.await.expect("no panic");
    assert_eq!((texts, error.is_none()), (vec!["b".to_owned()], true));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn stream_ends_with_the_error_at_the_end_of_the_grace() {
    let shutdown = ShutdownLayer::new();
    let (tool, probe) = streams(|probe| ticking(probe, ms(100), ["a", "b", "c", "d"]));
    let call = call();
    let outcomes = Outcomes::of(call.context());
    let mut stream = stream_of(shutdown.layer(tool), call).await;
    let reading = tokio::spawn(async move { rest(&mut stream).await });
    let report = shut_down(&shutdown, ms(250), MINUTE).await;
    assert_eq!(report, Counts::calls(0, 1).with_hooks(1, 0, 0));
    assert_eq!(probe.running(), 0);
    let (texts, error) = reading.await.expect("no panic");
    assert_eq!(texts, ["a", "b", "c"]);
    let reason = cancel_reason(&error.expect("an error"));
    assert_eq!(reason, Some(CancelReason::Shutdown));
    assert_eq!(outcomes.all().await, [Outcome::Cancelled]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn stream_of_a_stalled_consumer_is_dropped_and_the_error_kept_for_it() {
    let shutdown = ShutdownLayer::new();
    let (tool, probe) = streams(|probe| ticking(probe, ms(100), ["a", "b"]));
    let mut stream = stream_of(shutdown.layer(tool), call()).await;
    assert_eq!(next_text(&mut stream).await, "a");
    let start = Instant::now();
    assert_eq!(
        shut_down(&shutdown, ms(50), MINUTE).await,
        Counts::calls(0, 1)
    );
    assert_eq!((start.elapsed(), probe.running()), (ms(50), 0));
    let error = next(&mut stream)
        .await
        .expect("an item")
        .expect_err("an error");
    assert_eq!(cancel_reason(&error), Some(CancelReason::Shutdown));
    assert!(next(&mut stream).await.is_none());
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn stream_that_always_has_an_item_ends() {
    let shutdown = ShutdownLayer::new();
    let (tool, probe) = streams(|probe| {
        let endless = futures_util::stream::repeat_with(|| Ok::<_, BoxError>(Content::from("a")));
        support::streaming(probe, endless)
    });
    let mut stream = stream_of(shutdown.layer(tool), call()).await;
    let reading = tokio::spawn(async move {
        while let Some(item) = stream.next().await {
            item?;
            tokio::task::yield_now().await;
        }
        Ok::<_, ToolError>(())
    });
    tokio::task::yield_now().await;
    assert_eq!(
        shut_down(&shutdown, ms(0), MINUTE).await,
        Counts::calls(0, 1)
    );
    let error = reading.await.expect("no panic").expect_err("an error");
    assert_eq!(cancel_reason(&error), Some(CancelReason::Shutdown));
    assert_eq!(probe.running(), 0);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn response_that_becomes_a_stream_after_the_cancellation_ends() {
    let shutdown = ShutdownLayer::new();
    let (inner, probe) = streams(|probe| support::streaming(probe, never()));
    let slow = ScriptedTool::new(move |call| {
        let inner = inner.clone();
        async move {
            tokio::time::sleep(ms(100)).await;
            inner.oneshot(call).await
        }
    });
    let mut future = tokio_test::task::spawn(shutdown.layer(slow).oneshot(call()));
    assert!(future.poll().is_pending());
    let ended = tokio::spawn({
        let shutdown = shutdown.clone();
        async move { shut_down(&shutdown, ms(100), MINUTE).await }
    });
    pass(ms(100)).await;
    // The grace is over, and the head of the response is ready.
    let std::task::Poll::Ready(Ok(response)) = future.poll() else {
        unreachable!("a head that is ready counts")
    };
    assert_eq!(ended.await.expect("no panic"), Counts::calls(0, 1));
    let (texts, error) = rest(&mut response.into_stream()).await;
    assert!(texts.is_empty());
    let reason = cancel_reason(&error.expect("an error"));
    assert_eq!(reason, Some(CancelReason::Shutdown));
    assert_eq!(probe.running(), 0);
}

fn never() -> impl futures_util::Stream<Item = Result<Content, BoxError>> + Send {
    futures_util::stream::pending()
}

/// Without a runtime no task ends the stream: it ends at the next poll.
#[test]
fn stream_without_a_runtime_ends_at_its_next_poll() {
    let shutdown = ShutdownLayer::new();
    let (tool, probe) = streams(|probe| support::streaming(probe, never()));
    let mut future = tokio_test::task::spawn(shutdown.layer(tool).oneshot(call()));
    let std::task::Poll::Ready(Ok(response)) = future.poll() else {
        unreachable!("a stream")
    };
    let mut stream = tokio_test::task::spawn(response.into_stream());
    assert!(stream.poll_next().is_pending());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let report = runtime.block_on(shut_down(&shutdown, ms(0), ms(0)));
    assert_eq!(report, Counts::calls(0, 0).with_orphaned(1));
    let std::task::Poll::Ready(Some(Err(error))) = stream.poll_next() else {
        unreachable!("the error")
    };
    assert_eq!(cancel_reason(&error), Some(CancelReason::Shutdown));
    assert_eq!((probe.running(), shutdown.in_flight()), (0, 0));
}
