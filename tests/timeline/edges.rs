//! Orders of events, times and numbers that are rare.

use std::time::Duration;

use super::*;

const HOUR: Duration = Duration::from_secs(3_600);

#[tokio::test(start_paused = true)]
async fn call_that_starts_after_the_time_of_the_snapshot_is_shown() {
    let recorder = Recorder::new();
    sleep(ms(50)).await;
    recorder.on_event(&event(1, "search", invoked(None)));
    let mut timeline = recorder.snapshot();
    assert_eq!(timeline.now, ms(50));
    // As by a thread that invoked it after the clock was read.
    timeline.now = ms(20);
    let text = timeline.to_text(60);
    assert!(text.contains("search call-1 ·"), "{text}");
    trace(timeline);
}

#[tokio::test(start_paused = true)]
async fn text_of_a_program_that_runs_for_years_fits() {
    let recorder = Recorder::new();
    for hours in [999, 1_000, 100_000, 10_000_000] {
        sleep(HOUR * hours).await;
        recorder.on_event(&event(hours.into(), "search_in_all_files", invoked(None)));
        sleep(HOUR * 30 * 24).await;
        let text = recorder.snapshot().to_text(40);
        assert!(
            text.lines().all(|line| line.chars().count() <= 40),
            "{text}"
        );
        trace(recorder.snapshot());
    }
}

/// The events layer inside sees the end of an attempt, not that of the call.
#[tokio::test(start_paused = true)]
async fn call_has_no_outcome_between_its_attempts() {
    let recorder = Recorder::new();
    let fails_once = tool_fn("fails_once", async |call: CallContext, _: ()| {
        sleep(ms(50)).await;
        match call.attempt() {
            1 => Err::<_, BoxError>("busy".into()),
            _ => Ok("done"),
        }
    });
    let policy = RetryPolicy::new(2)
        .with_idempotent(true)
        .with_backoff(Duration::ZERO, Duration::ZERO);
    let tool = ServiceBuilder::new()
        .layer(EventsLayer::new(recorder.clone()))
        .layer(RetryLayer::new(policy))
        .layer(EventsLayer::new(recorder.clone()))
        .service(fails_once);
    let calls = tokio::spawn(call_all(tool, [call("fails_once")]));
    sleep(ms(75)).await;
    let running = &recorder.snapshot().calls[0];
    assert_eq!((running.attempts, running.end), (2, None));
    assert_eq!((running.outcome, running.outcome_text()), (None, "running"));
    assert_eq!(running.error_type, None);
    assert!(calls.await.is_ok());
    let ended = &recorder.snapshot().calls[0];
    assert_eq!(
        (ended.outcome, ended.end),
        (Some(Outcome::Completed), Some(ms(100)))
    );
}

/// A call that is dropped does not wait for the thread that runs its tool.
#[tokio::test(start_paused = true)]
async fn events_after_the_end_open_no_phase() {
    let recorder = Recorder::new();
    let report = |kind| recorder.on_event(&event(1, "tool", kind));
    report(invoked(None));
    sleep(ms(10)).await;
    report(COMPLETED);
    let layer = toolbooth::middleware::LayerName::new("db");
    let after = ms(5);
    for kind in [
        EventKind::Queued {
            layer: layer.clone(),
        },
        EventKind::Admitted {
            layer: layer.clone(),
            waited: after,
        },
        EventKind::Started,
        EventKind::FirstItem,
        EventKind::Heartbeat,
        EventKind::Expired {
            layer,
            limit: after,
        },
        EventKind::Retry {
            attempt: 2,
            after,
            error: None,
            layer: None,
            error_type: None,
        },
    ] {
        sleep(ms(200)).await;
        report(kind);
    }
    let call = &recorder.snapshot().calls[0];
    assert_eq!(
        (phases(call), call.marks.len(), call.attempts),
        (vec![], 0, 1)
    );
    assert_eq!((call.last_at(HOUR), call.first_item), (ms(10), None));
}

#[test]
fn numbers_of_events_are_not_trusted() {
    let recorder = Recorder::new();
    let report = |kind| recorder.on_event(&event(1, "tool", kind));
    let deadline = tokio::time::Instant::now() + Duration::from_secs(u64::MAX >> 32);
    report(EventKind::Invoked {
        tenant: None,
        parent: None,
        parent_serial: Some(1),
        deadline: Some(deadline),
        arguments: None,
    });
    let layer = toolbooth::middleware::LayerName::new("db");
    for _ in 0..2 {
        report(EventKind::Partial {
            bytes: usize::MAX,
            content: None,
        });
        report(EventKind::Admitted {
            layer: layer.clone(),
            waited: Duration::MAX,
        });
        report(EventKind::Retry {
            attempt: u32::MAX,
            after: Duration::MAX,
            error: None,
            layer: None,
            error_type: None,
        });
        report(EventKind::CleanupStarted { hooks: usize::MAX });
    }
    let timeline = recorder.snapshot();
    assert_eq!(timeline.calls[0].bytes, u64::MAX);
    assert!(timeline.to_text(40).contains("tool call-1"));
    assert!(serde_json::from_str::<Value>(&timeline.to_json()).is_ok());
    trace(timeline);
}
