//! `SpawnLayer`: each call runs on a task of its own, which ends with the call.

#[path = "../support/mod.rs"]
mod support;

use support::events::EventLines;
use support::laws::every_layer;
use support::{
    Outcomes, Recorder, ScriptedTool, call, error, error_of, ms, pass, streams, text_of, ticking,
};
use tokio_test::{assert_pending, assert_ready, task};
use toolbooth::{
    CleanupLayer, ConcurrencyLimitLayer, ErrorKind, Outcome, SpawnLayer, TimeoutLayer, ToolOutput,
};
use tower::{Layer, Service, ServiceBuilder};
use tracing::Instrument;

every_layer!(SpawnLayer::new(), catches panics);

mod off {
    use super::*;

    every_layer!(SpawnLayer::off());
}

/// A tool that returns what `look` returns on the tool's task, 10 ms after the call.
fn looks(look: fn() -> String) -> ScriptedTool {
    ScriptedTool::new(move |_| async move {
        tokio::time::sleep(ms(10)).await;
        Ok(ToolOutput::text(look()))
    })
}

fn task_id() -> String {
    format!("{:?}", tokio::task::try_id())
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn each_call_has_a_task_of_its_own() {
    let service = SpawnLayer::new().layer(looks(task_id));
    let mut tasks = vec![task_id()];
    for _ in 0..2 {
        tasks.push(text_of(service.clone(), call()).await);
    }
    tasks.dedup();
    assert_eq!(tasks.len(), 3, "{tasks:?}");

    let off = SpawnLayer::off().layer(looks(task_id));
    assert_eq!(text_of(off, call()).await, task_id());
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn task_runs_in_the_span_of_the_first_poll() {
    fn span() -> String {
        let span = tracing::Span::current();
        span.metadata()
            .map_or("none", |span| span.name())
            .to_owned()
    }
    let _traced = tracing::subscriber::set_default(tracing_subscriber::registry());
    assert_eq!(span(), "none");
    let service = SpawnLayer::new().layer(looks(span));
    let response = text_of(service, call()).instrument(tracing::info_span!("request"));
    assert_eq!(response.await, "request");
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn inner_permits_are_acquired_in_call_and_released_before_the_caller_sees_the_end() {
    let limit = ConcurrencyLimitLayer::new(2);
    let service = ServiceBuilder::new()
        .layer(TimeoutLayer::new(ms(30)))
        .layer(SpawnLayer::new())
        .layer(limit.clone())
        .service(ScriptedTool::pending());
    let mut times_out = task::spawn(service.clone().call(call()));
    let dropped_unpolled = service.clone().call(call());
    assert_eq!(limit.available(), 0);
    drop(dropped_unpolled);
    assert_eq!(limit.available(), 1);

    let mut dropped = task::spawn(service.clone().call(call()));
    assert_pending!(times_out.poll());
    assert_pending!(dropped.poll());
    pass(ms(10)).await;
    assert_eq!(limit.available(), 0);
    drop(dropped);
    assert_eq!(limit.available(), 1);
    pass(ms(20)).await;
    let expired = error(assert_ready!(times_out.poll()));
    assert_eq!(expired.kind(), ErrorKind::Timeout);
    assert_eq!(limit.available(), 2);
}

/// The permit is released on the task, before the caller is woken.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn calls_on_tasks_report_where_they_wait_and_when_they_start() {
    let events = EventLines::new();
    let service = ServiceBuilder::new()
        .layer(events.layer())
        .layer(SpawnLayer::new())
        .layer(ConcurrencyLimitLayer::new(1))
        .service(looks(String::new));
    let run = |id: &str| text_of(service.clone(), call().with_id(id));
    tokio::join!(run("a"), run("b"));
    assert_eq!(
        events.take(),
        [
            "0 a tool.invoked",
            "0 a tool.started",
            "0 b tool.invoked",
            "0 b tool.queued concurrency",
            "10 b tool.admitted concurrency 10",
            "10 b tool.started",
            "10 a tool.completed",
            "20 b tool.completed",
        ]
    );
}

/// An inner waiter is on the task. It leaves the queue when its call is dropped.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn inner_waiters_stay_queued_until_their_call_is_dropped() {
    let limit = ConcurrencyLimitLayer::new(1);
    let service = SpawnLayer::new().layer(limit.layer(looks(String::new)));
    let calls: [_; 3] = std::array::from_fn(|_| service.clone().call(call()));
    let mut calls = calls.map(task::spawn);
    for call in &mut calls {
        assert_pending!(call.poll());
        tokio::task::yield_now().await;
    }
    assert_eq!((limit.in_flight(), limit.queued()), (1, 2));
    let [first, second, third] = calls;
    drop(second);
    assert_eq!((limit.in_flight(), limit.queued()), (1, 1));
    first.await.unwrap();
    assert_eq!((limit.in_flight(), limit.queued()), (1, 0));
    third.await.unwrap();
    assert_eq!(limit.available(), 1);
}

/// Layers share one reading of the clock in one synchronous stretch, and not beyond it.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn task_reads_the_clock_again() {
    let elapsed = Recorder::new();
    let recorder = elapsed.clone();
    let tool = ScriptedTool::new(move |call| {
        let recorder = recorder.clone();
        async move {
            recorder.record(call.context().elapsed());
            tokio::time::sleep(ms(5)).await;
            recorder.record(call.context().elapsed());
            Ok(ToolOutput::text("done"))
        }
    });
    let mut service = TimeoutLayer::new(ms(1_000)).layer(SpawnLayer::new().layer(tool));
    let future = service.call(call());
    pass(ms(20)).await;
    future.await.unwrap();
    assert_eq!(elapsed.values(), [ms(20), ms(25)]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn response_that_is_never_fetched_is_dropped_with_its_call() {
    let (tool, streams) = streams(|probe| ticking(probe, ms(10), ["a", "b"]));
    let mut service = SpawnLayer::new().layer(tool);
    let call = call();
    let outcomes = Outcomes::of(call.context());
    let mut future = task::spawn(service.call(call));
    assert_pending!(future.poll());
    pass(ms(1)).await;
    assert_eq!((future.is_woken(), streams.running()), (true, 1));
    drop(future);
    assert_eq!(streams.running(), 0);
    assert_eq!(outcomes.all().await, [Outcome::Cancelled]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn hooks_of_an_expired_call_run_once_in_the_innermost_cleanup_layer() {
    let (outer, inner) = (CleanupLayer::new(), CleanupLayer::new());
    let service = ServiceBuilder::new()
        .layer(outer.clone())
        .layer(TimeoutLayer::new(ms(10)))
        .layer(SpawnLayer::new())
        .layer(inner.clone())
        .service(ScriptedTool::pending());
    let call = call();
    let outcomes = Outcomes::of(call.context());
    assert_eq!(error_of(service, call).await.kind(), ErrorKind::Timeout);
    assert_eq!(outcomes.all().await, [Outcome::TimedOut]);
    assert_eq!((inner.drain(ms(10)).await.ran, outer.report().ran), (1, 0));
}

/// The shutdown of a runtime drops the tool, and wakes the caller on another runtime.
#[test]
fn shutdown_of_the_tasks_runtime_cancels_the_call() {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().build().unwrap();
    let tool = ScriptedTool::pending();
    let mut service = SpawnLayer::new().layer(tool.handle());
    let mut future = task::spawn(service.call(call()));
    runtime.block_on(async {
        assert_pending!(future.poll());
        tokio::task::yield_now().await;
    });
    assert_eq!(tool.probe().running(), 1);
    drop(runtime);
    assert_eq!(tool.probe().running(), 0);
    assert!(future.is_woken());
    let ended = error(assert_ready!(future.poll()));
    assert_eq!(ended.kind(), ErrorKind::Cancelled);
    assert_eq!(ended.to_string(), "cancelled: shutdown");
}
