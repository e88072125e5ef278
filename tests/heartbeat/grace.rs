//! The grace that a tool has after its limit.

use std::error::Error;
use std::future::pending;

use futures_util::StreamExt;
use tokio::time::{Instant, sleep};
use toolbooth::{
    CancelReason, CatchPanicLayer, ConcurrencyLimitLayer, ErrorKind, Outcome, SpawnLayer,
};
use toolbooth_test::{Probe, Recorder};
use tower::{ServiceBuilder, service_fn};

use super::*;

fn grace(limit: u64, grace: u64) -> TimeoutLayer {
    TimeoutLayer::new(ms(limit)).with_grace(ms(grace))
}

/// A tool that ends 50 ms after it is cancelled, with what it has.
fn stops() -> BoxTool {
    tool(|call| async move {
        call.emit("emitted");
        call.cancelled().await;
        assert_eq!(call.cancel_reason(), Some(CancelReason::Timeout));
        sleep(ms(50)).await;
        Ok(ToolOutput::contents(vec!["half".into(), "saved".into()]))
    })
}

/// A tool that ends 50 ms after it is cancelled; the probe counts its calls.
fn counted(inside: &Probe) -> BoxTool {
    let probe = inside.clone();
    tool(move |call| {
        let inside = probe.enter();
        async move {
            call.cancelled().await;
            sleep(ms(50)).await;
            drop(inside);
            Ok(ToolOutput::text("half"))
        }
    })
}

#[tokio::test(start_paused = true)]
async fn response_within_the_grace_is_the_partial_of_the_timeout() {
    // With a layer that keeps partial results, and without.
    for stack in [
        kept(&grace(300, 100), stops()),
        boxed(grace(300, 100).layer(stops())),
    ] {
        let watch = Stopwatch::start();
        let call = call();
        let ends = Recorder::new();
        call.context().on_cleanup(ends.hook());
        let error = collected(stack, call).await.unwrap_err();
        assert_eq!(watch.elapsed(), ms(350));
        assert_eq!(scope_of(&error), (TOTAL, 300, 350));
        let partial = error.partial().unwrap();
        assert_eq!(texts(partial.contents()), ["half", "saved"]);
        assert!(error.source().is_none());
        tokio::task::yield_now().await;
        assert_eq!(ends.values(), [Outcome::TimedOut]);
    }
}

