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
