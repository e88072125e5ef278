use toolbooth_core::{KeepPolicy, LayerName};
use tower_layer::Layer;

use super::PartialResult;
use crate::middleware::layer_name;

/// Keeps partial results and attaches them to the error that ends a call early. See the
/// [module](super).
#[derive(Debug, Clone)]
pub struct PartialResultLayer {
    policy: Option<KeepPolicy>,
    name: LayerName,
}

// === impl PartialResultLayer ===

impl PartialResultLayer {
    /// Keeps the first items of a call, at most 1,024 and 1 MiB.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            policy: Some(KeepPolicy::new()),
            name: LayerName::new("partial"),
        }
    }

    /// Creates a layer that keeps nothing.
    #[must_use]
    pub const fn off() -> Self {
        Self {
            policy: None,
            name: LayerName::new("partial"),
        }
    }

    /// Limits how many items are kept.
    #[must_use]
    pub fn with_max_items(self, items: usize) -> Self {
        self.map(|policy| policy.with_max_items(items))
    }

    /// Limits how many bytes are kept, as [`Content::size`](crate::Content::size) counts them.
    #[must_use]
    pub fn with_max_bytes(self, bytes: usize) -> Self {
        self.map(|policy| policy.with_max_bytes(bytes))
    }

    /// Keeps the newest items within the bounds, instead of the first ones.
    #[must_use]
    pub fn with_drop_oldest(self) -> Self {
        self.map(KeepPolicy::with_drop_oldest)
    }

    fn map(self, change: impl FnOnce(KeepPolicy) -> KeepPolicy) -> Self {
        Self {
            policy: self.policy.map(change),
            ..self
        }
    }
}

layer_name!(PartialResultLayer, name, "partial");

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
