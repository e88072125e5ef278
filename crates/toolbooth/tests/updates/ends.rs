//! When the stream ends: with each ending of a call.

use futures_util::{FutureExt, StreamExt};
use support::{next_text, rest, stream_of, ticking};
use toolbooth::{CatchPanicLayer, ContentStream, ShutdownLayer};
use toolbooth_test::{Probe, Script};

use super::*;

/// Emits, and ends after 10 ms as `end` does.
fn ends<F>(end: F) -> ScriptedTool
where
    F: Fn() -> Result<ToolOutput, ToolError> + Send + Sync + Clone + 'static,
{
    ScriptedTool::new(move |call: ToolCall| {
        let end = end.clone();
        async move {
            call.context().emit("a");
            sleep(ms(10)).await;
            Ok(end()?)
        }
    })
}

#[expect(clippy::panic, reason = "the tool under test panics")]
fn panics() -> Result<ToolOutput, ToolError> {
    panic!("no")
}

/// Asserts that the stream of a call has `a` at 0 ms, and ends at 10 ms.
async fn assert_ends(service: BoxTool) {
    let call = call();
    // A handle that is left does not keep the stream open.
    let context = call.context().clone();
    let read = read(call.updates());
    let response = std::panic::AssertUnwindSafe(service.oneshot(call)).catch_unwind();
    drop(response.await);
    assert_eq!(
        read.await.expect("no panic"),
        at(&[(0, "1 a"), (10, "end")])
    );
    context.emit("late");
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn stream_ends_with_a_response_an_error_a_panic_and_a_timeout() {
    let outer = || ServiceBuilder::new().layer(ShutdownLayer::new());
    let timeout = |millis| outer().layer(TimeoutLayer::new(ms(millis)));
    assert_ends(boxed(
        timeout(50).service(ends(|| Ok(ToolOutput::text("done")))),
    ))
    .await;
    assert_ends(boxed(
        timeout(50).service(ends(|| Err(ToolError::failed("no")))),
    ))
    .await;
    assert_ends(boxed(timeout(50).service(ends(panics)))).await;
    let caught = outer().layer(CatchPanicLayer::new()).service(ends(panics));
    assert_ends(boxed(caught)).await;
    assert_ends(boxed(
        timeout(10).layer(SpawnLayer::new()).service(ends(panics)),
    ))
    .await;
    let hangs = ScriptedTool::new(async |call| {
        call.context().emit("a");
        std::future::pending().await
    });
    assert_ends(boxed(timeout(10).service(hangs))).await;
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn stream_ends_with_a_call_that_is_cancelled_or_dropped() {
    let service = TimeoutLayer::new(ms(100)).layer(publishing());
    let cancelled = call();
    let canceller = cancelled.canceller();
    let read_cancelled = read(cancelled.updates());
    let running = tokio::spawn(service.clone().oneshot(cancelled));
    sleep(ms(15)).await;
    canceller.cancel();
    assert!(running.await.unwrap().is_err());
    let expected = at(&[(0, "1 a"), (10, "1 1 done"), (15, "end")]);
    assert_eq!(read_cancelled.await.unwrap(), expected);

    let dropped = call();
    let read_dropped = read(dropped.updates());
    let timeout = tokio::time::timeout(ms(15), service.oneshot(dropped));
    assert!(timeout.await.is_err());
    assert_eq!(read_dropped.await.unwrap(), expected);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn stream_of_a_call_that_never_reaches_its_tool_is_empty() {
    let full = ConcurrencyLimitLayer::new(1).with_queue_capacity(0);
    let service = full.layer(ScriptedTool::pending());
    let running = tokio::spawn(service.clone().oneshot(call()));
    tokio::task::yield_now().await;
    let rejected = call();
    let context = rejected.context().clone();
    let read_rejected = read(rejected.updates());
    error_of(service.clone(), rejected).await;
    assert_eq!(read_rejected.await.unwrap(), at(&[(0, "end")]));
    drop(context);

    let never_made = call();
    let read_never_made = read(never_made.updates());
    drop(never_made);
    assert_eq!(read_never_made.await.unwrap(), at(&[(0, "end")]));

    let never_polled = call();
    let read_never_polled = read(never_polled.updates());
    drop(service.oneshot(never_polled));
    assert_eq!(read_never_polled.await.unwrap(), at(&[(0, "end")]));
    running.abort();
}

/// A streaming response of two items 10 ms apart, whose tool emits before.
async fn streaming() -> (ContentStream, JoinHandle<Vec<(u128, String)>>) {
    let tool = ScriptedTool::new(async |call| {
        call.context().emit("emitted");
        Ok(ticking(&Probe::new(), ms(10), ["first", "second"]))
    });
    let call = call();
    let read = read(call.updates());
    let service = TimeoutLayer::new(ms(100)).layer(PartialResultLayer::new().layer(tool));
    (stream_of(service, call).await, read)
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn items_of_a_streaming_response_go_to_its_consumer_and_the_last_one_ends_the_stream() {
    let (mut response, read) = streaming().await;
    let (items, error) = rest(&mut response).await;
    assert_eq!(
        (&*items, error.is_none()),
        (&["first".into(), "second".into()][..], true)
    );
    let expected = at(&[(0, "1 emitted"), (10, "end")]);
    assert_eq!(read.await.unwrap(), expected);

    let (mut response, read) = streaming().await;
    assert_eq!(next_text(&mut response).await, "first");
    sleep(ms(10)).await;
    assert!(!read.is_finished());
    drop(response);
    assert_eq!(read.await.unwrap(), expected);
}

/// The stream is usable with the combinators of `futures`.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn updates_are_a_stream() {
    let call = call();
    let updates = call
        .updates()
        .map(|update| text(&update))
        .collect::<Vec<_>>();
    let tool = ScriptedTool::scripts([Script::new().emit("a").delay(ms(10)).emit("b")]);
    let (response, updates) = tokio::join!(
        TimeoutLayer::new(ms(100)).layer(tool).oneshot(call),
        updates
    );
    assert!(response.is_ok());
    assert_eq!(updates, ["1 a", "1 b"]);
}
