//! What a beat does, and what it does not.

use std::future::pending;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};

use futures_util::StreamExt;
use http_body_util::{BodyExt, StreamBody};
use toolbooth::{ConcurrencyLimitLayer, ErrorKind};
use tower::buffer::BufferLayer;
use tower::limit::ConcurrencyLimitLayer as TowersLimit;
use tower::retry::{Policy, Retry};
use tower::util::MapResponseLayer;
use tower::{ServiceBuilder, service_fn};

use super::*;

/// A task's waker that counts how often it is woken.
#[derive(Default)]
struct Wakes(AtomicUsize, Mutex<Option<Waker>>);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
        let task = self.1.lock().expect("no panic under it").take();
        task.into_iter().for_each(Waker::wake);
    }
}

/// Runs a future to its end, and counts how often it was woken.
async fn counting_wakes<F: Future>(future: F) -> (F::Output, usize) {
    let mut future = pin!(future);
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let output = std::future::poll_fn(|cx| {
        *wakes.1.lock().expect("no panic under it") = Some(cx.waker().clone());
        future.as_mut().poll(&mut Context::from_waker(&waker))
    });
    (output.await, wakes.0.load(Ordering::SeqCst))
}

/// A thousand beats in each of a thousand milliseconds, from another task.
async fn a_million_beats(call: CallContext) {
    for _ in 0..1_000 {
        for _ in 0..1_000 {
            call.heartbeat();
        }
        tokio::time::sleep(ms(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_million_beats_reset_a_timer_at_most_twice_in_an_idle_period() {
    let beats = tool(|call| async move {
        tokio::spawn(a_million_beats(call));
        pending().await
    });
    let (cut, wakes) = counting_wakes(ended(idle(100).layer(beats), call())).await;
    // The last beat comes at 999 ms. It is woken at 100, 199, 298, ..., 991, where the last beat is a millisecond old
    // each time; then at 1,090 and at 1,099.
    assert_eq!(cut, struck(IDLE, 100, 1_099));
    assert_eq!(wakes, 12);
}

#[tokio::test(start_paused = true)]
async fn a_million_beats_beside_a_stream_wake_nobody_who_reads_it() {
    let beats = tool(|call| async move {
        tokio::spawn(a_million_beats(call));
        let nothing = futures_util::stream::pending::<Result<Content, BoxError>>();
        Ok(ToolOutput::stream(nothing))
    });
    let stream = idle(100).layer(beats).oneshot(call()).await.unwrap();
    let (error, wakes) = counting_wakes(stream.collect()).await;
    assert_eq!(scope_of(&error.unwrap_err()), (IDLE, 100, 1_099));
    assert_eq!(wakes, 1);
}

#[tokio::test(start_paused = true)]
async fn a_beat_after_the_end_is_a_no_op() {
    let contexts = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&contexts);
    // The first attempt hangs and is cut; then it beats, emits and reports while the second one hangs.
    let hangs = tool(move |call| {
        seen.lock().expect("no panic under it").push(call);
        pending()
    });
    let stack = ServiceBuilder::new()
        .layer(idle(500))
        .layer(PartialResultLayer::new())
        .layer_fn(|inner| Retry::new(Twice(1), inner))
        .layer(TimeoutLayer::new(ms(300)))
        .service(hangs);
    let late = Arc::clone(&contexts);
    tokio::spawn(async move {
        tokio::time::sleep(ms(400)).await;
        let first = late.lock().expect("no panic under it")[0].clone();
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

    // And when all is over.
    let contexts = contexts.lock().expect("no panic under it");
    assert_eq!(contexts.len(), 2);
    for context in contexts.iter() {
        context.heartbeat();
        context.progress(8, 10, None);
        assert_eq!(context.last_progress(), None);
    }
}

/// Tries again, so often.
#[derive(Clone)]
struct Twice(usize);

impl<T> Policy<ToolCall, T, ToolError> for Twice {
    type Future = std::future::Ready<()>;

    fn retry(
        &mut self,
        _: &mut ToolCall,
        result: &mut Result<T, ToolError>,
    ) -> Option<Self::Future> {
        let again = result.is_err() && self.0 > 0;
        again.then(|| {
            self.0 -= 1;
            std::future::ready(())
        })
    }

    fn clone_request(&mut self, call: &ToolCall) -> Option<ToolCall> {
        Some(call.clone())
    }
}

#[tokio::test(start_paused = true)]
async fn each_attempt_beats_for_the_limit_outside_of_the_retry_and_has_one_of_its_own_inside() {
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
            .layer_fn(|inner| Retry::new(Twice(2), inner))
            .service(fails.clone())
    };
    let watch = Stopwatch::start();
    let error = collected(outside(150), call()).await.unwrap_err();
    assert_eq!(
        (error.kind(), watch.elapsed()),
        (ErrorKind::Tool, ms(1_200))
    );
    assert_eq!(ended(outside(99), call()).await, struck(IDLE, 99, 99));

    // The first item of an attempt is not the next one's: each has 250 ms for its own.
    let attempts = Arc::new(AtomicUsize::new(0));
    let first_only = {
        let attempts = Arc::clone(&attempts);
        tool(move |call| {
            let first = attempts.fetch_add(1, Ordering::SeqCst) == 0;
            async move {
                if first {
                    call.emit("chunk");
                }
                tokio::time::sleep(ms(1_000)).await;
                Err("half way".into())
            }
        })
    };
    let inside = ServiceBuilder::new()
        .layer_fn(|inner| Retry::new(Twice(2), inner))
        .layer(TimeoutLayer::unlimited().with_first_item(ms(250)))
        .service(first_only);
    let (result, at) = ended(inside, call()).await;
    assert_eq!(result, Err((FIRST_ITEM, 250, 1_500)));
    assert_eq!((at, attempts.load(Ordering::SeqCst)), (1_500, 3));
}

/// Each attempt that is hedged is heard by the limits around it, and by no other's.
#[tokio::test(start_paused = true)]
async fn attempts_side_by_side_beat_each_for_its_own_limit() {
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
            assert_eq!(both, (ok(500), struck(IDLE, 150, 150)));
            Ok::<_, ToolError>(ToolOutput::text("done"))
        }
    }));
    assert_eq!(ended(stack, call()).await, ok(500));
}

