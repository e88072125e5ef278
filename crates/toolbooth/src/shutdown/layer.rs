use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use toolbooth_core::LayerName;
use tower_layer::Layer;

use super::Shutdown;
use super::shared::Shared;
use crate::middleware::tracker::DrainReport;
use crate::middleware::{DEFAULT_RETRY_AFTER, layer_name};

/// Ends the calls of a service at its shutdown. See the [module](super).
///
/// Clones share the calls and their end.
#[derive(Clone)]
pub struct ShutdownLayer {
    pub(super) shared: Option<Arc<Shared>>,
    pub(super) retry_after: Duration,
    pub(super) name: LayerName,
}

// === impl ShutdownLayer ===

impl ShutdownLayer {
    /// Creates a layer that admits calls until [`shutdown`](Self::shutdown) is called.
    #[must_use]
    pub fn new() -> Self {
        Self {
            shared: Some(Arc::new(Shared::new())),
            retry_after: DEFAULT_RETRY_AFTER,
            name: LayerName::new("shutdown"),
        }
    }

    /// Creates a layer that counts, rejects and cancels no calls.
    #[must_use]
    pub const fn off() -> Self {
        Self {
            shared: None,
            retry_after: DEFAULT_RETRY_AFTER,
            name: LayerName::new("shutdown"),
        }
    }

    /// Sets after which time a rejected call may be tried again: in HTTP, the value of
    /// `Retry-After`.
    ///
    /// The default is 5 s. It configures this value alone: call it before the layer is cloned.
    #[must_use]
    pub const fn with_retry_after(mut self, retry_after: Duration) -> Self {
        self.retry_after = retry_after;
        self
    }

    /// Rejects new calls, cancels after `grace` the calls that are not over, and waits for at most
    /// `limit` until they have ended, and what outlives them.
    ///
    /// 1. From now on, new calls are rejected with
    ///    [`OverloadReason::ShuttingDown`](crate::OverloadReason::ShuttingDown). Calls that have
    ///    begun continue, with the [calls that they make](crate::CallContext::child). It cannot be
    ///    undone.
    /// 2. After `grace`, the remaining calls end with
    ///    [`CancelReason::Shutdown`](crate::CancelReason::Shutdown): those that run, those that
    ///    wait in a queue or for a retry, and those whose response is streaming. The grace ends
    ///    earlier if no call is in flight. With a `grace` of zero, calls are cancelled at once.
    /// 3. The method then waits for cleanup hooks, spawned tasks, programs and blocking work. At
    ///    `limit`, the remaining hooks that this layer runs are cancelled and count as abandoned.
    ///    Calls and hooks have 10 ms each to end after that. What still runs counts as orphaned,
    ///    such as the hooks of an inner [`CleanupLayer`](crate::CleanupLayer), which counts them.
    ///
    /// The method returns after at most `grace`, `limit` and 20 ms. Concurrent and further
    /// shutdowns each wait on their own; the shortest grace and the shortest limit apply. A call is
    /// in flight until its last byte is delivered, or its future or response is dropped. A call
    /// whose future is not polled, or that blocks its thread, cannot be ended.
    ///
    /// # Cancel safety
    /// Dropping the future stops the shutdown where it is. The layer stays closed. Calls are not
    /// cancelled if the grace was not over. A further `shutdown` continues.
    ///
    /// # Panics
    /// On a runtime without time enabled, as tokio's timers do.
    pub async fn shutdown(&self, grace: Duration, limit: Duration) -> DrainReport {
        match &self.shared {
            Some(shared) => shared.shutdown(grace, limit).await,
            None => DrainReport::default(),
        }
    }

    /// Returns whether a [`shutdown`](Self::shutdown) has begun.
    #[must_use]
    pub fn is_shutting_down(&self) -> bool {
        let shared = self.shared.as_ref();
        shared.is_some_and(|shared| shared.calls.is_closed())
    }

    /// Returns how many calls are in flight: running, waiting, or with a streaming response that is
    /// not over. A call and the [calls that it makes](crate::CallContext::child) count once.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        let shared = self.shared.as_ref();
        shared.map_or(0, |shared| shared.calls.in_flight())
    }
}

/// Shows the name, the time to retry after and how many calls are in flight.
impl fmt::Debug for ShutdownLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ShutdownLayer")
            .field("name", &self.name)
            .field("retry_after", &self.retry_after)
            .field("in_flight", &self.in_flight())
            .finish_non_exhaustive()
    }
}

layer_name!(ShutdownLayer, name, "shutdown");

impl Default for ShutdownLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for ShutdownLayer {
    type Service = Shutdown<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Shutdown::new(inner, self.clone())
    }
}
