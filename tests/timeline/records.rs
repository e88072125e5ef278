//! What is recorded of a call.

use std::pin::pin;

use futures_util::future::{Either, select};
use toolbooth::{CancelReason, ErrorKind, RateLimitLayer};
use toolbooth_test::StreamingTool;
use toolbooth_tests::{Retries, hourly};
use tower::retry::Retry;

use super::*;

/// Returns the only record.
#[track_caller]
fn only(recorder: &Recorder) -> CallRecord {
    let mut calls = recorder.snapshot().calls;
    assert_eq!(calls.len(), 1, "{calls:?}");
    calls.remove(0)
}

#[tokio::test(start_paused = true)]
async fn clones_in_two_events_layers_make_one_record() {
    let recorder = Recorder::new();
    let tool = ServiceBuilder::new()
        .layer(EventsLayer::new(recorder.clone()))
        .layer(TimeoutLayer::new(ms(350)))
        .layer(EventsLayer::new(recorder.clone()))
        .service(StreamingTool::new(ms(150), 5));
    call_all(tool, [call("streaming")]).await;
    let call = only(&recorder);
    assert_eq!(
        (call.outcome, call.end),
        (Some(Outcome::TimedOut), Some(ms(350)))
    );
    assert_eq!(
        (call.items, call.bytes, call.first_item),
        (3, 21, Some(ms(0)))
    );
    assert_eq!(
        phases(&call),
        [
            (PhaseKind::Run, 0, Some(350)),
            (PhaseKind::Idle, 0, Some(150)),
            (PhaseKind::Idle, 150, Some(300)),
        ]
    );
    assert_eq!(marks(&call), [(350, "timeout of 350ms expired".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn retry_outside_of_the_events_layer_continues_the_record() {
    let recorder = Recorder::new();
    let fails_once = tool_fn("fails_once", async |call: CallContext, _: ()| {
        sleep(ms(50)).await;
        match call.attempt() {
            1 => Err::<_, BoxError>("busy".into()),
            _ => Ok("done"),
        }
    });
    let events = EventsLayer::new(recorder.clone()).layer(fails_once);
    let tool = Retry::new(Retries::new(1).after(ms(200)), events);
    let calls = pin!(call_all(tool, [call("fails_once")]));
    let Either::Right((_, calls)) = select(calls, pin!(sleep(ms(100)))).await else {
        panic!("the second attempt is later");
    };
    let failed = only(&recorder);
    assert_eq!(
        (failed.outcome, failed.end),
        (Some(Outcome::Failed), Some(ms(50)))
    );
    assert_eq!(failed.error_type.as_deref(), Some(ErrorKind::Tool.as_str()));
    calls.await;
    let call = only(&recorder);
    assert_eq!(
        (call.outcome, call.end),
        (Some(Outcome::Completed), Some(ms(300)))
    );
    assert_eq!((call.attempts, call.error_type.as_deref()), (2, None));
    assert_eq!(
        phases(&call),
        [
            (PhaseKind::Run, 0, Some(50)),
            (PhaseKind::Backoff, 50, Some(250)),
            (PhaseKind::Run, 250, Some(300)),
        ]
    );
    assert_eq!(
        marks(&call),
        [(50, "attempt 2 follows (tool_error)".to_owned())]
    );
}

#[tokio::test(start_paused = true)]
async fn retry_inside_of_the_events_layer_has_a_phase_for_each_attempt_and_wait() {
    let recorder = Recorder::new();
    let hangs_once = tool_fn("hangs_once", async |call: CallContext, _: ()| {
        sleep(ms(match call.attempt() {
            1 => 5_000,
            _ => 400,
        }))
        .await;
        Ok::<_, Infallible>("done")
    });
    let policy = RetryPolicy::new(2).with_idempotent(true).with_seed(7);
    let tool = ServiceBuilder::new()
        .layer(EventsLayer::new(recorder.clone()))
        .layer(RetryLayer::new(policy))
        .layer(TimeoutLayer::new(ms(1_000)))
        .service(hangs_once);
    call_all(tool, [call("hangs_once")]).await;
    let call = only(&recorder);
    assert_eq!((call.outcome, call.attempts), (Some(Outcome::Completed), 2));
    assert_eq!(
        phases(&call),
        [
            (PhaseKind::Run, 0, Some(1_000)),
            (PhaseKind::Backoff, 1_000, Some(1_039)),
            (PhaseKind::Run, 1_039, Some(1_439)),
        ]
    );
    let (at, retry) = &marks(&call)[0];
    assert_eq!(*at, 1_000);
    assert!(retry.ends_with("(timeout of `timeout`)"), "{retry}");
}

#[tokio::test(start_paused = true)]
async fn attempt_that_is_rejected_at_once_ends_the_wait_before_it() {
    let recorder = Recorder::new();
    let of_attempt = |attempt, kind| {
        let mut event = event(1, "fetch", kind);
        event.attempt = attempt;
        recorder.on_event(&event);
    };
    let retry = |attempt, error| EventKind::Retry {
        attempt,
        after: ms(100),
        error: Some(error),
        layer: None,
        error_type: Some(error.as_str().into()),
    };
    of_attempt(1, invoked(None));
    of_attempt(1, EventKind::Started);
    sleep(ms(50)).await;
    of_attempt(2, retry(2, ErrorKind::Tool));
    // No layer reports an attempt that a breaker inside of the retry rejects.
    for attempt in [3, 4] {
        sleep(ms(100)).await;
        of_attempt(attempt, retry(attempt, ErrorKind::CircuitOpen));
    }
    sleep(ms(100)).await;
    of_attempt(4, EventKind::Started);
    sleep(ms(50)).await;
    of_attempt(4, COMPLETED);
    let call = only(&recorder);
    assert_eq!(
        phases(&call),
        [
            (PhaseKind::Run, 0, Some(50)),
            (PhaseKind::Backoff, 50, Some(150)),
            (PhaseKind::Backoff, 150, Some(250)),
            (PhaseKind::Backoff, 250, Some(350)),
            (PhaseKind::Run, 350, Some(400)),
        ]
    );
    let at: Vec<_> = marks(&call).iter().map(|mark| mark.0).collect();
    assert_eq!((call.attempts, at), (4, vec![50, 150, 250]));
    trace(recorder.snapshot());
}

#[tokio::test(start_paused = true)]
async fn attempt_that_is_dropped_after_another_completed_does_not_change_the_outcome() {
    let recorder = Recorder::new();
    let of_attempt = |attempt, kind| {
        let mut event = event(1, "hedged", kind);
        event.attempt = attempt;
        recorder.on_event(&event);
    };
    of_attempt(1, invoked(None));
    of_attempt(1, EventKind::Started);
    sleep(ms(20)).await;
    of_attempt(2, invoked(None));
    of_attempt(2, EventKind::Started);
    sleep(ms(10)).await;
    of_attempt(2, COMPLETED);
    assert_eq!(only(&recorder).end, None);
    let dropped = EventKind::Cancelled {
        reason: CancelReason::CallerGone,
        started: true,
        error: None,
    };
    of_attempt(1, dropped);
    let call = only(&recorder);
    assert_eq!(
        (call.outcome, call.end),
        (Some(Outcome::Completed), Some(ms(30)))
    );
    assert_eq!(
        phases(&call),
        [
            (PhaseKind::Run, 0, Some(30)),
            (PhaseKind::Run, 20, Some(30))
        ]
    );
    trace(recorder.snapshot());
}

#[tokio::test(start_paused = true)]
async fn time_after_a_limit_is_grace() {
    let recorder = Recorder::new();
    let tool = ServiceBuilder::new()
        .layer(EventsLayer::new(recorder.clone()))
        .layer(TimeoutLayer::new(ms(1_000)).with_grace(ms(200)))
        .service(sleeps("slow"));
    call_all(
        tool,
        [CallFactory::seeded(7).call_with("slow", json!(5_000))],
    )
    .await;
    let call = only(&recorder);
    assert_eq!(
        phases(&call),
        [
            (PhaseKind::Run, 0, Some(1_000)),
            (PhaseKind::Grace, 1_000, Some(1_200))
        ]
    );
    assert_eq!(marks(&call), [(1_000, "timeout of 1s expired".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn rejected_call_has_no_phase_and_the_time_to_retry() {
    let recorder = Recorder::new();
    let rate = RateLimitLayer::new(hourly(1)).reject();
    let tool = ServiceBuilder::new()
        .layer(EventsLayer::new(recorder.clone()))
        .layer(rate)
        .service(sleeps("slow"));
    let factory = CallFactory::seeded(7);
    call_all(tool, [0, 1].map(|_| factory.call_with("slow", json!(10)))).await;
    let [_, call] = &*recorder.snapshot().calls else {
        panic!("two calls");
    };
    assert_eq!(
        (call.outcome, call.end),
        (Some(Outcome::Rejected), Some(ms(0)))
    );
    assert_eq!(
        (phases(call), call.error_type.as_deref()),
        (vec![], Some("rate_limited"))
    );
    assert_eq!(call.retry_after, Some(ms(3_600_000)));
}

#[tokio::test(start_paused = true)]
async fn cleanup_after_the_end_is_a_phase_until_its_last_hook_ends() {
    let recorder = Recorder::new();
    let report = |kind| recorder.on_event(&event(1, "db", kind));
    let took = ms(100);
    report(invoked(None));
    report(EventKind::Started);
    sleep(ms(50)).await;
    report(COMPLETED);
    report(EventKind::CleanupStarted { hooks: 0 });
    assert_eq!(phases(&only(&recorder)), [(PhaseKind::Run, 0, Some(50))]);
    report(EventKind::CleanupStarted { hooks: 4 });
    sleep(took).await;
    report(EventKind::CleanupFinished { took });
    sleep(took).await;
    report(EventKind::CleanupFailed {
        took,
        panicked: true,
    });
    let open = (PhaseKind::Cleanup, 50, None);
    assert_eq!(
        phases(&only(&recorder)),
        [(PhaseKind::Run, 0, Some(50)), open]
    );
    sleep(took).await;
    report(EventKind::CleanupAbandoned { hooks: 2 });
    let call = only(&recorder);
    let cleanup = (PhaseKind::Cleanup, 50, Some(350));
    assert_eq!(phases(&call), [(PhaseKind::Run, 0, Some(50)), cleanup]);
    assert_eq!((call.end, call.last_at(ms(9_000))), (Some(ms(50)), ms(350)));
    let text = recorder.snapshot().to_text(60);
    assert!(text.contains("\ndb call-1 ████~~~~~~~~~~~"), "{text}");
    trace(recorder.snapshot());
}

#[tokio::test(start_paused = true)]
async fn running_call_has_open_phases() {
    let recorder = Recorder::new();
    let limit = ConcurrencyLimitLayer::new(1).with_name("db");
    let tool = ServiceBuilder::new()
        .layer(EventsLayer::new(recorder.clone()))
        .layer(limit)
        .service(sleeps("slow"));
    let factory = CallFactory::seeded(7);
    let calls = [0, 1].map(|_| factory.call_with("slow", json!(5_000)));
    let calls = tokio::spawn(call_all(tool, calls));
    sleep(ms(300)).await;
    let timeline = recorder.snapshot();
    let states: Vec<_> = timeline
        .calls
        .iter()
        .map(|call| (call.end, phases(call)))
        .collect();
    assert_eq!(
        states,
        [
            (None, vec![(PhaseKind::Run, 0, None)]),
            (None, vec![(PhaseKind::Queue, 0, None)])
        ]
    );
    let waits = timeline.calls.iter().map(|call| call.queued(timeline.now));
    assert_eq!(waits.collect::<Vec<_>>(), [ms(0), ms(300)]);
    assert_eq!(timeline.end(), ms(300));
    insta::assert_snapshot!(timeline.to_text(60));
    trace(timeline);
    calls.abort();
}

#[tokio::test(start_paused = true)]
async fn events_of_a_call_that_was_not_invoked_are_ignored() {
    let recorder = Recorder::new().with_capacity(1);
    for kind in [EventKind::Started, EventKind::Heartbeat, COMPLETED] {
        recorder.on_event(&event(1, "child", kind));
    }
    recorder.on_event(&Event::of_layer(invoked(None)));
    assert_eq!(recorder.snapshot().calls.len(), 0);
    for serial in [2, 3] {
        recorder.on_event(&event(serial, "tool", invoked(None)));
        recorder.on_event(&event(serial, "tool", COMPLETED));
    }
    // Call 2 was dropped.
    recorder.on_event(&event(2, "tool", EventKind::CleanupStarted { hooks: 1 }));
    let call = only(&recorder);
    assert_eq!((call.number, phases(&call)), (3, vec![]));
    assert_eq!(recorder.snapshot().dropped, 1);
}

#[tokio::test(start_paused = true)]
async fn contents_and_error_texts_are_recorded_only_if_asked_for() {
    for (recorder, contents, error) in [
        (Recorder::new(), vec![], None),
        (
            Recorder::new().with_contents(),
            vec!["chunk_0".to_owned(), "chunk_1".to_owned()],
            Some("the tool failed: out of paper"),
        ),
    ] {
        let prints = tool_fn("prints", async |call: CallContext, _: ()| {
            call.emit("chunk_0");
            call.emit("chunk_1");
            Err::<(), BoxError>("out of paper".into())
        });
        let tool = EventsLayer::new(recorder.clone()).layer(prints);
        call_all(tool, [call("prints")]).await;
        let call = only(&recorder);
        assert_eq!((call.contents, call.error.as_deref()), (contents, error));
        assert_eq!((call.items, call.bytes), (2, 14));
    }
}

#[test]
fn calls_of_several_threads_are_all_recorded() {
    let recorder = Recorder::new();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let recorder = &recorder;
            scope.spawn(move || {
                for call in 0..1_000 {
                    let serial = 1 + thread * 1_000 + call;
                    for kind in [invoked(None), EventKind::Started, COMPLETED] {
                        recorder.on_event(&event(serial, "tool", kind));
                    }
                }
            });
        }
    });
    let timeline = recorder.snapshot();
    assert_eq!((timeline.calls.len(), timeline.version), (4_000, 12_000));
    let is_complete = |call: &CallRecord| {
        call.outcome == Some(Outcome::Completed) && call.phases[0].end.is_some()
    };
    assert!(timeline.calls.iter().all(is_complete));
    trace(timeline);
}

/// Returns the marks as `(time in milliseconds, text)`.
fn marks(call: &CallRecord) -> Vec<(u128, String)> {
    let marks = call.marks.iter();
    marks
        .map(|mark| (mark.at.as_millis(), mark.kind.to_string()))
        .collect()
}