#[tokio::test(start_paused = true)]
async fn tool_that_does_not_end_is_dropped_after_the_grace() {
    let seen = Recorder::new();
    let inside = Probe::new();
    let (notes, probe) = (seen.clone(), inside.clone());
    let ignores = tool(move |call| {
        let (notes, inside) = (notes.clone(), probe.enter());
        async move {
            call.emit("emitted");
            call.cancelled().await;
            notes.record(call.cancel_reason());
            call.emit("last words");
            let _inside = inside;
            pending().await
        }
    });
    let error = collected(kept(&grace(300, 100), ignores), call()).await;
    let error = error.unwrap_err();
    assert_eq!(scope_of(&error), (TOTAL, 300, 400));
    // It is cancelled at the limit.
    assert_eq!(seen.entries(), [(ms(300), Some(CancelReason::Timeout))]);
    assert_eq!(
        texts(error.partial().unwrap().contents()),
        ["emitted", "last words"]
    );
    assert_eq!((inside.running(), inside.finished()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn failure_within_the_grace_is_the_source_of_the_timeout() {
    let fails = tool(|call| async move {
        call.cancelled().await;
        Err("the disk is full".into())
    });
    let error = collected(grace(300, 100).layer(fails), call()).await;
    let error = error.unwrap_err();
    assert_eq!(scope_of(&error), (TOTAL, 300, 300));
    let late = error.source().unwrap();
    assert_eq!(late.to_string(), "the tool failed");
    assert_eq!(late.source().unwrap().to_string(), "the disk is full");

    // An error that only reports the cancellation is no source.
    let obeys = tool(|call| async move {
        call.cancelled().await;
        Err(ToolError::cancelled(CancelReason::Timeout).into())
    });
    let error = collected(grace(300, 100).layer(obeys), call()).await;
    let error = error.unwrap_err();
    assert_eq!(scope_of(&error), (TOTAL, 300, 300));
    assert!(error.source().is_none());
}

#[tokio::test(start_paused = true)]
async fn response_of_another_type_is_awaited_and_not_kept() {
    let slow = service_fn(async |call: ToolCall| {
        call.context().emit("emitted");
        sleep(ms(350)).await;
        Ok::<_, BoxError>(String::from("late"))
    });
    let stack = grace(300, 100).layer(PartialResultLayer::new().layer(slow));
    let error = stack.oneshot(call()).await.unwrap_err();
    assert_eq!(scope_of(&error), (TOTAL, 300, 350));
    assert_eq!(texts(error.partial().unwrap().contents()), ["emitted"]);
}

#[tokio::test(start_paused = true)]
async fn grace_follows_an_idle_limit_and_beats_do_not_prolong_it() {
    let beats_late = tool(|call| async move {
        sleep(ms(310)).await;
        loop {
            call.heartbeat();
            sleep(ms(10)).await;
        }
    });
    let layer = idle(300).with_grace(ms(100));
    let (result, at) = ended(layer.layer(beats_late), call()).await;
    assert_eq!((result, at), (Err((IDLE, 300, 400)), 400));
}

#[tokio::test(start_paused = true)]
async fn grace_ends_with_the_deadline_and_with_an_outer_limit() {
    let hangs = tool(|_| pending());
    let deadline = call().with_deadline(Instant::now() + ms(340));
    let at_deadline = ended(grace(300, 100).layer(hangs.clone()), deadline).await;
    assert_eq!(at_deadline, (Err((TOTAL, 300, 340)), 340));

    // There is no grace after the deadline.
    let deadline = call().with_deadline(Instant::now() + ms(200));
    let at_deadline = ended(grace(300, 100).layer(hangs.clone()), deadline).await;
    assert_eq!(at_deadline, expired(DEADLINE, 200, 200));

    let inner = TimeoutLayer::new(ms(350)).layer(grace(300, 100).layer(hangs.clone()));
    assert_eq!(ended(inner, call()).await, (Err((TOTAL, 300, 350)), 350));
    let outer = grace(300, 100).layer(TimeoutLayer::new(ms(350)).layer(hangs.clone()));
    assert_eq!(ended(outer, call()).await, (Err((TOTAL, 300, 400)), 400));

    let endless = TimeoutLayer::new(ms(300)).with_grace(Duration::MAX);
    let slow = repeats(ms(60_000), 1, |_| ());
    let ended = ended(endless.layer(slow), call()).await;
    assert_eq!(ended, (Err((TOTAL, 300, 60_000)), 60_000));
}

#[tokio::test(start_paused = true)]
async fn inner_permits_are_held_during_the_grace_and_no_call_starts() {
    let permits = ConcurrencyLimitLayer::new(1);
    let inside = Probe::new();
    let stops = counted(&inside);
    let stack = ServiceBuilder::new()
        .layer(grace(300, 100))
        .layer(permits.clone())
        .service(stops);
    let running = tokio::spawn(ended(stack.clone(), call()));
    let waiting = tokio::spawn(ended(stack, call()));
    sleep(ms(310)).await;
    assert_eq!((permits.available(), permits.queued()), (0, 0));
    assert_eq!(running.await.unwrap(), (Err((TOTAL, 300, 350)), 350));
    // The queued call has no grace.
    assert_eq!(waiting.await.unwrap(), (Err((TOTAL, 300, 300)), 300));
    assert_eq!((permits.available(), inside.started()), (1, 1));
}

/// Also if it waits in a foreign queue.
#[tokio::test(start_paused = true)]
async fn call_that_is_not_ready_when_the_grace_starts_is_not_started() {
    let inside = Probe::new();
    let stops = counted(&inside);
    let foreign = ServiceBuilder::new().concurrency_limit(1).service(stops);
    let alone = boxed(foreign.clone());
    let caught = boxed(CatchPanicLayer::new().layer(foreign.clone()));
    let spawned = boxed(SpawnLayer::new().layer(foreign));
    for (calls, tool) in (1..).zip([alone, caught, spawned]) {
        let stack = grace(300, 100).layer(tool);
        let running = tokio::spawn(ended(stack.clone(), call()));
        let waiting = tokio::spawn(ended(stack, call()));
        assert_eq!(running.await.unwrap(), (Err((TOTAL, 300, 350)), 350));
        assert_eq!(waiting.await.unwrap(), (Err((TOTAL, 300, 300)), 300));
        assert_eq!(inside.started(), calls);
    }
}

#[tokio::test(start_paused = true)]
async fn call_that_is_dropped_in_the_grace_ends() {
    let inside = Probe::new();
    let hangs = toolbooth_tests::hanging(&inside);
    let call = call();
    let ends = Recorder::new();
    call.context().on_cleanup(ends.hook());
    let running = grace(300, 100).layer(hangs).oneshot(call);
    assert!(tokio::time::timeout(ms(350), running).await.is_err());
    assert_eq!(inside.running(), 0);
    tokio::task::yield_now().await;
    assert_eq!(ends.values(), [Outcome::Cancelled]);
}

/// The outcome is a timeout, since the limit expired first.
#[tokio::test(start_paused = true)]
async fn cancellation_ends_the_grace() {
    let hangs = tool(|_| pending());
    let call = call();
    let owner = call.canceller();
    tokio::spawn(async move {
        sleep(ms(350)).await;
        owner.cancel();
    });
    let ended = ended(grace(300, 100).layer(hangs), call).await;
    assert_eq!(ended, (Err((TOTAL, 300, 350)), 350));
}

#[tokio::test(start_paused = true)]
async fn stream_ends_at_the_limit_and_a_late_head_is_dropped() {
    let slow_stream = tool(|_| async move {
        let items = futures_util::stream::iter(0..5).then(|item| async move {
            sleep(ms(200)).await;
            Ok::<_, BoxError>(Content::from(format!("{item}")))
        });
        Ok(ToolOutput::stream(items))
    });
    let ended = ended(grace(500, 1_000).layer(slow_stream.clone()), call()).await;
    assert_eq!(ended, expired(TOTAL, 500, 500));

    let late_head = tool(move |call| {
        let slow_stream = slow_stream.clone();
        async move {
            sleep(ms(550)).await;
            call.emit("emitted");
            let head = slow_stream.oneshot(super::call()).await?;
            Ok(head)
        }
    });
    let stack = kept(&grace(500, 1_000), late_head);
    let error = collected(stack, call()).await.unwrap_err();
    assert_eq!(scope_of(&error), (TOTAL, 500, 550));
    assert_eq!(texts(error.partial().unwrap().contents()), ["emitted"]);
}

#[tokio::test(start_paused = true)]
async fn call_that_ends_at_its_limit_has_no_grace() {
    let response = collected(grace(300, 100).layer(repeats(ms(300), 1, |_| ())), call()).await;
    assert_eq!(response.unwrap().text(), "done");
    let fails = tool(|_| async { Err("half way".into()) });
    let error = collected(grace(300, 100).layer(fails), call()).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Tool);
}
