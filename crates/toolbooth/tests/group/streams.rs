//! Streaming responses of the calls of a group.

use futures_util::stream;
use support::{Probe, streaming, streams, ticking};
use toolbooth::{BoxError, Content, TimeoutScope};

use super::*;

const FIVE: [&str; 5] = ["1", "2", "3", "4", "5"];

#[tokio::test(start_paused = true)]
async fn streaming_response_is_collected() {
    let (tool, probe) = streams(|probe| ticking(probe, ms(10), FIVE));
    let outcomes = CallGroup::new().all(tool, [call()]).await;
    let response = outcomes[0].as_ref().unwrap();
    assert_eq!(texts(response.contents()), FIVE);
    assert_eq!(probe.running(), 0);
}

#[tokio::test(start_paused = true)]
async fn streaming_response_expires_at_the_deadline_with_what_it_has_streamed() {
    let (tool, probe) = streams(|probe| ticking(probe, ms(10), FIVE));
    let started = Instant::now();
    let group = CallGroup::new().with_timeout(ms(25));
    let outcomes = group.all(tool, [call(), call()]).await;
    assert_eq!(started.elapsed(), ms(25));
    for outcome in &outcomes {
        assert_eq!(partial(outcome), ["1", "2", "3"]);
        let error = outcome.as_ref().unwrap_err();
        assert_eq!(support::timeout(error), (TimeoutScope::Deadline, 25, 25));
        assert_eq!(error.layer(), Some("group"));
    }
    assert_eq!(probe.running(), 0);
}

#[tokio::test(start_paused = true)]
async fn cancelled_streaming_response_has_a_partial_result() {
    let (tool, probe) = streams(|probe| ticking(probe, ms(10), FIVE));
    let mut outcomes = CallGroup::new().outcomes(tool, [call()]);
    let first = tokio::time::timeout(ms(15), outcomes.next()).await;
    assert!(first.is_err());
    outcomes.cancel();
    let (_, outcome) = outcomes.next().await.unwrap();
    assert_eq!(partial(&outcome), ["1", "2"]);
    assert_eq!(
        cancel_reason(&outcome.unwrap_err()),
        Some(CancelReason::Explicit)
    );
    assert_eq!(probe.running(), 0);
}

#[tokio::test(start_paused = true)]
async fn stalled_consumer_of_the_outcomes_does_not_hold_a_stream_past_the_deadline() {
    let (tool, probe) = streams(|probe| ticking(probe, ms(10), FIVE));
    let group = CallGroup::new().with_timeout(ms(25));
    let mut outcomes = group.outcomes(tool, [call()]);
    assert!(futures_util::poll!(outcomes.next()).is_pending());
    sleep(ms(30)).await;
    assert_eq!(probe.running(), 0);
    let (_, outcome) = outcomes.next().await.unwrap();
    assert_eq!(brief(&outcome), "timeout");
}

/// Each item advances the clock, so a stream without pauses ends as well.
#[tokio::test(start_paused = true)]
async fn stream_that_is_always_ready_ends_at_the_deadline() {
    let (tool, probe) = streams(|probe| {
        let items = stream::repeat(()).then(|()| async {
            tokio::time::advance(ms(1)).await;
            Ok::<_, BoxError>(Content::from("item"))
        });
        streaming(probe, items)
    });
    let started = Instant::now();
    let outcomes = CallGroup::new()
        .with_timeout(ms(20))
        .all(tool, [call()])
        .await;
    assert_eq!(started.elapsed(), ms(20));
    assert_eq!(brief(&outcomes[0]), "timeout");
    assert_eq!(probe.running(), 0);
}

#[tokio::test(start_paused = true)]
async fn partial_result_has_what_was_emitted_and_what_was_streamed() {
    let tool = ScriptedTool::new(|call| async move {
        call.context().emit("emitted");
        Ok(ticking(&Probe::new(), ms(10), FIVE))
    });
    let group = CallGroup::new().with_timeout(ms(15));
    let outcomes = group.all(tool, [call()]).await;
    assert_eq!(partial(&outcomes[0]), ["emitted", "1", "2"]);
}
