use toolbooth_core::KeepPolicy;
use tower_layer::Layer;

use super::PartialResult;

/// Keeps what a call produces and attaches it to the error that cuts the call short. See the [module](super).
#[derive(Debug, Clone)]
pub struct PartialResultLayer {
    policy: Option<KeepPolicy>,
}

// === impl PartialResultLayer ===

impl PartialResultLayer {
    /// Keeps at most 1,024 items and 1 MiB, and then nothing more: a prefix without gaps.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            policy: Some(KeepPolicy::new()),
        }
    }

    /// Keeps nothing: the off value.
    #[must_use]
    pub const fn off() -> Self {
        Self { policy: None }
    }

    /// At most so many items.
    #[must_use]
    pub fn with_max_items(self, items: usize) -> Self {
        self.map(|policy| policy.with_max_items(items))
    }

    /// At most so many bytes, as [`Content::size`](crate::Content::size) counts them.
    #[must_use]
    pub fn with_max_bytes(self, bytes: usize) -> Self {
        self.map(|policy| policy.with_max_bytes(bytes))
    }

    /// Where not all fits, keeps the newest items instead of the first ones.
    #[must_use]
    pub fn with_drop_oldest(self) -> Self {
        self.map(KeepPolicy::with_drop_oldest)
    }

    fn map(self, change: impl FnOnce(KeepPolicy) -> KeepPolicy) -> Self {
        Self {
            policy: self.policy.map(change),
        }
    }
}

impl Default for PartialResultLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for PartialResultLayer {
    type Service = PartialResult<S>;

    fn layer(&self, inner: S) -> Self::Service {
        PartialResult::new(inner, self.policy)
    }
}
