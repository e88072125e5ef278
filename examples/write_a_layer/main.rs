//! A layer of your own: an audit layer that limits audited calls and records how each one ended.
//!
//! The layer is the example of the guide `toolbooth::middleware::guide`. Here it wraps a timeout
//! and a tool. Two of four audited calls run at once; one of them is dropped half read, one
//! expires.

#![expect(clippy::print_stdout, reason = "an example shows what it does")]

#[expect(
    unreachable_pub,
    reason = "the code of the guide shows no more than it needs"
)]
#[path = "../../crates/toolbooth/docs/audit_layer.rs"]
mod audit_layer;

use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

use audit_layer::AuditLayer;
use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::iter;
use serde_json::json;
use tokio::sync::Semaphore;
use toolbooth::{BoxError, Content, Outcome, TimeoutLayer, ToolCall, stream_tool_fn};
use tower::{ServiceBuilder, ServiceExt};

#[tokio::main(flavor = "current_thread", start_paused = true)]
async fn main() -> Result<(), BoxError> {
    let permits = Arc::new(Semaphore::new(2));
    let (sender, records) = channel();
    let audit = AuditLayer {
        permits: Arc::clone(&permits),
        records: sender,
    };
    let tool = ServiceBuilder::new()
        .layer(audit)
        .layer(TimeoutLayer::new(Duration::from_secs(10)))
        .service(stream_tool_fn("pages", |seconds: u64| {
            let page = move |page: u64| async move {
                tokio::time::sleep(Duration::from_secs(seconds)).await;
                Ok::<_, BoxError>(Content::from(format!("page {page}")))
            };
            iter(1..=3).then(page)
        }));

    // Each call streams three pages, one in `seconds`, of which its caller reads `pages`.
    let calls = [(1, 3), (1, 2), (2, 3), (20, 3)].map(|(seconds, pages)| {
        let call = ToolCall::new("pages", json!(seconds));
        let tool = tool.clone();
        async move {
            let mut stream = tool.oneshot(call).await?.into_stream();
            let mut read = 0;
            while read < pages && stream.next().await.is_some_and(|page| page.is_ok()) {
                read += 1;
            }
            if read == 3 {
                stream.next().await; // the end
            }
            Ok::<_, BoxError>(())
        }
    });
    for result in join_all(calls).await {
        result?;
    }

    let mut records: Vec<_> = records.try_iter().collect();
    records.sort_by_key(|(_, outcome, items)| (format!("{outcome:?}"), *items));
    for (tool, outcome, items) in &records {
        println!("{tool}: {outcome:?} after {items} items");
    }
    let ends: Vec<_> = records.iter().map(|record| (record.1, record.2)).collect();
    let expected = [
        (Outcome::Cancelled, 2),
        (Outcome::Completed, 3),
        (Outcome::Completed, 3),
        (Outcome::TimedOut, 0),
    ];
    assert_eq!(ends, expected);
    assert_eq!(permits.available_permits(), 2);
    Ok(())
}
