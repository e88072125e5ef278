//! The line: first come first served, bounded, and nobody in it is forgotten.

use std::task::Context;
use std::time::Duration;

use tokio::time::Instant;
use tokio_test::{assert_pending, assert_ready};
use toolbooth::{
    ErrorKind, Outcome, OverloadReason, TimeoutLayer, TimeoutScope, ToolError, ToolOutput,
};
use tower::Layer;

use super::support::{Log, Readiness};
use super::*;

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn waiters_run_in_the_order_of_their_first_polls() {
    let limit = ConcurrencyLimitLayer::new(1);
    let (mut service, mut handle) = mock(&limit);
    let mut running = pending(&mut service, "first");
    // Called in one order, and polled in another.
    let mut late = tokio_test::task::spawn(service.call(call().with_id("late")));
    let mut early = pending(&mut service, "early");
    assert_pending!(late.poll());
    assert_eq!(counts(&limit), (0, 1, 2));
    // A poll that nobody asked for changes no place.
    assert_pending!(early.poll());
    assert_pending!(late.poll());

    let (_, send) = handle.next_request().await.unwrap();
    send.send_response(ToolOutput::text("done"));
    assert_ready!(running.poll()).unwrap();
    assert_eq!((early.is_woken(), late.is_woken()), (true, false));
    assert_eq!(counts(&limit), (0, 1, 1));
    assert_pending!(late.poll());
    assert_pending!(early.poll());
    assert_eq!(started(&mut handle), ["early"]);
    drop(early);
    assert!(late.is_woken());
    assert_pending!(late.poll());
    assert_eq!(started(&mut handle), ["late"]);
    assert_eq!(counts(&limit), (0, 1, 0));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn newcomer_does_not_overtake_a_call_that_was_granted_a_permit() {
    let limit = ConcurrencyLimitLayer::new(1);
    let (mut service, mut handle) = mock(&limit);
    let running = pending(&mut service, "first");
    let mut waiter = pending(&mut service, "waiter");
    drop(running);
    assert_eq!(started(&mut handle), ["first"]);
    let newcomer = pending(&mut service, "newcomer");
    assert_eq!(counts(&limit), (0, 1, 1));
    assert_eq!(started(&mut handle), [""; 0]);
    assert_pending!(waiter.poll());
    assert_eq!(started(&mut handle), ["waiter"]);
    drop((waiter, newcomer));
    assert_eq!(counts(&limit), (1, 0, 0));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn a_call_not_yet_polled_takes_a_permit_that_is_free_by_then() {
    let limit = ConcurrencyLimitLayer::new(1);
    let (mut service, mut handle) = mock(&limit);
    let running = pending(&mut service, "first");
    let mut second = tokio_test::task::spawn(service.call(call().with_id("second")));
    assert_eq!(counts(&limit), (0, 1, 0));
    drop(running);
    assert_eq!(counts(&limit), (1, 0, 0));
    assert_pending!(second.poll());
    assert_eq!(counts(&limit), (0, 1, 0));
    assert_eq!(started(&mut handle), ["first", "second"]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn waiter_dropped_in_line_took_nothing_and_those_behind_move_up() {
    let limit = ConcurrencyLimitLayer::new(1);
    let (mut service, mut handle) = mock(&limit);
    let running = pending(&mut service, "first");
    let leaves = pending(&mut service, "leaves");
    let stays = pending(&mut service, "stays");
    drop(leaves);
    assert_eq!(counts(&limit), (0, 1, 1));
    assert!(!stays.is_woken());
    let mut stays = stays;
    drop(running);
    assert!(stays.is_woken());
    assert_pending!(stays.poll());
    assert_eq!(started(&mut handle), ["first", "stays"]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn dropped_waiter_ends_as_cancelled_and_touches_no_tool() {
    let limit = ConcurrencyLimitLayer::new(1);
    let (mut service, _handle) = mock(&limit);
    let _running = pending(&mut service, "first");
    let probe = ScriptedTool::ready();
    let call = call();
    let outcomes = Outcomes::of(call.context());
    let mut waiter = tokio_test::task::spawn(limit.layer(probe.handle()).call(call));
    assert_pending!(waiter.poll());
    drop(waiter);
    assert_eq!(counts(&limit), (0, 1, 0));
    assert_eq!(
        (probe.log().ready_polls.len(), probe.log().calls.len()),
        (0, 0)
    );
    assert_eq!(outcomes.all().await, [Outcome::Cancelled]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn waiter_granted_and_dropped_before_it_is_polled_hands_its_permit_on() {
    let limit = ConcurrencyLimitLayer::new(1);
    let (mut service, mut handle) = mock(&limit);
    let running = pending(&mut service, "first");
    let granted = pending(&mut service, "granted");
    let mut next = pending(&mut service, "next");
    let last = pending(&mut service, "last");
    drop(running);
    assert_eq!((granted.is_woken(), next.is_woken()), (true, false));
    drop(granted);
    assert_eq!((next.is_woken(), last.is_woken()), (true, false));
    assert_eq!(counts(&limit), (0, 1, 1));
    assert_pending!(next.poll());
    assert_eq!(started(&mut handle), ["first", "next"]);
    drop((next, last));
    assert_eq!(counts(&limit), (1, 0, 0));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn last_waiter_granted_and_dropped_leaves_the_permit_free() {
    let limit = ConcurrencyLimitLayer::new(1);
    let (mut service, _handle) = mock(&limit);
    let running = pending(&mut service, "first");
    let granted = pending(&mut service, "granted");
    drop(running);
    assert_eq!(counts(&limit), (0, 1, 0));
    drop(granted);
    assert_eq!(counts(&limit), (1, 0, 0));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn each_waiter_is_woken_once_between_its_place_and_its_permit() {
    let limit = ConcurrencyLimitLayer::new(1);
    let (mut service, mut handle) = mock(&limit);
    let mut running = Box::pin(service.call(call().with_id("0")));
    let mut waiting: Vec<_> = (1..=50)
        .map(|id| {
            let (woken, id) = (Probe::new(), id.to_string());
            let mut future = Box::pin(service.call(call().with_id(id.as_str())));
            let polled = future
                .as_mut()
                .poll(&mut Context::from_waker(&woken.waker()));
            assert_pending!(polled);
            (id, woken, future)
        })
        .collect();
    waiting.reverse();
    while let Some((id, woken, mut future)) = waiting.pop() {
        assert_eq!(woken.count(), 0);
        drop(running);
        assert_eq!(woken.count(), 1);
        let polled = future
            .as_mut()
            .poll(&mut Context::from_waker(&woken.waker()));
        assert_pending!(polled);
        assert_eq!(started(&mut handle).last(), Some(&id));
        assert_eq!(
            waiting
                .iter()
                .map(|(_, woken, _)| woken.count())
                .sum::<usize>(),
            0
        );
        running = future;
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn waiter_that_moves_to_another_task_is_woken_there() {
    let limit = ConcurrencyLimitLayer::new(1);
    let (mut service, _handle) = mock(&limit);
    let running = pending(&mut service, "first");
    let mut waiter = Box::pin(service.call(call()));
    let (before, now) = (Probe::new(), Probe::new());
    for waker in [before.waker(), now.waker()] {
        assert_pending!(waiter.as_mut().poll(&mut Context::from_waker(&waker)));
    }
    drop(running);
    assert_eq!((before.get(), now.get()), (0, 1));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn waiter_holds_nothing_further_in_and_takes_its_permit_to_an_unready_tool() {
    let limit = ConcurrencyLimitLayer::new(1);
    let (mut service, _handle) = mock(&limit);
    let running = pending(&mut service, "first");
    let probe = ScriptedTool::ready().with_readiness(Readiness::Pending);
    let mut waiter = tokio_test::task::spawn(limit.layer(probe.handle()).call(call()));
    assert_pending!(waiter.poll());
    assert_eq!(probe.log().ready_polls.len(), 0);
    drop(running);
    assert_pending!(waiter.poll());
    assert_eq!(
        (counts(&limit), probe.log().ready_polls.len()),
        ((0, 1, 0), 1)
    );
    probe.set_readiness(Readiness::Ready);
    assert!(waiter.is_woken());
    assert_eq!(text(assert_ready!(waiter.poll())).await, "done");
    assert_eq!(counts(&limit), (1, 0, 0));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn service_and_layer_dropped_while_a_call_waits_leave_it_its_place() {
    let limit = ConcurrencyLimitLayer::new(1);
    let (mut service, mut handle) = mock(&limit);
    let running = pending(&mut service, "first");
    let mut waiter = pending(&mut service, "waiter");
    drop((service, limit));
    drop(running);
    assert!(waiter.is_woken());
    assert_pending!(waiter.poll());
    assert_eq!(started(&mut handle), ["first", "waiter"]);
}

// --- bounds

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn line_holds_1024_and_refuses_the_next() {
    let limit = ConcurrencyLimitLayer::new(1);
    let (mut service, mut handle) = mock(&limit);
    let running = pending(&mut service, "first");
    let mut line: Vec<Call> = (0..1_024)
        .map(|_| pending(&mut service, "waiter"))
        .collect();
    assert_eq!(counts(&limit), (0, 1, 1_024));

    let call_ = call();
    let outcomes = Outcomes::of(call_.context());
    let refused = error(service.call(call_).await);
    assert_eq!(
        refused.to_string(),
        "overloaded: the limit is reached, and 1024 calls are queued"
    );
    let full = OverloadReason::queue_full(1_024);
    assert!(matches!(&refused, ToolError::Overloaded { reason, .. } if *reason == full));
    assert!(refused.is_retryable());
    assert_eq!(refused.retry_after(), None);
    assert_eq!(outcomes.all().await, [Outcome::Rejected]);
    assert_eq!(counts(&limit), (0, 1, 1_024));

    // Room for one more.
    drop(line.swap_remove(500));
    line.push(pending(&mut service, "waiter"));
    assert_eq!(counts(&limit), (0, 1, 1_024));
    assert_eq!(started(&mut handle), ["first"]);
    drop((running, line));
    assert_eq!(counts(&limit), (1, 0, 0));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn without_a_line_a_call_that_finds_no_permit_is_refused_at_once() {
    let limit = ConcurrencyLimitLayer::new(1).with_queue_capacity(0);
    let (mut service, _handle) = mock(&limit);
    let running = pending(&mut service, "first");
    let mut refused = tokio_test::task::spawn(service.call(call()));
    let refused = error(assert_ready!(refused.poll()));
    assert_eq!(
        refused.to_string(),
        "overloaded: the limit is reached, and no call can be queued"
    );
    assert_eq!(refused.kind(), ErrorKind::Overloaded);
    drop(running);
    let _next = pending(&mut service, "next");
    assert_eq!(counts(&limit), (0, 1, 0));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn wait_ends_at_its_limit_and_not_before() {
    let limit = ConcurrencyLimitLayer::new(1).with_max_wait(ms(250));
    let (mut service, mut handle) = mock(&limit);
    let running = pending(&mut service, "first");
    // The wait is counted from the call, not from the first poll.
    let mut waiter = tokio_test::task::spawn(service.call(call()));
    tokio::time::advance(ms(100)).await;
    assert_pending!(waiter.poll());
    tokio::time::advance(ms(149)).await;
    assert!(!waiter.is_woken());
    tokio::time::advance(ms(1)).await;
    assert!(waiter.is_woken());
    let refused = error(assert_ready!(waiter.poll()));
    assert_eq!(
        refused.to_string(),
        "overloaded: still queued after the maximum wait of 250ms"
    );
    let waited = OverloadReason::waited_too_long(ms(250));
    assert!(matches!(&refused, ToolError::Overloaded { reason, .. } if *reason == waited));
    assert_eq!(counts(&limit), (0, 1, 0));
    drop(running);
    assert_eq!((started(&mut handle).len(), counts(&limit)), (1, (1, 0, 0)));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn endless_wait_is_no_limit_on_it() {
    let limit = ConcurrencyLimitLayer::new(1).with_max_wait(Duration::MAX);
    let (mut service, _handle) = mock(&limit);
    let running = pending(&mut service, "first");
    let mut waiter = pending(&mut service, "waiter");
    tokio::time::advance(Duration::from_secs(1 << 25)).await;
    assert_pending!(waiter.poll());
    drop(running);
    assert_pending!(waiter.poll());
    assert_eq!(counts(&limit), (0, 1, 0));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn permit_that_comes_when_the_wait_ends_wins() {
    let limit = ConcurrencyLimitLayer::new(1).with_max_wait(ms(250));
    let (mut service, mut handle) = mock(&limit);
    let running = pending(&mut service, "first");
    let mut waiter = pending(&mut service, "waiter");
    tokio::time::advance(ms(250)).await;
    drop(running);
    assert_pending!(waiter.poll());
    assert_eq!(started(&mut handle), ["first", "waiter"]);
}

// --- deadlines

fn timed_out(error: &ToolError) -> (TimeoutScope, Duration, Duration) {
    match error {
        ToolError::Timeout {
            scope,
            limit,
            elapsed,
            ..
        } => (*scope, *limit, *elapsed),
        other => unreachable!("{other:?}"),
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn deadline_ends_the_wait_without_any_timeout_layer() {
    let limit = ConcurrencyLimitLayer::new(1);
    let (mut service, mut handle) = mock(&limit);
    let running = pending(&mut service, "first");
    let in_250 = Instant::now() + ms(250);
    let call = call().with_deadline(in_250);
    let outcomes = Outcomes::of(call.context());
    let mut waiter = tokio_test::task::spawn(service.call(call));
    assert_pending!(waiter.poll());
    tokio::time::advance(ms(249)).await;
    assert!(!waiter.is_woken());
    assert_pending!(waiter.poll());
    tokio::time::advance(ms(1)).await;
    assert!(waiter.is_woken());
    let late = error(assert_ready!(waiter.poll()));
    assert_eq!(timed_out(&late), (TimeoutScope::Deadline, ms(250), ms(250)));
    assert_eq!(counts(&limit), (0, 1, 0));
    assert_eq!(outcomes.all().await, [Outcome::TimedOut]);
    drop(running);
    assert_eq!((started(&mut handle).len(), counts(&limit)), (1, (1, 0, 0)));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn deadline_before_the_longest_wait_is_what_ends_it_and_the_other_way_round() {
    let limit = ConcurrencyLimitLayer::new(1).with_max_wait(ms(250));
    let (mut service, _handle) = mock(&limit);
    let _running = pending(&mut service, "first");
    let start = Instant::now();
    let early = error(service.call(call().with_deadline(start + ms(100))).await);
    assert_eq!(
        timed_out(&early),
        (TimeoutScope::Deadline, ms(100), ms(100))
    );
    assert_eq!(start.elapsed(), ms(100));
    let later = error(service.call(call().with_deadline(start + ms(900))).await);
    assert_eq!(
        (later.kind(), start.elapsed()),
        (ErrorKind::Overloaded, ms(350))
    );
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn admission_at_or_after_the_deadline_starts_nothing_and_passes_the_permit_on() {
    for late in [ms(0), ms(70)] {
        let limit = ConcurrencyLimitLayer::new(1);
        let (mut service, mut handle) = mock(&limit);
        let running = pending(&mut service, "first");
        let call = call().with_deadline(Instant::now() + ms(250));
        let mut waiter = tokio_test::task::spawn(service.call(call));
        assert_pending!(waiter.poll());
        let mut behind = pending(&mut service, "behind");
        // It is granted in time, and gets to run too late.
        tokio::time::advance(ms(100)).await;
        drop(running);
        tokio::time::advance(ms(150) + late).await;
        let cut = error(assert_ready!(waiter.poll()));
        assert_eq!(
            timed_out(&cut),
            (TimeoutScope::Deadline, ms(250), ms(250) + late)
        );
        assert!(behind.is_woken());
        assert_pending!(behind.poll());
        assert_eq!(started(&mut handle), ["first", "behind"]);
        assert_eq!(counts(&limit), (0, 1, 0));
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn call_at_its_deadline_is_refused_though_a_permit_is_free() {
    let limit = ConcurrencyLimitLayer::new(1);
    let probe = ScriptedTool::ready();
    let call = call().with_deadline(Instant::now());
    let late = error(limit.layer(probe.handle()).call(call).await);
    assert_eq!(timed_out(&late), (TimeoutScope::Deadline, ms(0), ms(0)));
    assert_eq!((probe.log(), counts(&limit)), (Log::default(), (1, 0, 0)));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn running_tool_is_not_cut_by_a_deadline_without_a_timeout_layer() {
    let limit = ConcurrencyLimitLayer::new(1);
    let (mut service, mut handle) = mock(&limit);
    let call = call().with_deadline(Instant::now() + ms(100));
    let mut running = tokio_test::task::spawn(service.call(call));
    assert_pending!(running.poll());
    pass(ms(500)).await;
    assert_pending!(running.poll());
    let (_, send) = handle.next_request().await.unwrap();
    send.send_response(ToolOutput::text("done"));
    assert_eq!(text(assert_ready!(running.poll())).await, "done");
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn timeout_outside_bounds_the_wait_and_one_inside_begins_with_the_tool() {
    let limit = ConcurrencyLimitLayer::new(1);
    let (mut service, _handle) = mock(&limit);
    let running = pending(&mut service, "first");
    let start = Instant::now();
    let mut outside = TimeoutLayer::new(ms(200)).layer(limit.layer(ScriptedTool::pending()));
    let cut = error(outside.call(call()).await);
    assert_eq!(timed_out(&cut), (TimeoutScope::Total, ms(200), ms(200)));
    assert_eq!((start.elapsed(), counts(&limit)), (ms(200), (0, 1, 0)));

    let mut inside = limit.layer(TimeoutLayer::new(ms(200)).layer(ScriptedTool::pending()));
    let mut waiter = tokio_test::task::spawn(inside.call(call()));
    assert_pending!(waiter.poll());
    pass(ms(700)).await;
    assert_pending!(waiter.poll());
    drop(running);
    let cut = error(waiter.await);
    assert_eq!(timed_out(&cut), (TimeoutScope::Total, ms(200), ms(900)));
    assert_eq!((start.elapsed(), counts(&limit)), (ms(1_100), (1, 0, 0)));
}
