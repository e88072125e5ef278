//! Tools that share state: a stock that two tools change, and a counter of all their calls.
//!
//! ```text
//! cargo run --example shared_state
//! ```
//!
//! The state is in the memory of this process. For a stock of several processes use a database:
//! its handle belongs into the closure of each tool.

#![expect(clippy::print_stdout, reason = "an example prints its results")]

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use tokio::time::{Instant, sleep};
use toolbooth::{
    BoxError, CallContext, CallGroup, ErrorKind, ServiceBuilderExt, SharedState, StateLayer,
    ToolCall, tool_fn,
};
use tower::{Layer, ServiceBuilder, ServiceExt};

/// The arguments of all tools.
#[derive(Debug, Deserialize)]
struct Items {
    name: String,
    count: u64,
}

/// The state that the layer around the tools provides.
fn state(call: &CallContext) -> Result<&SharedState, BoxError> {
    call.extension().ok_or_else(|| "there is no state".into())
}

/// Adds items; returns how many there are. One atomic operation.
async fn add(call: CallContext, items: Items) -> Result<u64, BoxError> {
    let state = state(&call)?;
    state.increment("calls", 1)?;
    let add = |stock: Option<&u64>| stock.copied().unwrap_or(0) + items.count;
    Ok(state.update(&items.name, add)?)
}

/// Orders items; returns how many remain. The stock must not change while the price is computed: a
/// critical section, which ends with the call.
async fn order(call: CallContext, items: Items) -> Result<u64, BoxError> {
    let state = state(&call)?;
    state.increment("calls", 1)?;
    let mut stock = state.lock(&items.name).await?;
    let count = stock.get::<u64>()?.ok_or("no such item")?;
    sleep(Duration::from_millis(5)).await; // computes the price
    let left = count
        .checked_sub(items.count)
        .ok_or_else(|| format!("only {count} left"))?;
    stock.set(left)?;
    Ok(left)
}

/// As `order`, without a critical section: orders that come meanwhile are lost.
async fn order_naively(call: CallContext, items: Items) -> Result<u64, BoxError> {
    let state = state(&call)?;
    let count = state.get::<u64>(&items.name)?.ok_or("no such item")?;
    sleep(Duration::from_millis(5)).await;
    let left = count.checked_sub(items.count).ok_or("too many")?;
    state.set(&items.name, left)?;
    Ok(left)
}

// The paused clock advances only while all tasks wait, so the run takes no time.
#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), BoxError> {
    let shared = SharedState::new();
    let provides = StateLayer::new(shared.clone());
    let add = provides.layer(tool_fn("add", add));
    let order = ServiceBuilder::new()
        .tool_timeout(Duration::from_millis(500))
        .layer(provides.clone())
        .service(tool_fn("order", order));
    let naive = provides.layer(tool_fn("order", order_naively));

    let bolts = |tool: &str, count: u64| {
        let args = json!({ "name": "bolt", "count": count });
        ToolCall::new(tool, args)
    };
    let group = CallGroup::new();
    group.all(add, (0..100).map(|_| bolts("add", 2))).await;
    println!("after 100 calls of `add`: {:?}", shared.get::<u64>("bolt")?);
    assert_eq!(shared.get("bolt")?, Some(200_u64));

    // Ten orders at once wait for one another, 5 ms each.
    let started = Instant::now();
    let orders = || (0..10).map(|_| bolts("order", 3));
    group.all(order.clone(), orders()).await;
    println!("after 10 orders of 3: {:?}", shared.get::<u64>("bolt")?);
    assert_eq!(started.elapsed(), Duration::from_millis(50));
    assert_eq!(shared.get("bolt")?, Some(170_u64));

    // Without the critical section, all ten read 170.
    group.all(naive, orders()).await;
    println!("after 10 naive orders: {:?}", shared.get::<u64>("bolt")?);
    assert_eq!(shared.get("bolt")?, Some(167_u64));

    // An error leaves the old value, and releases the key.
    let error = order.clone().oneshot(bolts("order", 500)).await;
    let error = error.err().ok_or("500 are too many")?;
    let source = std::error::Error::source(&error).ok_or("the tool's own error")?;
    println!("{error}: {source}");
    assert_eq!(source.to_string(), "only 167 left");

    // So does a call that expires in the queue.
    let audit = shared.lock("bolt").await?;
    let error = order.clone().oneshot(bolts("order", 7)).await;
    assert_eq!(
        error.err().map(|error| error.kind()),
        Some(ErrorKind::Timeout)
    );
    drop(audit);
    let left = order.oneshot(bolts("order", 7)).await?.collect().await?;
    assert_eq!(left.text(), "160");
    println!("calls: {:?}", shared.get::<i64>("calls")?);
    assert_eq!(shared.get("calls")?, Some(113_i64));
    Ok(())
}