#[tokio::test(start_paused = true)]
async fn beats_are_heard_through_layers_that_are_not_ours() {
    let stack = |limit| {
        let beats = stirs(ms(200), 5, CallContext::heartbeat);
        let inner = ServiceBuilder::new()
            .layer(idle(limit))
            .layer(BufferLayer::new(4))
            .layer(TowersLimit::new(1))
            .layer(MapResponseLayer::new(|answer: ToolOutput| answer))
            .service(beats);
        // On a task of its own, as a spawning layer does it.
        BoxTool::new(idle(limit).layer(service_fn(move |call: ToolCall| {
            let call = tokio::spawn(inner.clone().oneshot(call));
            async move { call.await.expect("no panic") }
        })))
    };
    assert_eq!(ended(stack(250), call()).await, ok(1_000));
    assert_eq!(ended(stack(150), call()).await, struck(IDLE, 150, 150));
}

/// What a tool waits for is alive where the call that it makes is; but an item of that call's result is none of its own.
#[tokio::test(start_paused = true)]
async fn a_nested_call_beats_for_the_one_that_makes_it() {
    let emits = stirs(ms(100), 5, |call| call.emit("chunk"));
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
        struck(IDLE, 99, 99)
    );
    let first = TimeoutLayer::unlimited().with_first_item(ms(300));
    assert_eq!(
        ended(first.layer(outer), call()).await,
        struck(FIRST_ITEM, 300, 300)
    );
}

/// A limit inside of the waiting line begins when the call is admitted; outside of it, waiting is no sign of life.
#[tokio::test(start_paused = true)]
async fn waiting_in_line_is_no_sign_of_life() {
    let beats = stirs(ms(100), 4, CallContext::heartbeat);
    let outside = idle(150).layer(ConcurrencyLimitLayer::new(1).layer(beats.clone()));
    let both = futures_util::future::join(ended(outside.clone(), call()), ended(outside, call()));
    assert_eq!(both.await, (ok(400), struck(IDLE, 150, 150)));
    let inside = ConcurrencyLimitLayer::new(1).layer(idle(150).layer(beats));
    let both = futures_util::future::join(ended(inside.clone(), call()), ended(inside, call()));
    assert_eq!(both.await, (ok(400), ok(800)));
}

