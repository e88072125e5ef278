//! Cleanup hooks: each runs once, in order, within its limit, and makes nobody wait.

#[path = "../support/mod.rs"]
mod support;

mod drain;
mod hooks;
mod who_runs;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use support::laws::every_layer;
use support::{Count, Probe, call, error, ms, next, pass, text, texts, ticking, told};
use tokio::time::Instant;
use toolbooth::{CallContext, CleanupLayer, DrainReport, Registered};

every_layer!(CleanupLayer::new());

/// Ran, failed, abandoned, orphaned.
fn counts(report: DrainReport) -> (u64, u64, u64, u64) {
    (report.ran, report.failed, report.abandoned, report.orphaned)
}

/// What hooks did, and how many milliseconds after the start.
#[derive(Clone)]
struct Diary {
    start: Instant,
    entries: Arc<Mutex<Vec<(&'static str, u128)>>>,
}

impl Diary {
    fn new() -> Self {
        Self {
            start: Instant::now(),
            entries: Arc::default(),
        }
    }

    fn write(&self, entry: &'static str) {
        let at = self.start.elapsed().as_millis();
        self.entries
            .lock()
            .expect("no panic under it")
            .push((entry, at));
    }

    fn read(&self) -> Vec<(&'static str, u128)> {
        self.entries.lock().expect("no panic under it").clone()
    }

    /// Registers a hook that takes this long.
    fn hook(&self, context: &CallContext, name: &'static str, takes: Duration) -> Registered {
        let diary = self.clone();
        context.on_cleanup(move |_| async move {
            tokio::time::sleep(takes).await;
            diary.write(name);
        })
    }
}
