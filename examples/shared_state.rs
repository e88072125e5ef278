//! Tools with state: two tools that share the handle of one database.
//!
//! ```text
//! cargo run --example shared_state
//! ```
//!
//! The database is a map in memory. The pool of a database crate is used in the same way: it is a
//! handle that is cheap to clone, and each call clones it.

#![expect(clippy::print_stdout, reason = "an example prints its results")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::try_join_all;
use serde::Deserialize;
use serde_json::json;
use tokio::time::sleep;
use toolbooth::{BoxError, ConcurrencyLimitLayer, ErrorKind, ServiceBuilderExt, ToolCall, tool_fn};
use tower::{ServiceBuilder, ServiceExt};

/// The handle of the database. Clones share the data.
#[derive(Debug, Clone, Default)]
struct Database(Arc<Mutex<BTreeMap<String, u64>>>);

/// The arguments of both tools.
#[derive(Debug, Deserialize)]
struct Items {
    name: String,
    count: u64,
}

/// Adds items; returns how many there are.
async fn add(database: Database, items: Items) -> Result<u64, BoxError> {
    sleep(Duration::from_millis(5)).await; // the round trip of a query
    let mut stock = database.lock();
    let count = stock.entry(items.name).or_default();
    *count += items.count;
    Ok(*count)
}

/// Removes items; returns how many remain.
async fn remove(database: Database, items: Items) -> Result<u64, BoxError> {
    sleep(Duration::from_millis(5)).await;
    let mut stock = database.lock();
    let count = stock.get_mut(&items.name).ok_or("no such item")?;
    *count = count
        .checked_sub(items.count)
        .ok_or_else(|| format!("only {count} left"))?;
    Ok(*count)
}

// The paused clock advances only while all tasks wait, so the run takes no time.
#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), BoxError> {
    let database = Database::default();
    // One layer value is one limit: both tools together use at most 4 connections.
    let connections = ConcurrencyLimitLayer::new(4);

    // Each closure owns a handle, and clones it for each call.
    let handle = database.clone();
    let add = ServiceBuilder::new()
        .tool_timeout(Duration::from_secs(2))
        .layer(connections.clone())
        .service(tool_fn("add", move |items| add(handle.clone(), items)));
    let handle = database.clone();
    let remove = ServiceBuilder::new()
        .tool_timeout(Duration::from_secs(2))
        .layer(connections.clone())
        .service(tool_fn("remove", move |items| {
            remove(handle.clone(), items)
        }));

    let calls = (0..100).map(|_| {
        let call = ToolCall::new("add", json!({ "name": "bolt", "count": 2 }));
        add.clone().oneshot(call)
    });
    try_join_all(calls).await?;
    println!("after 100 calls of `add`: {:?}", database.lock());
    assert_eq!(database.lock().get("bolt"), Some(&200));

    let call = ToolCall::new("remove", json!({ "name": "bolt", "count": 50 }));
    let left = remove.clone().oneshot(call).await?.collect().await?;
    println!("after `remove`: {:?}", left.contents());
    assert_eq!(left.contents(), [json!(150).into()]);

    let call = ToolCall::new("remove", json!({ "name": "bolt", "count": 500 }));
    let error = remove.oneshot(call).await.err().ok_or("500 are too many")?;
    let source = std::error::Error::source(&error).ok_or("the tool's own error")?;
    println!("{error}: {source}");
    assert_eq!(error.kind(), ErrorKind::Tool);
    assert_eq!(source.to_string(), "only 150 left");
    assert_eq!(connections.available(), 4);
    Ok(())
}

// === impl Database ===

impl Database {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
