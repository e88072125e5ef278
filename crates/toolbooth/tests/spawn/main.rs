//! Calls on tasks of their own: what runs where, what ends when, and what a call that is cut leaves behind.

#[path = "../support/mod.rs"]
mod support;

use std::sync::{Arc, Mutex};

use support::laws::every_layer;
use support::{Count, Probe, call, error, ms, pass, text, ticking, told};
use tokio_test::{assert_pending, assert_ready};
use toolbooth::{
    CleanupLayer, ConcurrencyLimitLayer, ErrorKind, Outcome, SpawnLayer, TimeoutLayer, ToolOutput,
};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

every_layer!(SpawnLayer::new(), which contains panics);

mod off {
    use super::*;

    every_layer!(SpawnLayer::off());
}

/// A tool that answers with what `look` gives on the tool's task, some 10 ms after it was called.
fn looks(look: fn() -> String) -> Probe {
    Probe::new(move |_| async move {
        tokio::time::sleep(ms(10)).await;
        Ok(ToolOutput::text(look()))
    })
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn each_call_has_a_task_of_its_own() {
    let task = || format!("{:?}", tokio::task::try_id());
    let service = SpawnLayer::new().layer(looks(|| format!("{:?}", tokio::task::try_id())));
    let mut tasks = vec![task()];
    for _ in 0..2 {
        tasks.push(text(service.clone().oneshot(call()).await).await);
    }
    tasks.dedup();
    assert_eq!(tasks.len(), 3, "{tasks:?}");

    let in_place = SpawnLayer::off().layer(looks(|| format!("{:?}", tokio::task::try_id())));
    assert_eq!(text(in_place.oneshot(call()).await).await, task());
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn the_span_of_the_first_poll_follows() {
    use tracing::Instrument;

    let _traced = tracing::subscriber::set_default(tracing_subscriber::registry());
    let span = || {
        tracing::Span::current()
            .metadata()
            .map_or("none", |span| span.name())
    };
    assert_eq!(span(), "none");
    let service = SpawnLayer::new().layer(looks(|| {
        let span = tracing::Span::current();
        span.metadata()
            .map_or("none", |span| span.name())
            .to_owned()
    }));
    let answer = service
        .oneshot(call())
        .instrument(tracing::info_span!("request"));
    assert_eq!(text(answer.await).await, "request");
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn permits_inside_are_taken_in_call_and_back_before_the_caller_sees_the_end() {
    let limit = ConcurrencyLimitLayer::new(2);
    let service = ServiceBuilder::new()
        .layer(TimeoutLayer::new(ms(30)))
        .layer(SpawnLayer::new())
        .layer(limit.clone())
        .service(Probe::stuck());
    let mut times_out = tokio_test::task::spawn(service.clone().call(call()));
    let dropped_unpolled = service.clone().call(call());
    assert_eq!(limit.available(), 0);
    drop(dropped_unpolled);
    assert_eq!(limit.available(), 1);

    let mut dropped = tokio_test::task::spawn(service.clone().call(call()));
    assert_pending!(times_out.poll());
    assert_pending!(dropped.poll());
    pass(ms(10)).await;
    assert_eq!(limit.available(), 0);
    drop(dropped);
    assert_eq!(limit.available(), 1);
    pass(ms(20)).await;
    assert_eq!(
        error(assert_ready!(times_out.poll())).kind(),
        ErrorKind::Timeout
    );
    assert_eq!(limit.available(), 2);
}

/// What waits for its turn inside is on the task, keeps its place, and leaves it when the call is dropped.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn places_in_line_inside_are_kept_and_given_up() {
    let limit = ConcurrencyLimitLayer::new(1);
    let service = SpawnLayer::new().layer(limit.layer(looks(String::new)));
    let calls: [_; 3] = std::array::from_fn(|_| service.clone().call(call()));
    let mut calls = calls.map(tokio_test::task::spawn);
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

/// The reading of the clock that layers share in one synchronous stretch stays in that stretch.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn the_task_reads_the_clock_anew() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let tell = Arc::clone(&seen);
    let service =
        TimeoutLayer::new(ms(1_000)).layer(SpawnLayer::new().layer(Probe::new(move |call| {
            let seen = Arc::clone(&tell);
            async move {
                seen.lock().unwrap().push(call.context().elapsed());
                tokio::time::sleep(ms(5)).await;
                seen.lock().unwrap().push(call.context().elapsed());
                Ok(ToolOutput::text("done"))
            }
        })));
    let future = service.clone().call(call());
    pass(ms(20)).await;
    future.await.unwrap();
    assert_eq!(*seen.lock().unwrap(), [ms(20), ms(25)]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn an_answer_that_nobody_fetched_is_dropped_with_its_call() {
    let streams = Count::default();
    let streamed = streams.clone();
    let mut service = SpawnLayer::new().layer(Probe::new(move |_| {
        std::future::ready(Ok(ticking(&streamed, ms(10), ["a", "b"])))
    }));
    let call = call();
    let outcomes = told(call.context());
    let mut future = tokio_test::task::spawn(service.call(call));
    assert_pending!(future.poll());
    pass(ms(1)).await;
    assert_eq!((future.is_woken(), streams.get()), (true, 0));
    drop(future);
    assert_eq!(streams.get(), 1);
    assert_eq!(outcomes.outcomes().await, [Outcome::Cancelled]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn hooks_are_told_once_and_a_cut_call_adds_none() {
    let (outer, inner) = (CleanupLayer::new(), CleanupLayer::new());
    let service = ServiceBuilder::new()
        .layer(outer.clone())
        .layer(TimeoutLayer::new(ms(10)))
        .layer(SpawnLayer::new())
        .layer(inner.clone())
        .service(Probe::stuck());
    let call = call();
    let outcomes = told(call.context());
    assert_eq!(
        error(service.oneshot(call).await).kind(),
        ErrorKind::Timeout
    );
    assert_eq!(outcomes.outcomes().await, [Outcome::TimedOut]);
    // The innermost that saw the end, as without a task.
    assert_eq!((inner.drain(ms(10)).await.ran, outer.report().ran), (1, 0));
}

/// A runtime that goes away takes the tool along; whoever waits on another one is told.
#[test]
fn runtime_of_the_task_shuts_down() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let probe = Probe::stuck();
    let mut service = SpawnLayer::new().layer(probe.view());
    let call = call();
    let mut future = tokio_test::task::spawn(service.call(call));
    runtime.block_on(async {
        assert_pending!(future.poll());
        tokio::task::yield_now().await;
    });
    assert_eq!(probe.dropped(), 0);
    drop(runtime);
    assert_eq!(probe.dropped(), 1);
    assert!(future.is_woken());
    let ended = error(assert_ready!(future.poll()));
    assert_eq!(
        (ended.kind(), ended.to_string().as_str()),
        (ErrorKind::Cancelled, "cancelled: shutdown")
    );
}
