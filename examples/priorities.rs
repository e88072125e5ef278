//! The start order of queued calls: first in, first out; by priority; by priority with aging.
//!
//! The tool runs one call at a time, for 100 ms each. A report with a low priority arrives early,
//! and an urgent call arrives every 50 ms.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::time::{Instant, sleep_until};
use toolbooth::{BoxError, CallContext, ConcurrencyLimitLayer, Order, ToolCall, tool_fn};
use tower::{Layer, ServiceExt};

const SERVICE: Duration = Duration::from_millis(100);

type Starts = Vec<(u128, String)>;

/// Returns the calls in the order of their starts, with the milliseconds since the beginning.
async fn starts(order: Order) -> Result<Starts, BoxError> {
    let begin = Instant::now();
    let starts = Arc::new(Mutex::new(Starts::new()));
    let log = Arc::clone(&starts);
    let tool = tool_fn("query", move |call: CallContext, (): ()| {
        let at = begin.elapsed().as_millis();
        let mut log = log.lock().expect("no panic while it is locked");
        log.push((at, call.id().to_string()));
        async {
            tokio::time::sleep(SERVICE).await;
            Ok::<_, BoxError>("done")
        }
    });
    let tool = ConcurrencyLimitLayer::new(1).with_order(order).layer(tool);

    let report = (0, ToolCall::new("query", json!(null)).with_id("report"));
    let urgent = (0..10).map(|n| {
        let call = ToolCall::new("query", json!(null)).with_id(format!("urgent {n}"));
        (n, call.with_priority(10))
    });
    // The first urgent call comes just before the report, each other one while the last one runs.
    let calls = urgent.clone().take(1).chain([report]).chain(urgent.skip(1));
    let calls = calls.map(|(n, call)| {
        let tool = tool.clone();
        async move {
            sleep_until(begin + SERVICE * n / 2 * u32::from(n > 0)).await;
            tool.oneshot(call).await
        }
    });
    for result in join_all(calls).await {
        result?;
    }
    let starts = starts.lock().expect("no panic while it is locked");
    Ok(starts.clone())
}

fn print(order: &str, starts: &Starts) -> Option<u128> {
    println!("{order}");
    for (at, id) in starts {
        println!("  {at:>5} ms  {id}");
    }
    let (at, _) = starts.iter().find(|(_, id)| id == "report")?;
    Some(*at)
}

// The paused clock advances only while all tasks wait, so each run takes no time and has the same
// results.
#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), BoxError> {
    let fifo = starts(Order::fifo()).await?;
    let strict = starts(Order::priority()).await?;
    let aging = Order::priority().with_aging(Duration::from_millis(400));
    let aged = starts(aging).await?;

    let report = [
        print("first in, first out", &fifo),
        print(
            "by priority: the report waits for all urgent calls",
            &strict,
        ),
        print(
            "by priority with aging: no call waits longer than 400 ms and one call",
            &aged,
        ),
    ];
    assert_eq!(report, [Some(100), Some(1_000), Some(400)]);
    Ok(())
}
