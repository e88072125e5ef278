//! The effects of a heartbeat and of progress.

use std::future::pending;
use std::pin::pin;

use futures_util::StreamExt;
use http_body_util::{BodyExt, StreamBody};
use toolbooth::{ConcurrencyLimitLayer, ErrorKind};
use toolbooth_test::{Recorder, count_wakes};
use toolbooth_tests::Retries;
use tower::buffer::BufferLayer;
use tower::limit::ConcurrencyLimitLayer as TowersLimit;
use tower::retry::RetryLayer;
use tower::util::MapResponseLayer;
use tower::{ServiceBuilder, service_fn};

use super::*;

/// Sends 1,000 beats in each of 1,000 milliseconds.
async fn a_million_beats(call: CallContext) {
    for _ in 0..1_000 {
        for _ in 0..1_000 {
            call.heartbeat();
        }
        tokio::time::sleep(ms(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn million_beats_reset_a_timer_at_most_twice_in_an_idle_period() {
    let beats = tool(|call| async move {
        tokio::spawn(a_million_beats(call));
        pending().await
    });
    let (ended, wakes) = count_wakes(ended(idle(100).layer(beats), call())).await;
    // The last beat is at 999 ms. The timer fires at 100, 199, 298, ..., 991, one millisecond after
    // the latest beat each time, and then at 1,090 and at 1,099.
    assert_eq!(ended, expired(IDLE, 100, 1_099));
    assert_eq!(wakes, 12);
}

#[tokio::test(start_paused = true)]
async fn million_beats_beside_a_stream_do_not_wake_its_reader() {
    let beats = tool(|call| async move {
        tokio::spawn(a_million_beats(call));
        let nothing = futures_util::stream::pending::<Result<Content, BoxError>>();
        Ok(ToolOutput::stream(nothing))
    });
    let stream = idle(100).layer(beats).oneshot(call()).await.unwrap();
    let (error, wakes) = count_wakes(stream.collect()).await;
    assert_eq!(scope_of(&error.unwrap_err()), (IDLE, 100, 1_099));
    assert_eq!(wakes, 1);
}

#[tokio::test(start_paused = true)]
async fn beat_after_the_end_is_a_no_op() {
    let contexts = Recorder::<CallContext>::new();
    let seen = contexts.clone();
    // The first attempt times out, and its context is used while the second one hangs.
    let hangs = tool(move |call| {
        seen.record(call);
        pending()
    });
    let stack = ServiceBuilder::new()
        .layer(idle(500))
        .layer(PartialResultLayer::new())
        .layer(RetryLayer::new(Retries::new(1)))
        .layer(TimeoutLayer::new(ms(300)))
        .service(hangs);
    let late = contexts.clone();
    tokio::spawn(async move {
        tokio::time::sleep(ms(400)).await;
        let first = late.values().remove(0);
        first.heartbeat();
        first.progress(7, 10, None);
        first.emit("late");
        assert_eq!(first.last_progress(), None);
    });
    let watch = Stopwatch::start();
    let error = collected(stack, call()).await.unwrap_err();
    assert_eq!(scope_of(&error), (IDLE, 500, 500));
    assert_eq!(watch.elapsed(), ms(500));
    assert!(error.partial().is_none());

    // And after the end of the call.
    assert_eq!(contexts.len(), 2);
    for context in contexts.values() {
        context.heartbeat();
        context.progress(8, 10, None);
        assert_eq!(context.last_progress(), None);
    }
}

#[tokio::test(start_paused = true)]
async fn attempts_beat_for_the_limit_outside_the_retry_and_each_has_its_own_inside() {
    // Each attempt beats for 400 ms and fails.
    let fails = tool(|call| async move {
        for _ in 0..4 {
            call.emit("chunk");
            tokio::time::sleep(ms(100)).await;
        }
        Err("half way".into())
    });
    let outside = |limit| {
        ServiceBuilder::new()
            .layer(idle(limit))
            .layer(RetryLayer::new(Retries::new(2)))
            .service(fails.clone())
    };
    let watch = Stopwatch::start();
    let error = collected(outside(150), call()).await.unwrap_err();
    assert_eq!(
        (error.kind(), watch.elapsed()),
        (ErrorKind::Tool, ms(1_200))
    );
    assert_eq!(ended(outside(99), call()).await, expired(IDLE, 99, 99));

    // Each attempt has 250 ms for its own first item.
    let attempts = Recorder::new();
    let log = attempts.clone();
    let first_only = tool(move |call| {
        log.record(call.attempt());
        async move {
            if call.attempt() == 1 {
                call.emit("chunk");
            }
            tokio::time::sleep(ms(1_000)).await;
            Err("half way".into())
        }
    });
    let inside = ServiceBuilder::new()
        .layer(RetryLayer::new(Retries::new(2)))
        .layer(TimeoutLayer::unlimited().with_first_item(ms(250)))
        .service(first_only);
    let (result, at) = ended(inside, call()).await;
    assert_eq!(result, Err((FIRST_ITEM, 250, 1_500)));
    assert_eq!((at, attempts.values()), (1_500, vec![1, 2, 3]));
}

/// A beat resets the limits around its own attempt, and no others.
#[tokio::test(start_paused = true)]
async fn concurrent_attempts_beat_for_their_own_limits() {
    let beats_if_first = tool(|call| async move {
        let first = call.attempt() == 1;
        for _ in 0..5 {
            if first {
                call.heartbeat();
            }
            tokio::time::sleep(ms(100)).await;
        }
        Ok(ToolOutput::text("done"))
    });
    let stack = idle(150).layer(service_fn(move |call: ToolCall| {
        let (other, one) = (call.clone(), call);
        let stack = idle(150).layer(beats_if_first.clone());
        async move {
            let both =
                futures_util::future::join(ended(stack.clone(), one), ended(stack.clone(), other));
            let both = both.await;
            assert_eq!(both, (ok(500), expired(IDLE, 150, 150)));
            Ok::<_, ToolError>(ToolOutput::text("done"))
        }
    }));
    assert_eq!(ended(stack, call()).await, ok(500));
}

#[tokio::test(start_paused = true)]
async fn beats_pass_through_foreign_layers() {
    let stack = |limit| {
        let beats = repeats(ms(200), 5, CallContext::heartbeat);
        let inner = ServiceBuilder::new()
            .layer(idle(limit))
            .layer(BufferLayer::new(4))
            .layer(TowersLimit::new(1))
            .layer(MapResponseLayer::new(|output: ToolOutput| output))
            .service(beats);
        // On its own task, as in a layer that spawns.
        boxed(idle(limit).layer(service_fn(move |call: ToolCall| {
            let call = tokio::spawn(inner.clone().oneshot(call));
            async move { call.await.expect("no panic") }
        })))
    };
    assert_eq!(ended(stack(250), call()).await, ok(1_000));
    assert_eq!(ended(stack(150), call()).await, expired(IDLE, 150, 150));
}

/// Beats and items of a nested call are beats of its parent, but not items of its parent.
#[tokio::test(start_paused = true)]
async fn nested_call_beats_for_its_parent() {
    let emits = repeats(ms(100), 5, |call| call.emit("chunk"));
    let outer = tool(move |call| {
        let emits = emits.clone();
        async move {
            let nested = call.child("emits", json!(null))?;
            emits.oneshot(nested).await?;
            Ok(ToolOutput::text("done"))
        }
    });
    assert_eq!(ended(idle(150).layer(outer.clone()), call()).await, ok(500));
    assert_eq!(
        ended(idle(99).layer(outer.clone()), call()).await,
        expired(IDLE, 99, 99)
    );
    let first = TimeoutLayer::unlimited().with_first_item(ms(300));
    assert_eq!(
        ended(first.layer(outer), call()).await,
        expired(FIRST_ITEM, 300, 300)
    );
}

/// An idle limit inside of the queue starts when the call is admitted.
#[tokio::test(start_paused = true)]
async fn waiting_in_a_queue_is_no_beat() {
    let beats = repeats(ms(100), 4, CallContext::heartbeat);
    let outside = idle(150).layer(ConcurrencyLimitLayer::new(1).layer(beats.clone()));
    let both = futures_util::future::join(ended(outside.clone(), call()), ended(outside, call()));
    assert_eq!(both.await, (ok(400), expired(IDLE, 150, 150)));
    let inside = ConcurrencyLimitLayer::new(1).layer(idle(150).layer(beats));
    let both = futures_util::future::join(ended(inside.clone(), call()), ended(inside, call()));
    assert_eq!(both.await, (ok(400), ok(800)));
}

#[tokio::test(start_paused = true)]
async fn frames_of_a_body_beat() {
    let route = |frames: usize| {
        let streams = service_fn(move |_: http::Request<()>| async move {
            let frames = futures_util::stream::iter(0..frames).then(|_| async {
                tokio::time::sleep(ms(200)).await;
                Ok::<_, BoxError>(http_body::Frame::data(bytes::Bytes::from("frame")))
            });
            Ok::<_, BoxError>(http::Response::new(StreamBody::new(frames)))
        });
        TimeoutLayer::unlimited().with_idle(ms(250)).layer(streams)
    };
    let watch = Stopwatch::start();
    let response = route(10).oneshot(http::Request::new(())).await.unwrap();
    // The stream ends after the last frame.
    let body = response.into_body().collect().await.unwrap();
    assert_eq!((body.to_bytes().len(), watch.elapsed()), (50, ms(2_000)));

    let hangs = service_fn(async |_: http::Request<()>| {
        let frames = futures_util::stream::iter(["frame"])
            .map(|frame| Ok::<_, BoxError>(http_body::Frame::data(bytes::Bytes::from(frame))));
        let frames = frames.chain(futures_util::stream::pending());
        Ok::<_, BoxError>(http::Response::new(StreamBody::new(frames)))
    });
    let watch = Stopwatch::start();
    let response = idle(250).layer(hangs).oneshot(http::Request::new(())).await;
    let mut body = pin!(response.unwrap().into_body());
    assert!(body.frame().await.unwrap().is_ok());
    let error = body.frame().await.unwrap().unwrap_err();
    assert_eq!(scope_of(&error), (IDLE, 250, 250));
    assert_eq!(watch.elapsed(), ms(250));
}

// === progress ===

#[tokio::test(start_paused = true)]
async fn last_progress_wins_and_does_not_decrease_between_attempts() {
    let reports = tool(|call| async move {
        match call.attempt() {
            1 => {
                call.progress(1, 10, "one");
                call.progress(6, 10, "six");
            }
            _ => call.progress(2, None, "again"),
        }
        Err("half way".into())
    });
    let stack = |keeps: PartialResultLayer| {
        ServiceBuilder::new()
            .layer(keeps)
            .layer(RetryLayer::new(Retries::new(1)))
            .service(reports.clone())
    };
    let first = call();
    let context = first.context().clone();
    let error = collected(stack(PartialResultLayer::new()), first).await;
    let error = error.unwrap_err();
    let partial = error.partial().unwrap();
    let progress = partial.progress().unwrap();
    assert_eq!(
        (progress.done(), progress.total(), progress.message()),
        (6, None, Some("again"))
    );
    assert_eq!((partial.contents(), partial.snapshot()), (&[][..], None));
    assert_eq!(context.last_progress().as_ref(), Some(progress));

    // Without the layer it is readable, but not in the error.
    let second = call();
    let context = second.context().clone();
    let error = collected(stack(PartialResultLayer::off()), second).await;
    assert!(error.unwrap_err().partial().is_none());
    assert_eq!(context.last_progress().map(|last| last.done()), Some(6));
    assert_eq!(context.partial(), None);
}

#[tokio::test(start_paused = true)]
async fn progress_of_a_later_attempt_joins_the_contents_of_an_earlier_one() {
    let reports = tool(|call| async move {
        if call.attempt() == 1 {
            call.emit("chunk");
        }
        call.progress(call.attempt().into(), 2, None);
        Err("half way".into())
    });
    let seen = Recorder::new();
    let log = seen.clone();
    let inner = tower::util::MapErrLayer::new(move |error: ToolError| {
        log.record(error.partial().expect("a chunk was emitted").clone());
        error
    });
    let stack = ServiceBuilder::new()
        .layer(idle(1_000))
        .layer(RetryLayer::new(Retries::new(1)))
        .layer(inner)
        .layer(PartialResultLayer::new())
        .service(reports);
    let error = collected(stack, call()).await.unwrap_err();
    let partial = error.partial().unwrap();
    assert_eq!(texts(partial.contents()), ["chunk"]);
    assert_eq!(partial.progress().map(|progress| progress.done()), Some(2));
    // The error of the first attempt keeps its own progress.
    let seen = seen.values();
    let done = seen
        .iter()
        .map(|seen| seen.progress().map(|progress| progress.done()));
    assert_eq!(done.collect::<Vec<_>>(), [Some(1), Some(2)]);
}
