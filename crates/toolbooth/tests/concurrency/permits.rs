//! Permits are taken in `call`, and come back once, however the call ends.

use std::panic::{AssertUnwindSafe, catch_unwind};

use futures_util::FutureExt;
use tokio::time::sleep;
use tokio_test::{assert_pending, assert_ready};
use toolbooth::{
    BoxError, ConfigError, Content, ErrorKind, Outcome, OverloadReason, ToolError, ToolOutput,
};
use tower::{Layer, ServiceExt};

use super::support::panic_text;
use super::support::{Log, Readiness, streaming};
use super::*;

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn permit_is_taken_in_call_and_back_before_the_answer_is_seen() {
    let limit = ConcurrencyLimitLayer::new(2);
    let (mut service, mut handle) = mock(&limit);
    assert_eq!(counts(&limit), (2, 0, 0));
    let mut future = tokio_test::task::spawn(service.call(call()));
    assert_eq!(counts(&limit), (1, 1, 0));
    assert_pending!(future.poll());
    let (_, send) = handle.next_request().await.unwrap();
    send.send_response(ToolOutput::text("done"));
    assert_eq!(counts(&limit), (1, 1, 0));
    assert_eq!(text(assert_ready!(future.poll())).await, "done");
    assert_eq!(counts(&limit), (2, 0, 0));
    drop(future);
    assert_eq!(counts(&limit), (2, 0, 0));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn permit_comes_back_when_the_call_fails() {
    let limit = ConcurrencyLimitLayer::new(1);
    let fails = ScriptedTool::new(async |_| Err(BoxError::from("disk full")));
    assert_eq!(
        error(limit.layer(fails).oneshot(call()).await).kind(),
        ErrorKind::Tool
    );
    assert_eq!(counts(&limit), (1, 0, 0));
    let unready = ScriptedTool::ready().with_readiness(Readiness::Fails);
    assert_eq!(
        error(limit.layer(unready).oneshot(call()).await).kind(),
        ErrorKind::Tool
    );
    assert_eq!(counts(&limit), (1, 0, 0));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn permit_comes_back_when_the_call_is_dropped() {
    let limit = ConcurrencyLimitLayer::new(1);
    let stuck = ScriptedTool::pending();
    let mut service = limit.layer(stuck.handle());
    drop(service.call(call()));
    assert_eq!(counts(&limit), (1, 0, 0));

    let mut running = tokio_test::task::spawn(service.call(call()));
    assert_pending!(running.poll());
    assert_eq!(counts(&limit), (0, 1, 0));
    drop(running);
    assert_eq!(counts(&limit), (1, 0, 0));

    stuck.set_readiness(Readiness::Pending);
    let mut unready = tokio_test::task::spawn(service.call(call()));
    assert_pending!(unready.poll());
    assert_eq!(counts(&limit), (0, 1, 0));
    drop(unready);
    assert_eq!(counts(&limit), (1, 0, 0));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn permit_comes_back_when_anything_inside_panics() {
    let limit = ConcurrencyLimitLayer::new(1);
    let mut in_work = limit.layer(ScriptedTool::panics_in_future());
    let panic = AssertUnwindSafe(in_work.call(call())).catch_unwind().await;
    assert_eq!(panic_text(panic), "in the future");
    assert_eq!(counts(&limit), (1, 0, 0));

    let mut in_call = limit.layer(ScriptedTool::panics_in_call());
    let panic = catch_unwind(AssertUnwindSafe(|| drop(in_call.call(call()))));
    assert_eq!(panic_text(panic), "in call");
    assert_eq!(counts(&limit), (1, 0, 0));

    let mut in_ready = limit.layer(ScriptedTool::ready().with_readiness(Readiness::Panics));
    let panic = catch_unwind(AssertUnwindSafe(|| drop(in_ready.call(call()))));
    assert_eq!(panic_text(panic), "in poll_ready");
    assert_eq!(counts(&limit), (1, 0, 0));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn permit_of_a_waiter_comes_back_when_what_it_starts_panics() {
    let limit = ConcurrencyLimitLayer::new(1);
    for (probe, text) in [
        (ScriptedTool::panics_in_call(), "in call"),
        (
            ScriptedTool::ready().with_readiness(Readiness::Panics),
            "in poll_ready",
        ),
    ] {
        let (mut service, _handle) = mock(&limit);
        let holder = service.call(call());
        let call = call();
        let outcomes = Outcomes::of(call.context());
        let mut waiter = tokio_test::task::spawn(limit.layer(probe).call(call));
        assert_pending!(waiter.poll());
        drop(holder);
        let panic = catch_unwind(AssertUnwindSafe(|| waiter.poll().is_pending()));
        assert_eq!(panic_text(panic), text);
        assert_eq!(counts(&limit), (1, 0, 0));
        assert_eq!(outcomes.all().await, [Outcome::Panicked]);
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn permit_of_a_streamed_answer_is_held_to_its_end() {
    let limit = ConcurrencyLimitLayer::new(1);
    let tool = ScriptedTool::new(async |_| Ok(ticking(&Probe::new(), ms(10), ["a", "b"])));
    let mut stream = limit
        .layer(tool)
        .oneshot(call())
        .await
        .unwrap()
        .into_stream();
    for piece in ["a", "b"] {
        assert_eq!(next(&mut stream).await.unwrap().unwrap(), piece);
        assert_eq!(counts(&limit), (0, 1, 0));
    }
    assert!(next(&mut stream).await.is_none());
    assert_eq!(counts(&limit), (1, 0, 0));
    drop(stream);
    assert_eq!(counts(&limit), (1, 0, 0));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn permit_of_a_streamed_answer_comes_back_when_it_fails_or_is_dropped() {
    let limit = ConcurrencyLimitLayer::new(1);
    let tool = ScriptedTool::new(async |_| {
        let pieces: [Result<_, BoxError>; 2] = [Ok(Content::from("a")), Err("disk full".into())];
        Ok(streaming(&Probe::new(), futures_util::stream::iter(pieces)))
    });
    let service = limit.layer(tool);
    let mut fails = service.clone().oneshot(call()).await.unwrap().into_stream();
    assert_eq!(next(&mut fails).await.unwrap().unwrap(), "a");
    assert_eq!(counts(&limit), (0, 1, 0));
    assert_eq!(
        next(&mut fails).await.unwrap().unwrap_err().kind(),
        ErrorKind::Tool
    );
    assert_eq!(counts(&limit), (1, 0, 0));

    let mut dropped = service.clone().oneshot(call()).await.unwrap().into_stream();
    assert_eq!(next(&mut dropped).await.unwrap().unwrap(), "a");
    drop(dropped);
    assert_eq!(counts(&limit), (1, 0, 0));

    let unread = service.oneshot(call()).await.unwrap();
    assert_eq!(counts(&limit), (0, 1, 0));
    drop(unread);
    assert_eq!(counts(&limit), (1, 0, 0));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn streamed_answer_that_ends_lets_the_next_one_run() {
    let limit = ConcurrencyLimitLayer::new(1);
    let tool = ScriptedTool::new(async |_| Ok(ticking(&Probe::new(), ms(10), ["a"])));
    let mut service = limit.layer(tool);
    let mut stream = service.call(call()).await.unwrap().into_stream();
    let mut waiter = tokio_test::task::spawn(service.call(call()));
    assert_pending!(waiter.poll());
    assert_eq!(next(&mut stream).await.unwrap().unwrap(), "a");
    assert!(!waiter.is_woken());
    assert!(next(&mut stream).await.is_none());
    assert!(waiter.is_woken());
    assert!(assert_ready!(waiter.poll()).unwrap().is_stream());
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn hooks_run_without_the_permit() {
    let limit = ConcurrencyLimitLayer::new(1);
    let seen = limit.clone();
    let (tell, told) = tokio::sync::oneshot::channel();
    let call = call();
    call.context().on_cleanup(move |_| async move {
        tell.send(counts(&seen)).unwrap();
    });
    assert_eq!(
        text(limit.layer(ScriptedTool::ready()).oneshot(call).await).await,
        "done"
    );
    assert_eq!(told.await.unwrap(), (1, 0, 0));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn as_many_run_at_once_as_the_limit_says() {
    let limit = ConcurrencyLimitLayer::new(3);
    let (running, most) = (Probe::new(), Probe::new());
    let (now, peak) = (running.clone(), most.clone());
    let tool = ScriptedTool::new(move |_| {
        let (now, peak) = (now.clone(), peak.clone());
        async move {
            now.add();
            while peak.get() < now.get() {
                peak.add();
            }
            sleep(ms(100)).await;
            now.sub();
            Ok::<_, BoxError>(ToolOutput::text("done"))
        }
    });
    let service = limit.layer(tool);
    let start = tokio::time::Instant::now();
    let calls = (0..10).map(|_| service.clone().oneshot(call()));
    let answers: Vec<Response> = futures_util::future::join_all(calls).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 10);
    // Rounds of 3, 3, 3 and 1.
    assert_eq!((most.get(), start.elapsed()), (3, ms(400)));
    assert_eq!(counts(&limit), (3, 0, 0));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn clones_and_services_of_one_value_share_a_limit_and_a_new_value_is_a_new_one() {
    let limit = ConcurrencyLimitLayer::new(2);
    let [layer, limit] = [limit.clone(), limit];
    let (mut one, _one) = mock(&layer);
    let (mut other, _other) = mock(&limit);
    let mut clone = one.clone();
    let first = one.call(call());
    let second = other.call(call());
    assert_eq!((counts(&layer), counts(&limit)), ((0, 2, 0), (0, 2, 0)));
    let waiting = pending(&mut clone, "third");
    assert_eq!((counts(&layer), counts(&limit)), ((0, 2, 1), (0, 2, 1)));

    let new = ConcurrencyLimitLayer::new(2);
    assert_eq!(counts(&new), (2, 0, 0));
    drop((first, second, waiting));
    assert_eq!(counts(&limit), (2, 0, 0));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn limit_of_0_is_closed_and_says_so() {
    let limit = ConcurrencyLimitLayer::new(0);
    let probe = ScriptedTool::ready();
    let call = call();
    let outcomes = Outcomes::of(call.context());
    let refused = error(limit.layer(probe.handle()).oneshot(call).await);
    assert_eq!(
        refused.to_string(),
        "overloaded: the limit is 0, no call can run"
    );
    assert!(matches!(
        refused,
        ToolError::Overloaded {
            reason: OverloadReason::Closed,
            ..
        }
    ));
    assert_eq!(probe.log(), Log::default());
    assert_eq!(counts(&limit), (0, 0, 0));
    assert_eq!(outcomes.all().await, [Outcome::Rejected]);
}

#[test]
fn limit_of_0_in_a_configuration_is_refused() {
    assert_eq!(
        ConcurrencyLimitLayer::try_new(0).unwrap_err(),
        ConfigError::ZeroLimit
    );
    assert_eq!(ConcurrencyLimitLayer::try_new(1).unwrap().available(), 1);
    assert_eq!(
        ConcurrencyLimitLayer::try_new(None).unwrap().available(),
        usize::MAX
    );
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn no_limit_lets_all_run() {
    let limit = ConcurrencyLimitLayer::new(None);
    let (mut service, mut handle) = mock(&limit);
    let calls: Vec<Call> = (0..100)
        .map(|id| pending(&mut service, &id.to_string()))
        .collect();
    assert_eq!(started(&mut handle).len(), 100);
    assert_eq!(counts(&limit), (usize::MAX, 0, 0));
    drop(calls);

    let most = ConcurrencyLimitLayer::new(usize::MAX);
    assert_eq!(
        text(most.layer(ScriptedTool::ready()).oneshot(call()).await).await,
        "done"
    );
    assert_eq!(most.available(), usize::MAX);
}
