//! `TracingSink`: how long a call waited, by kind of layer.

use std::num::NonZeroU32;

use serde_json::json;
use toolbooth::events::{EventsLayer, TracingSink};
use toolbooth::{ConcurrencyLimitLayer, Quota, RateLimitLayer, TimeoutLayer, ToolCall, ToolOutput};
use tower::{Layer, ServiceBuilder};

use crate::recorded::Recorded;
use crate::support::{ScriptedTool, call_all, ms};

/// A tool that runs for 2 s.
fn slow() -> ScriptedTool {
    ScriptedTool::new(|_| async {
        tokio::time::sleep(ms(2_000)).await;
        Ok(ToolOutput::text("done"))
    })
}

fn traced() -> EventsLayer {
    EventsLayer::new(TracingSink::new())
}

fn calls(count: u32) -> impl Iterator<Item = ToolCall> {
    let ids = (1..=count).map(|id| id.to_string());
    ids.map(|id| ToolCall::new("tool", json!(null)).with_id(id))
}

/// Returns the waits of each call: of concurrency, of rate and in total.
fn waits(recorded: &Recorded) -> Vec<[String; 3]> {
    let spans = recorded.spans();
    assert_eq!(recorded.open(), 0);
    let waits = spans.iter().map(|span| {
        let fields = ["concurrency", "rate", "total"];
        fields.map(|of| span.fields[&*format!("toolbooth.wait.{of}")].clone())
    });
    waits.collect()
}

#[tokio::test(start_paused = true)]
async fn waits_are_fields_by_the_kind_of_their_layer() {
    let (recorded, _guard) = Recorded::start();
    let limit = ConcurrencyLimitLayer::new(1).with_name("database");
    call_all(traced().layer(limit.layer(slow())), calls(3)).await;
    let expected = ["0.0", "2.0", "4.0"].map(|wait| [wait, "0.0", wait]);
    assert_eq!(waits(&recorded), expected);

    let (recorded, _guard) = Recorded::start();
    let rate = RateLimitLayer::new(Quota::per_second(NonZeroU32::MIN));
    call_all(traced().layer(rate.layer(slow())), calls(3)).await;
    let expected = ["0.0", "1.0", "2.0"].map(|wait| ["0.0", wait, wait]);
    assert_eq!(waits(&recorded), expected);
}

/// One after the other: the waits of a call in two queues add up.
#[tokio::test(start_paused = true)]
async fn waits_in_several_queues_add_up() {
    let (recorded, _guard) = Recorded::start();
    let stack = ServiceBuilder::new()
        .layer(traced())
        .layer(RateLimitLayer::new(Quota::per_second(NonZeroU32::MIN)))
        .layer(ConcurrencyLimitLayer::new(1))
        .service(slow());
    call_all(stack, calls(3)).await;
    let expected = [
        ["0.0", "0.0", "0.0"],
        ["1.0", "1.0", "2.0"],
        ["2.0", "2.0", "4.0"],
    ];
    assert_eq!(waits(&recorded), expected);
}

#[tokio::test(start_paused = true)]
async fn wait_of_a_call_that_ends_in_the_queue_counts_to_its_end() {
    let timeout = TimeoutLayer::new(ms(1_500));
    for outside in [true, false] {
        let (recorded, _guard) = Recorded::start();
        let limited = ConcurrencyLimitLayer::new(1).layer(slow());
        match outside {
            true => call_all(traced().layer(timeout.layer(limited)), calls(2)).await,
            false => call_all(timeout.layer(traced().layer(limited)), calls(2)).await,
        };
        let expected = [["0.0", "0.0", "0.0"], ["1.5", "0.0", "1.5"]];
        assert_eq!(waits(&recorded), expected, "{outside}");
        assert_eq!(
            recorded.spans()[1].get("toolbooth.outcome"),
            Some("timed_out")
        );
    }
}
