//! A streamed answer ends at the limit, whoever reads it.

use futures_util::{FutureExt, Stream, StreamExt};
use tokio::time::Instant;
use toolbooth::{
    BoxError, Content, ContentStream, ErrorKind, Outcome, PartialResultLayer, TimeoutLayer,
    ToolCall,
};
use tower::{Layer, ServiceBuilder, ServiceExt};

use super::*;

const LIMIT: u64 = 400;

/// The stream of a call, under a limit of 400 ms.
async fn streamed<F>(call: ToolCall, output: F) -> ContentStream
where
    F: Fn() -> toolbooth::ToolOutput + Send + Sync + 'static,
{
    let probe = ScriptedTool::new(move |_| std::future::ready(Ok(output())));
    let service = TimeoutLayer::new(ms(LIMIT)).layer(probe);
    service.oneshot(call).await.expect("a stream").into_stream()
}

/// Items that are always ready.
fn endless() -> impl Stream<Item = Result<Content, BoxError>> + Send + 'static {
    futures_util::stream::iter(0..).map(|piece: u64| Ok(Content::from(piece.to_string())))
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn piece_ready_at_the_limit_is_delivered_and_none_after_it() {
    let start = Instant::now();
    let dropped = Probe::new();
    let count = dropped.clone();
    let call = call();
    let outcomes = Outcomes::of(call.context());
    let mut stream = streamed(call, move || {
        ticking(&count, ms(200), ["0", "200", "400", "600"])
    })
    .await;
    for piece in ["0", "200", "400"] {
        assert_eq!(next(&mut stream).await.unwrap().unwrap(), piece);
    }
    assert_eq!(start.elapsed(), ms(400));
    let struck = next(&mut stream).await.unwrap().unwrap_err();
    assert_eq!(limit(&struck), (TimeoutScope::Total, 400, 400));
    assert_eq!(start.elapsed(), ms(400));
    assert_eq!(dropped.finished(), 1);
    assert!(next(&mut stream).await.is_none());
    assert!(next(&mut stream).await.is_none());
    assert_eq!(outcomes.all().await, [Outcome::TimedOut]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn piece_a_millisecond_late_is_not_delivered() {
    let dropped = Probe::new();
    let count = dropped.clone();
    let mut stream = streamed(call(), move || ticking(&count, ms(401), ["0", "401"])).await;
    assert_eq!(next(&mut stream).await.unwrap().unwrap(), "0");
    let struck = next(&mut stream).await.unwrap().unwrap_err();
    assert_eq!(limit(&struck), (TimeoutScope::Total, 400, 400));
    assert!(next(&mut stream).await.is_none());
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn answer_that_ends_by_the_limit_is_complete() {
    let call = call();
    let outcomes = Outcomes::of(call.context());
    let mut stream = streamed(call, || ticking(&Probe::new(), ms(199), ["a", "b", "c"])).await;
    for piece in ["a", "b", "c"] {
        assert_eq!(next(&mut stream).await.unwrap().unwrap(), piece);
    }
    assert!(next(&mut stream).await.is_none());
    pass(ms(1_000)).await;
    assert!(next(&mut stream).await.is_none());
    assert_eq!(outcomes.all().await, [Outcome::Completed]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn time_before_the_head_counts() {
    let probe = ScriptedTool::new(async |_| {
        tokio::time::sleep(ms(300)).await;
        Ok(ticking(&Probe::new(), ms(60), ["300", "360", "420"]))
    });
    let service = TimeoutLayer::new(ms(LIMIT)).layer(probe);
    let mut stream = service.oneshot(call()).await.unwrap().into_stream();
    assert_eq!(next(&mut stream).await.unwrap().unwrap(), "300");
    assert_eq!(next(&mut stream).await.unwrap().unwrap(), "360");
    let struck = next(&mut stream).await.unwrap().unwrap_err();
    assert_eq!(limit(&struck), (TimeoutScope::Total, 400, 400));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn stream_that_nobody_polls_is_dropped_at_the_limit_and_its_consumer_finds_the_error() {
    let dropped = Probe::new();
    let count = dropped.clone();
    let call = call();
    let mut outcomes = Outcomes::of(call.context());
    let mut stream = streamed(call, move || {
        streaming(&count, futures_util::stream::pending())
    })
    .await;
    pass(ms(399)).await;
    assert!((dropped.finished(), outcomes.is_pending()) == (0, true));
    pass(ms(1)).await;
    assert_eq!(dropped.finished(), 1);
    assert_eq!(outcomes.all().await, [Outcome::TimedOut]);

    pass(ms(10_000)).await;
    let struck = next(&mut stream).await.unwrap().unwrap_err();
    assert_eq!(limit(&struck), (TimeoutScope::Total, 400, 400));
    assert!(next(&mut stream).await.is_none());
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn consumer_that_waits_is_woken_by_the_limit() {
    let mut stream = tokio_test::task::spawn(
        streamed(call(), || {
            streaming(&Probe::new(), futures_util::stream::pending())
        })
        .await,
    );
    assert!(stream.poll_next().is_pending());
    pass(ms(399)).await;
    assert!(!stream.is_woken());
    pass(ms(1)).await;
    assert!(stream.is_woken());
    assert!(matches!(
        stream.poll_next(),
        std::task::Poll::Ready(Some(Err(_)))
    ));
    assert!(matches!(stream.poll_next(), std::task::Poll::Ready(None)));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn stream_that_is_always_ready_is_cut_too() {
    let dropped = Probe::new();
    let count = dropped.clone();
    let mut stream = streamed(call(), move || streaming(&count, endless())).await;
    for piece in ["0", "1", "2"] {
        assert_eq!(next(&mut stream).await.unwrap().unwrap(), piece);
    }
    pass(ms(400)).await;
    // The one that was ready at the limit.
    assert_eq!(dropped.finished(), 1);
    assert_eq!(next(&mut stream).await.unwrap().unwrap(), "3");
    let struck = next(&mut stream).await.unwrap().unwrap_err();
    assert_eq!(limit(&struck), (TimeoutScope::Total, 400, 400));
    assert!(next(&mut stream).await.is_none());
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn stream_that_is_always_ready_is_cut_though_no_other_task_ever_runs() {
    let dropped = Probe::new();
    let count = dropped.clone();
    let mut stream = streamed(call(), move || streaming(&count, endless())).await;
    assert_eq!(
        next(&mut stream).now_or_never().unwrap().unwrap().unwrap(),
        "0"
    );
    // Its first poll moves the clock, and lets nobody run.
    assert!(tokio::time::advance(ms(400)).now_or_never().is_none());
    assert_eq!(
        next(&mut stream).now_or_never().unwrap().unwrap().unwrap(),
        "1"
    );
    let struck = next(&mut stream).now_or_never().unwrap().unwrap();
    assert_eq!(limit(&struck.unwrap_err()), (TimeoutScope::Total, 400, 400));
    assert_eq!(dropped.finished(), 1);
    assert!(next(&mut stream).now_or_never().unwrap().is_none());
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn panic_in_the_last_look_at_a_stream_reaches_its_consumer_as_an_error() {
    // Nobody polls it but the task that cuts it: the panic is in that poll.
    let call = call().with_id("17");
    let outcomes = Outcomes::of(call.context());
    let panics = || futures_util::stream::poll_fn(|_| panic!("in the last look"));
    let mut stream = streamed(call, move || streaming(&Probe::new(), panics())).await;
    pass(ms(400)).await;
    let panicked = next(&mut stream).await.unwrap().unwrap_err();
    assert_eq!(panicked.kind(), ErrorKind::Panicked);
    assert_eq!(panicked.to_string(), "the tool panicked: in the last look");
    assert!(next(&mut stream).await.is_none());
    assert_eq!(outcomes.all().await, [Outcome::Panicked]);
    // It is this call's, as every error that a layer hands out.
    assert_eq!(
        (panicked.tool(), panicked.call_id()),
        (Some("tool"), Some("17"))
    );
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn panic_in_the_last_look_at_a_stream_takes_what_was_kept_along() {
    let probe = ScriptedTool::new(async |call: ToolCall| {
        call.context().emit("half");
        let panics = futures_util::stream::poll_fn(|_| panic!("in the last look"));
        Ok(streaming(&Probe::new(), panics))
    });
    let stack = ServiceBuilder::new()
        .layer(TimeoutLayer::new(ms(LIMIT)))
        .layer(PartialResultLayer::new())
        .service(probe);
    let mut stream = stack.oneshot(call()).await.unwrap().into_stream();
    pass(ms(400)).await;
    let panicked = next(&mut stream).await.unwrap().unwrap_err();
    assert_eq!(panicked.kind(), ErrorKind::Panicked);
    assert_eq!(
        panicked.partial().map(|partial| texts(partial.contents())),
        Some(vec!["half"])
    );
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn shorter_of_two_limits_cuts_a_stream_once() {
    for (outer, inner) in [(400, 300), (300, 400)] {
        let start = Instant::now();
        let dropped = Probe::new();
        let count = dropped.clone();
        let probe = ScriptedTool::new(move |_| {
            std::future::ready(Ok(ticking(&count, ms(200), ["0", "200", "400"])))
        });
        let call = call();
        let outcomes = Outcomes::of(call.context());
        let stack = TimeoutLayer::new(ms(outer)).layer(TimeoutLayer::new(ms(inner)).layer(probe));
        let mut stream = stack.oneshot(call).await.unwrap().into_stream();
        assert_eq!(next(&mut stream).await.unwrap().unwrap(), "0");
        assert_eq!(next(&mut stream).await.unwrap().unwrap(), "200");
        let struck = next(&mut stream).await.unwrap().unwrap_err();
        assert_eq!(limit(&struck), (TimeoutScope::Total, 300, 300));
        assert_eq!((start.elapsed(), dropped.finished()), (ms(300), 1));
        assert!(next(&mut stream).await.is_none());
        assert_eq!(outcomes.all().await, [Outcome::TimedOut]);
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn stream_dropped_by_its_consumer_leaves_no_timer_behind() {
    let start = Instant::now();
    let dropped = Probe::new();
    let count = dropped.clone();
    let stream = streamed(call(), move || {
        streaming(&count, futures_util::stream::pending())
    })
    .await;
    tokio::task::yield_now().await;
    drop(stream);
    assert_eq!(dropped.finished(), 1);
    let metrics = tokio::runtime::Handle::current().metrics();
    tokio::task::yield_now().await;
    assert_eq!((metrics.num_alive_tasks(), start.elapsed()), (0, ms(0)));
}
