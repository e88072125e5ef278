//! The events of waits in the queue.

use toolbooth::events::Events;

use super::support::events::EventLines;
use super::support::takes;
use super::*;

/// A limit in an events layer, around a mock.
fn observed(events: &EventLines, limit: &ConcurrencyLimitLayer) -> (Events<Limited>, Handle) {
    let (limited, handle) = mock(limit);
    (events.layer().layer(limited), handle)
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn call_that_waits_is_queued_and_then_admitted() {
    let events = EventLines::new();
    let limit = ConcurrencyLimitLayer::new(1).with_name("search slots");
    let (mut service, mut handle) = observed(&events, &limit);
    let mut first = task::spawn(service.call(call().with_id("first")));
    assert_pending!(first.poll());
    let mut second = task::spawn(service.call(call().with_id("second")));
    // The first poll enqueues the call.
    pass(ms(5)).await;
    assert_pending!(second.poll());
    pass(ms(30)).await;
    // A spurious poll is not another wait.
    assert_pending!(second.poll());
    respond(&mut handle, ToolOutput::text("done")).await;
    pass(ms(7)).await;
    assert_ready!(first.poll()).unwrap();
    pass(ms(3)).await;
    assert_pending!(second.poll());
    drop(second);

    assert_eq!(
        events.take(),
        [
            "0 first tool.invoked",
            "0 first tool.started",
            "0 second tool.invoked",
            "5 second tool.queued search slots",
            "42 first tool.completed",
            "45 second tool.admitted search slots 40",
            "45 second tool.started",
            "45 second tool.cancelled started=true",
        ]
    );
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn call_that_need_not_wait_is_neither_queued_nor_admitted() {
    let events = EventLines::new();
    let limit = ConcurrencyLimitLayer::new(1);
    let (mut service, _handle) = observed(&events, &limit);
    let mut running = task::spawn(service.call(call().with_id("running")));
    assert_pending!(running.poll());
    // The permit is released before the first poll.
    let mut late = task::spawn(service.call(call().with_id("late")));
    drop(running);
    pass(ms(10)).await;
    assert_pending!(late.poll());
    // The queue is full for the next one.
    limit.set_queue_capacity(0);
    let mut rejected = task::spawn(service.call(call().with_id("rejected")));
    assert_ready!(rejected.poll()).unwrap_err();
    drop(late);

    assert_eq!(
        events.take(),
        [
            "0 running tool.invoked",
            "0 running tool.started",
            "0 late tool.invoked",
            "0 running tool.cancelled started=true",
            "10 late tool.started",
            "10 rejected tool.invoked",
            "10 rejected tool.rejected overloaded",
            "10 late tool.cancelled started=true",
        ]
    );
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn call_that_ends_in_the_queue_is_not_admitted() {
    let events = EventLines::new();
    let limit = ConcurrencyLimitLayer::new(1).with_max_wait(ms(20));
    let (mut service, _handle) = observed(&events, &limit);
    let mut running = task::spawn(service.call(call().with_id("running")));
    assert_pending!(running.poll());
    events.take();
    let mut leaves = task::spawn(service.call(call().with_id("leaves")));
    assert_pending!(leaves.poll());
    drop(leaves);
    let mut rejected = task::spawn(service.call(call().with_id("rejected")));
    assert_pending!(rejected.poll());
    pass(ms(20)).await;
    assert_ready!(rejected.poll()).unwrap_err();

    assert_eq!(
        events.take(),
        [
            "0 leaves tool.invoked",
            "0 leaves tool.queued concurrency",
            "0 leaves tool.cancelled started=false",
            "0 rejected tool.invoked",
            "0 rejected tool.queued concurrency",
            "20 rejected tool.rejected overloaded",
        ]
    );
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn each_of_two_limits_reports_its_own_wait() {
    let events = EventLines::new();
    let outer = ConcurrencyLimitLayer::new(1).with_name("outer");
    let inner = ConcurrencyLimitLayer::new(1).with_name("inner");
    let tool = outer.layer(inner.layer(takes(ms(10))));
    let tool = events.layer().layer(tool);
    // Another caller of the inner limit alone.
    let mut alone = task::spawn(inner.layer(takes(ms(25))).oneshot(call()));
    assert_pending!(alone.poll());
    let a = tool.clone().oneshot(call().with_id("a"));
    let b = tool.oneshot(call().with_id("b"));
    let (alone, a, b) = tokio::join!(alone, a, b);
    assert!(alone.is_ok() && a.is_ok() && b.is_ok());

    assert_eq!(
        events.take(),
        [
            "0 a tool.invoked",
            "0 a tool.queued inner",
            "0 b tool.invoked",
            "0 b tool.queued outer",
            "25 a tool.admitted inner 25",
            "25 a tool.started",
            "35 a tool.completed",
            "35 b tool.admitted outer 35",
            "35 b tool.started",
            "45 b tool.completed",
        ]
    );
}
