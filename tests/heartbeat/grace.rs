//! What a tool may still do behind its limit.

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

/// Stops when it is told to, needs 50 ms for that, and answers with what it has.
fn stops() -> BoxTool {
    tool(|call| async move {
        call.emit("emitted");
        call.cancelled().await;
        assert_eq!(call.cancel_reason(), Some(CancelReason::Timeout));
        sleep(ms(50)).await;
        Ok(ToolOutput::contents(vec!["half".into(), "saved".into()]))
    })
}

#[tokio::test(start_paused = true)]
async fn a_tool_that_finishes_in_time_leaves_its_answer_in_the_timeout() {
    // With what was published while it ran, and without.
    for stack in [
        kept(&grace(300, 100), stops()),
        BoxTool::new(grace(300, 100).layer(stops())),
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
async fn a_tool_that_does_not_finish_is_dropped_behind_the_grace() {
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
    // It was told at the limit.
    assert_eq!(seen.entries(), [(ms(300), Some(CancelReason::Timeout))]);
    assert_eq!(
        texts(error.partial().unwrap().contents()),
        ["emitted", "last words"]
    );
    assert_eq!((inside.running(), inside.finished()), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_late_failure_is_the_source_of_the_timeout() {
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

    // One that only says that it was told to stop adds nothing.
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
async fn an_answer_that_is_no_tools_output_is_awaited_and_not_kept() {
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
async fn grace_ends_with_the_deadline_and_with_a_limit_further_out() {
    let hangs = tool(|_| pending());
    let deadline = call().with_deadline(Instant::now() + ms(340));
    let cut = ended(grace(300, 100).layer(hangs.clone()), deadline).await;
    assert_eq!(cut, (Err((TOTAL, 300, 340)), 340));

    // Behind the deadline itself nobody wants the answer any more.
    let deadline = call().with_deadline(Instant::now() + ms(200));
    let cut = ended(grace(300, 100).layer(hangs.clone()), deadline).await;
    assert_eq!(cut, struck(DEADLINE, 200, 200));

    let inner = TimeoutLayer::new(ms(350)).layer(grace(300, 100).layer(hangs.clone()));
    assert_eq!(ended(inner, call()).await, (Err((TOTAL, 300, 350)), 350));
    let outer = grace(300, 100).layer(TimeoutLayer::new(ms(350)).layer(hangs.clone()));
    assert_eq!(ended(outer, call()).await, (Err((TOTAL, 300, 400)), 400));

    let endless = TimeoutLayer::new(ms(300)).with_grace(Duration::MAX);
    let slow = stirs(ms(60_000), 1, |_| ());
    let cut = ended(endless.layer(slow), call()).await;
    assert_eq!(cut, (Err((TOTAL, 300, 60_000)), 60_000));
}

#[tokio::test(start_paused = true)]
async fn while_the_grace_runs_permits_further_in_are_held_and_nothing_starts() {
    let permits = ConcurrencyLimitLayer::new(1);
    let inside = Probe::new();
    let probe = inside.clone();
    let stops = tool(move |call| {
        let inside = probe.enter();
        async move {
            call.cancelled().await;
            sleep(ms(50)).await;
            drop(inside);
            Ok(ToolOutput::text("half"))
        }
    });
    let stack = ServiceBuilder::new()
        .layer(grace(300, 100))
        .layer(permits.clone())
        .service(stops);
    let running = tokio::spawn(ended(stack.clone(), call()));
    let waiting = tokio::spawn(ended(stack, call()));
    sleep(ms(310)).await;
    assert_eq!((permits.available(), permits.queued()), (0, 0));
    assert_eq!(running.await.unwrap(), (Err((TOTAL, 300, 350)), 350));
    // The one in line has nothing to finish.
    assert_eq!(waiting.await.unwrap(), (Err((TOTAL, 300, 300)), 300));
    assert_eq!((permits.available(), inside.started()), (1, 1));
}

/// Nor does a tool that waits in a line that is not ours.
#[tokio::test(start_paused = true)]
async fn what_is_not_ready_when_the_grace_begins_is_not_started_in_it() {
    let inside = Probe::new();
    let probe = inside.clone();
    let stops = tool(move |call| {
        let inside = probe.enter();
        async move {
            call.cancelled().await;
            sleep(ms(50)).await;
            drop(inside);
            Ok(ToolOutput::text("half"))
        }
    });
    let foreign = ServiceBuilder::new().concurrency_limit(1).service(stops);
    let alone = BoxTool::new(foreign.clone());
    let caught = BoxTool::new(CatchPanicLayer::new().layer(foreign.clone()));
    let spawned = BoxTool::new(SpawnLayer::new().layer(foreign));
    // What is on a task looks when it is woken, which is by the place that it gets.
    for (calls, (tool, ends)) in (1..).zip([(alone, 300), (caught, 300), (spawned, 350)]) {
        let stack = grace(300, 100).layer(tool);
        let running = tokio::spawn(ended(stack.clone(), call()));
        let waiting = tokio::spawn(ended(stack, call()));
        assert_eq!(running.await.unwrap(), (Err((TOTAL, 300, 350)), 350));
        let cut = (Err((TOTAL, 300, ends)), ends);
        assert_eq!(waiting.await.unwrap(), cut);
        assert_eq!(inside.started(), calls);
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_leaves_in_the_grace_ends_the_call() {
    let inside = Probe::new();
    let probe = inside.clone();
    let hangs = tool(move |_| {
        let inside = probe.enter();
        async move {
            let _inside = inside;
            pending().await
        }
    });
    let call = call();
    let ends = Recorder::new();
    call.context().on_cleanup(ends.hook());
    let answer = grace(300, 100).layer(hangs).oneshot(call);
    assert!(tokio::time::timeout(ms(350), answer).await.is_err());
    assert_eq!(inside.running(), 0);
    tokio::task::yield_now().await;
    assert_eq!(ends.values(), [Outcome::Cancelled]);
}

/// The limit struck first, so that it is a timeout; but nobody waits for what the tool still does.
#[tokio::test(start_paused = true)]
async fn an_owner_who_cancels_ends_the_grace() {
    let hangs = tool(|_| pending());
    let call = call();
    let owner = call.canceller();
    tokio::spawn(async move {
        sleep(ms(350)).await;
        owner.cancel();
    });
    let cut = ended(grace(300, 100).layer(hangs), call).await;
    assert_eq!(cut, (Err((TOTAL, 300, 350)), 350));
}

#[tokio::test(start_paused = true)]
async fn a_streamed_answer_is_cut_at_the_limit_and_a_late_head_is_dropped() {
    let slow_stream = tool(|_| async move {
        let pieces = futures_util::stream::iter(0..5).then(|piece| async move {
            sleep(ms(200)).await;
            Ok::<_, BoxError>(Content::from(format!("{piece}")))
        });
        Ok(ToolOutput::stream(pieces))
    });
    let cut = ended(grace(500, 1_000).layer(slow_stream.clone()), call()).await;
    assert_eq!(cut, struck(TOTAL, 500, 500));

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
async fn a_call_that_ends_by_its_limit_sees_no_grace() {
    let answer = collected(grace(300, 100).layer(stirs(ms(300), 1, |_| ())), call()).await;
    assert_eq!(answer.unwrap().text(), "done");
    let fails = tool(|_| async { Err("half way".into()) });
    let error = collected(grace(300, 100).layer(fails), call()).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Tool);
}
