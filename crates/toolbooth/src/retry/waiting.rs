//! The wait before the next attempt.

use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::timeout;
use toolbooth_core::{CallContext, LayerName};

/// A call that waits for its next attempt.
pub(super) struct Waiting {
    context: CallContext,
    /// The number of the attempt.
    attempt: u32,
    /// `None` after the wait.
    policy: Option<LayerName>,
}

// === impl Waiting ===

impl Waiting {
    pub(super) fn new(context: &CallContext, failed: u32, policy: &LayerName) -> Self {
        Self {
            context: context.clone(),
            attempt: failed.saturating_add(1),
            policy: Some(policy.clone()),
        }
    }

    /// Waits, or until the call is cancelled.
    pub(super) async fn wait(mut self, wait: Duration) {
        if timeout(wait, self.context.cancelled()).await.is_ok() {
            // An outer layer of toolbooth ends the call in this poll. Without one, the inner layer
            // rejects the next attempt.
            yield_now().await;
        }
        self.policy = None;
    }
}

/// Records for the error of a timeout that the call ended within the wait.
impl Drop for Waiting {
    fn drop(&mut self) {
        if let Some(policy) = &self.policy {
            self.context.set_waits_for_attempt(self.attempt, policy);
        }
    }
}
