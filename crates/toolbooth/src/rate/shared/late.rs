//! Commands whose reply does not come in time. What they took is returned when it comes at last.
//!
//! Lost are the tokens of a reply that does not come within a lease, or after the limit is dropped,
//! and those that another process has made reservations behind. They refill in time.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::sync::Semaphore;
use toolbooth_core::Moment;

use super::Shared;
use super::line::Surplus;
use crate::middleware::sync::{Mutex, lock};
use crate::shared::{StoreError, StoreFuture, TokensTaken};

/// A command that goes on if the wait for its reply is dropped.
#[derive(Clone)]
pub(super) struct LateCommand(Arc<Mutex<Option<StoreFuture<TokensTaken>>>>);

/// How many late replies of a limit are awaited at most.
const MAX_LATE: usize = 8;

/// Returns the permits for the late replies of a limit.
pub(super) fn permits() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(MAX_LATE))
}

// === impl LateCommand ===

impl LateCommand {
    pub(super) fn new(command: StoreFuture<TokensTaken>) -> Self {
        Self(Arc::new(Mutex::new(Some(command))))
    }

    /// Awaits the reply in a task of its own, for the time of a lease, if there has been none.
    pub(super) fn await_late(self, shared: &Arc<Shared>, late: &Arc<Semaphore>, sent: Moment) {
        let is_over = lock(&self.0).is_none();
        let Ok(permit) = Arc::clone(late).try_acquire_owned() else {
            return;
        };
        if is_over {
            return;
        }
        let limit = shared.link().options.lease;
        let shared = Arc::downgrade(shared);
        tokio::spawn(async move {
            let reply = tokio::time::timeout(limit, self).await;
            drop(permit);
            if let (Ok(Ok(reply)), Some(shared)) = (reply, shared.upgrade()) {
                shared.return_late(&reply, sent);
            }
        });
    }
}

impl Future for LateCommand {
    type Output = Result<TokensTaken, StoreError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut command = lock(&self.0);
        let Some(future) = command.as_mut() else {
            return Poll::Pending;
        };
        let reply = future.as_mut().poll(cx);
        if reply.is_ready() {
            *command = None;
        }
        reply
    }
}

// === impl Shared ===

impl Shared {
    /// Returns what a command took that was sent at `sent`, which is the earliest moment at which
    /// it can have been executed.
    fn return_late(&self, reply: &TokensTaken, sent: Moment) {
        if reply.taken > 0 {
            lock(&self.state).return_late(Surplus {
                receipt: reply.receipt,
                tokens: reply.taken,
                at: sent.after(reply.wait).unwrap_or(sent),
            });
            self.bell.changed.notify_one();
        }
    }
}
