//! Many who wait for one limit.

use std::sync::Arc;

use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use toolbooth::{ConcurrencyLimitLayer, Order, ToolCall};
use tower::{Layer, ServiceExt};

use crate::stacks::call;
use crate::tools::YieldsOnce;

const LIMIT: usize = 100;

/// So many at once, each on a task of its own, by priority through a limit of 100.
pub(crate) async fn all_by_priority(count: u32) {
    let limit = ConcurrencyLimitLayer::new(LIMIT)
        .with_queue_capacity(count as usize)
        .with_order(Order::priority());
    let tool = limit.layer(YieldsOnce);
    let mut tasks = JoinSet::new();
    for number in 0..count {
        tasks.spawn(tool.clone().oneshot(with_priority(number)));
    }
    tasks.join_all().await;
}

/// The same calls by tokio's semaphore, first come, first served.
pub(crate) async fn all_by_semaphore(count: u32) {
    let semaphore = Arc::new(Semaphore::new(LIMIT));
    let mut tasks = JoinSet::new();
    for number in 0..count {
        let call = with_priority(number);
        let semaphore = Arc::clone(&semaphore);
        tasks.spawn(async move {
            let _permit = semaphore.acquire().await;
            YieldsOnce.oneshot(call).await
        });
    }
    tasks.join_all().await;
}

/// One of ten priorities.
pub(crate) fn with_priority(number: u32) -> ToolCall<Value> {
    call().with_priority(i32::try_from(number % 10).unwrap_or(0))
}
