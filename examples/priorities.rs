//! Who starts when: first come, first served; by priority; and by priority with aging.
//!
//! A tool that runs one call at a time, 100 ms each. A report comes early and can wait; every 50 ms somebody comes who cannot.

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

/// Who started, and after how many milliseconds.
async fn starts(order: Order) -> Result<Starts, BoxError> {
    let begin = Instant::now();
    let starts = Arc::new(Mutex::new(Starts::new()));
    let log = Arc::clone(&starts);
    let tool = tool_fn("query", move |call: CallContext, (): ()| {
        let at = begin.elapsed().as_millis();
        let mut log = log.lock().expect("nobody panics under it");
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
    // The first urgent one comes just before the report, and the others while the one before them runs.
    let calls = urgent.clone().take(1).chain([report]).chain(urgent.skip(1));
    let calls = calls.map(|(n, call)| {
        let tool = tool.clone();
        async move {
            sleep_until(begin + SERVICE * n / 2 * u32::from(n > 0)).await;
            tool.oneshot(call).await
        }
    });
    for answer in join_all(calls).await {
        answer?;
    }
    let starts = starts.lock().expect("nobody panics under it");
    Ok(starts.clone())
}

fn print(order: &str, starts: &Starts) -> Option<u128> {
    println!("{order}");
    for (at, who) in starts {
        println!("  {at:>5} ms  {who}");
    }
    let (at, _) = starts.iter().find(|(_, who)| who == "report")?;
    Some(*at)
}

// The clock is paused: time passes only where everybody waits, so that this runs at once and always the same.
#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), BoxError> {
    let fifo = starts(Order::fifo()).await?;
    let strict = starts(Order::priority()).await?;
    let aging = Order::priority().with_aging(Duration::from_millis(400));
    let aged = starts(aging).await?;

    let report = [
        print("first come, first served", &fifo),
        print(
            "by priority: the report waits until nobody urgent is left",
            &strict,
        ),
        print(
            "by priority, but nobody waits longer than 400 ms and one call",
            &aged,
        ),
    ];
    assert_eq!(report, [Some(100), Some(1_000), Some(400)]);
    Ok(())
}
