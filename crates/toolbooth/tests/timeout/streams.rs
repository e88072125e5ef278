//! A streaming response expires at the limit, whether or not its consumer polls it.

use std::panic::resume_unwind;

use futures_util::{FutureExt, Stream, StreamExt, stream};
use toolbooth::ContentStream;

use super::support::{Probe, next_text, streaming, streams};
use super::*;

/// The response of a call under a limit of 400 ms.
async fn response<F>(call: ToolCall, response: F) -> (ContentStream, Probe)
where
    F: Fn(&Probe) -> ToolOutput + Send + Sync + 'static,
{
    let (tool, probe) = streams(response);
    let stream = stream_of(TimeoutLayer::new(ms(400)).layer(tool), call).await;
    (stream, probe)
}

/// Items that are always ready.
fn endless() -> impl Stream<Item = Result<Content, BoxError>> + Send + 'static {
    stream::iter(0..).map(|item: u64| Ok(Content::from(item.to_string())))
}

/// No item, ever.
fn pending(probe: &Probe) -> ToolOutput {
    streaming(probe, stream::pending::<Result<Content, BoxError>>())
}

/// A panic instead of an item.
fn panics(probe: &Probe) -> ToolOutput {
    let panics = stream::poll_fn(|_| resume_unwind(Box::new("in the last poll")));
    streaming::<_, BoxError>(probe, panics)
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn item_ready_at_the_limit_is_delivered_and_none_after_it() {
    for (every, expected) in [(200, vec!["0", "1", "2"]), (401, vec!["0"])] {
        let start = Instant::now();
        let call = call();
        let outcomes = Outcomes::of(call.context());
        let items = ["0", "1", "2", "3"];
        let (mut stream, probe) =
            response(call, move |probe| ticking(probe, ms(every), items)).await;
        let (texts, expired) = rest(&mut stream).await;
        assert_eq!(texts, expected);
        assert_eq!(timeout(&expired.unwrap()), (TOTAL, 400, 400));
        assert_eq!((start.elapsed(), probe.finished()), (ms(400), 1));
        assert_eq!(outcomes.all().await, [Outcome::TimedOut]);
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn response_that_ends_at_the_limit_is_complete() {
    let call = call();
    let outcomes = Outcomes::of(call.context());
    let items = |probe: &Probe| ticking(probe, ms(199), ["a", "b", "c"]);
    let (mut stream, _) = response(call, items).await;
    for item in ["a", "b", "c"] {
        assert_eq!(next_text(&mut stream).await, item);
    }
    assert!(next(&mut stream).await.is_none());
    pass(ms(1_000)).await;
    assert!(next(&mut stream).await.is_none());
    assert_eq!(outcomes.all().await, [Outcome::Completed]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn time_before_the_response_counts() {
    let tool = ScriptedTool::new(async |_| {
        tokio::time::sleep(ms(300)).await;
        Ok(ticking(&Probe::new(), ms(60), ["300", "360", "420"]))
    });
    let mut stream = stream_of(TimeoutLayer::new(ms(400)).layer(tool), call()).await;
    let (texts, expired) = rest(&mut stream).await;
    assert_eq!(texts, ["300", "360"]);
    assert_eq!(timeout(&expired.unwrap()), (TOTAL, 400, 400));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn stream_that_is_not_polled_is_dropped_at_the_limit() {
    let call = call();
    let mut outcomes = Outcomes::of(call.context());
    let (mut stream, probe) = response(call, pending).await;
    pass(ms(399)).await;
    assert!(probe.running() == 1 && outcomes.is_pending());
    pass(ms(1)).await;
    assert_eq!(probe.running(), 0);
    assert_eq!(outcomes.all().await, [Outcome::TimedOut]);

    // A late consumer finds the error.
    pass(ms(10_000)).await;
    let (_, expired) = rest(&mut stream).await;
    assert_eq!(timeout(&expired.unwrap()), (TOTAL, 400, 400));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn waiting_consumer_is_woken_at_the_limit() {
    let mut stream = task::spawn(response(call(), pending).await.0);
    assert_pending!(stream.poll_next());
    pass(ms(399)).await;
    assert!(!stream.is_woken());
    pass(ms(1)).await;
    assert!(stream.is_woken());
    assert!(assert_ready!(stream.poll_next()).unwrap().is_err());
    assert!(assert_ready!(stream.poll_next()).is_none());
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn always_ready_stream_expires() {
    let items = |probe: &Probe| streaming(probe, endless());
    let (mut stream, probe) = response(call(), items).await;
    for item in ["0", "1", "2"] {
        assert_eq!(next_text(&mut stream).await, item);
    }
    pass(ms(400)).await;
    assert_eq!(probe.running(), 0);
    // The item that was ready at the limit.
    let (texts, expired) = rest(&mut stream).await;
    assert_eq!(texts, ["3"]);
    assert_eq!(timeout(&expired.unwrap()), (TOTAL, 400, 400));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn always_ready_stream_expires_even_if_no_other_task_runs() {
    let items = |probe: &Probe| streaming(probe, endless());
    let (mut stream, probe) = response(call(), items).await;
    let ready = |stream: &mut ContentStream| next(stream).now_or_never().unwrap();
    assert_eq!(ready(&mut stream).unwrap().unwrap(), "0");
    // The first poll of `advance` moves the clock. Other tasks run only after it.
    assert!(advance(ms(400)).now_or_never().is_none());
    assert_eq!(ready(&mut stream).unwrap().unwrap(), "1");
    let expired = ready(&mut stream).unwrap().unwrap_err();
    assert_eq!(timeout(&expired), (TOTAL, 400, 400));
    assert_eq!(probe.running(), 0);
    assert!(ready(&mut stream).is_none());
}

/// The task that expires the stream polls it once more: the panic is in that poll.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn panic_in_the_last_poll_reaches_the_consumer_as_an_error() {
    let call = call().with_id("17");
    let outcomes = Outcomes::of(call.context());
    let (mut stream, _) = response(call, panics).await;
    pass(ms(400)).await;
    let panicked = rest(&mut stream).await.1.unwrap();
    assert_eq!(panicked.kind(), ErrorKind::Panicked);
    assert_eq!(panicked.to_string(), "the tool panicked: in the last poll");
    assert_eq!(
        (panicked.tool(), panicked.call_id()),
        (Some("tool"), Some("17"))
    );
    assert_eq!(outcomes.all().await, [Outcome::Panicked]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn panic_in_the_last_poll_carries_the_partial_result() {
    let tool = ScriptedTool::new(async |call: ToolCall| {
        call.context().emit("half");
        Ok(panics(&Probe::new()))
    });
    let stack = TimeoutLayer::new(ms(400)).layer(PartialResultLayer::new().layer(tool));
    let mut stream = stream_of(stack, call()).await;
    pass(ms(400)).await;
    let panicked = rest(&mut stream).await.1.unwrap();
    assert_eq!(panicked.kind(), ErrorKind::Panicked);
    assert_eq!(texts(panicked.partial().unwrap().contents()), ["half"]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn shorter_of_two_limits_expires_a_stream_once() {
    for (outer, inner) in [(400, 300), (300, 400)] {
        let start = Instant::now();
        let (tool, probe) = streams(|probe| ticking(probe, ms(200), ["0", "200", "400"]));
        let call = call();
        let outcomes = Outcomes::of(call.context());
        let inner = TimeoutLayer::new(ms(inner)).layer(tool);
        let mut stream = stream_of(TimeoutLayer::new(ms(outer)).layer(inner), call).await;
        let (texts, expired) = rest(&mut stream).await;
        assert_eq!(texts, ["0", "200"]);
        assert_eq!(timeout(&expired.unwrap()), (TOTAL, 300, 300));
        assert_eq!((start.elapsed(), probe.finished()), (ms(300), 1));
        assert_eq!(outcomes.all().await, [Outcome::TimedOut]);
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn dropped_stream_leaves_no_timer() {
    let start = Instant::now();
    let (stream, probe) = response(call(), pending).await;
    tokio::task::yield_now().await;
    drop(stream);
    assert_eq!(probe.running(), 0);
    let metrics = tokio::runtime::Handle::current().metrics();
    tokio::task::yield_now().await;
    assert_eq!((metrics.num_alive_tasks(), start.elapsed()), (0, ms(0)));
}
