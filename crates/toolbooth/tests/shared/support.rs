use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::json;
use tokio::time::{Instant, sleep};
use toolbooth::shared::{SharedOptions, SharedStore, WhenAway};
use toolbooth::{ConcurrencyLimitLayer, RateLimitLayer, ToolCall, ToolError, tool_fn};
use toolbooth_test::{BoxTool, MemoryStore, boxed, ms};
use tower::{Layer, ServiceExt};

/// Counts the calls that run at once.
#[derive(Clone, Default)]
pub(crate) struct Witness {
    running: Arc<AtomicU64>,
    most: Arc<AtomicU64>,
    starts: Arc<Mutex<Vec<Instant>>>,
}

impl Witness {
    pub(crate) fn most(&self) -> u64 {
        self.most.load(Ordering::SeqCst)
    }

    pub(crate) fn running(&self) -> u64 {
        self.running.load(Ordering::SeqCst)
    }

    /// Returns when calls started, in milliseconds after the first.
    pub(crate) fn starts(&self) -> Vec<u128> {
        let starts = lock(&self.starts);
        let Some(first) = starts.first().copied() else {
            return Vec::new();
        };
        starts.iter().map(|at| (*at - first).as_millis()).collect()
    }

    /// Returns a tool that takes as long as its argument says, in milliseconds.
    pub(crate) fn tool(&self) -> BoxTool {
        let witness = self.clone();
        boxed(tool_fn("tool", move |millis: u64| {
            let witness = witness.clone();
            async move {
                lock(&witness.starts).push(Instant::now());
                let _running = Running::new(witness);
                sleep(ms(millis)).await;
                Ok::<_, Infallible>("done")
            }
        }))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Running(Witness);

impl Running {
    fn new(witness: Witness) -> Self {
        let running = witness.running.fetch_add(1, Ordering::SeqCst) + 1;
        witness.most.fetch_max(running, Ordering::SeqCst);
        Self(witness)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Returns a handle of the store as another process has it.
pub(crate) fn process(store: &MemoryStore, when_away: WhenAway) -> SharedStore {
    let options = SharedOptions::new().with_when_away(when_away);
    SharedStore::new(store.clone(), options)
}

pub(crate) fn limited(store: &SharedStore, witness: &Witness, limit: usize) -> BoxTool {
    let layer = ConcurrencyLimitLayer::new(limit).with_store(store, "limit");
    boxed(layer.layer(witness.tool()))
}

pub(crate) fn rated(layer: &RateLimitLayer, witness: &Witness) -> BoxTool {
    boxed(layer.layer(witness.tool()))
}

pub(crate) async fn run(tool: BoxTool, millis: u64) -> Result<(), ToolError> {
    tool.oneshot(ToolCall::new("tool", json!(millis)))
        .await
        .map(drop)
}