#[tokio::test(start_paused = true)]
async fn frames_of_a_body_beat() {
    let route = |frames: usize| {
        let answer = service_fn(move |_: http::Request<()>| async move {
            let frames = futures_util::stream::iter(0..frames).then(|_| async {
                tokio::time::sleep(ms(200)).await;
                Ok::<_, BoxError>(http_body::Frame::data(bytes::Bytes::from("frame")))
            });
            Ok::<_, BoxError>(http::Response::new(StreamBody::new(frames)))
        });
        TimeoutLayer::unlimited().with_idle(ms(250)).layer(answer)
    };
    let watch = Stopwatch::start();
    let answer = route(10).oneshot(http::Request::new(())).await.unwrap();
    // Its stream ends behind the last frame.
    let body = answer.into_body().collect().await.unwrap();
    assert_eq!((body.to_bytes().len(), watch.elapsed()), (50, ms(2_000)));

    let hangs = service_fn(async |_: http::Request<()>| {
        let frames = futures_util::stream::iter(["frame"])
            .map(|frame| Ok::<_, BoxError>(http_body::Frame::data(bytes::Bytes::from(frame))));
        let frames = frames.chain(futures_util::stream::pending());
        Ok::<_, BoxError>(http::Response::new(StreamBody::new(frames)))
    });
    let watch = Stopwatch::start();
    let answer = idle(250).layer(hangs).oneshot(http::Request::new(())).await;
    let mut body = pin!(answer.unwrap().into_body());
    assert!(body.frame().await.unwrap().is_ok());
    let error = body.frame().await.unwrap().unwrap_err();
    assert_eq!(scope_of(&error), (IDLE, 250, 250));
    assert_eq!(watch.elapsed(), ms(250));
}

// === progress ===

#[tokio::test(start_paused = true)]
async fn the_last_progress_wins_and_never_grows_less_between_attempts() {
    let attempts = Arc::new(AtomicUsize::new(0));
    let reports = {
        let attempts = Arc::clone(&attempts);
        tool(move |call| {
            let attempt = attempts.fetch_add(1, Ordering::SeqCst);
            async move {
                match attempt {
                    0 => {
                        call.progress(1, 10, "one");
                        call.progress(6, 10, "six");
                    }
                    _ => call.progress(2, None, "again"),
                }
                Err("half way".into())
            }
        })
    };
    let stack = |keeps: PartialResultLayer| {
        ServiceBuilder::new()
            .layer(keeps)
            .layer_fn(|inner| Retry::new(Twice(1), inner))
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

    // It can be seen without a layer that keeps it, and then no error takes it along.
    attempts.store(0, Ordering::SeqCst);
    let second = call();
    let context = second.context().clone();
    let error = collected(stack(PartialResultLayer::off()), second).await;
    assert!(error.unwrap_err().partial().is_none());
    assert_eq!(context.last_progress().map(|last| last.done()), Some(6));
    assert_eq!(context.partial(), None);
}

#[tokio::test(start_paused = true)]
async fn the_progress_of_a_later_attempt_goes_with_what_an_earlier_one_kept() {
    let attempts = Arc::new(AtomicUsize::new(0));
    let reports = tool(move |call| {
        let attempt = attempts.fetch_add(1, Ordering::SeqCst) as u64;
        async move {
            if attempt == 0 {
                call.emit("chunk");
            }
            call.progress(attempt + 1, 2, None);
            Err("half way".into())
        }
    });
    let seen = Arc::new(Mutex::new(Vec::new()));
    let inner = {
        let seen = Arc::clone(&seen);
        tower::util::MapErrLayer::new(move |error: ToolError| {
            let partial = error.partial().expect("a chunk was emitted").clone();
            seen.lock().expect("no panic under it").push(partial);
            error
        })
    };
    let stack = ServiceBuilder::new()
        .layer(idle(1_000))
        .layer_fn(|inner| Retry::new(Twice(1), inner))
        .layer(inner)
        .layer(PartialResultLayer::new())
        .service(reports);
    let error = collected(stack, call()).await.unwrap_err();
    let partial = error.partial().unwrap();
    assert_eq!(texts(partial.contents()), ["chunk"]);
    assert_eq!(partial.progress().map(|progress| progress.done()), Some(2));
    // The error of the first attempt keeps what it said then.
    let seen = seen.lock().expect("no panic under it");
    let done = seen
        .iter()
        .map(|seen| seen.progress().map(|progress| progress.done()));
    assert_eq!(done.collect::<Vec<_>>(), [Some(1), Some(2)]);
}
