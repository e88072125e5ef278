//! Many calls that wait for one concurrency limit.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use toolbooth::{ConcurrencyLimitLayer, Order, ToolCall};
use tower::{Layer, ServiceExt};

use crate::stacks::call;
use crate::tools::YieldsOnce;

const LIMIT: usize = 100;

/// Starts `count` calls at once, each on a task of its own, through a limit of 100 by priority.
pub async fn all_by_priority(count: u32) {
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

/// Starts the same calls through tokio's semaphore, which is FIFO.
pub async fn all_by_semaphore(count: u32) {
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

/// Returns a call with one of ten priorities.
#[must_use]
pub fn with_priority(number: u32) -> ToolCall {
    call().with_priority(i32::try_from(number % 10).unwrap_or(0))
}
