use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use toolbooth_core::LayerName;
use tower_layer::Layer;

use super::Idempotency;
use super::store::{Bounds, Shared};
use crate::middleware::layer_name;

/// Runs calls with the same idempotency key once. See the [module](super).
///
/// Clones share the keys. The `with_*` methods configure one value: call them before it is cloned
/// or applied to a service. Called later, they return a value with keys of its own;
/// [`with_name`](Self::with_name) keeps them shared.
#[derive(Clone)]
pub struct IdempotencyLayer {
    pub(super) shared: Option<Arc<Shared>>,
    pub(super) name: LayerName,
}

// === impl IdempotencyLayer ===

impl IdempotencyLayer {
    /// Creates a layer that keeps responses for 10 minutes: at most 10,000, and 64 MiB in all.
    #[must_use]
    pub fn new() -> Self {
        Self {
            shared: Some(Arc::new(Shared::new(Bounds::default()))),
            name: LayerName::new("idempotency"),
        }
    }

    /// Creates a layer that shares nothing.
    #[must_use]
    pub const fn off() -> Self {
        Self {
            shared: None,
            name: LayerName::new("idempotency"),
        }
    }

    /// Sets how long a response is kept after its call has succeeded: 10 minutes by default.
    #[must_use]
    pub fn with_lifetime(self, lifetime: Duration) -> Self {
        self.with_bounds(|bounds| bounds.lifetime = lifetime)
    }

    /// Sets the maximum number of keys: 10,000 by default. With 0, every call that has a key is
    /// rejected.
    #[must_use]
    pub fn with_max_keys(self, keys: usize) -> Self {
        self.with_bounds(|bounds| bounds.keys = keys)
    }

    /// Sets the maximum number of bytes of all responses: 64 MiB by default.
    ///
    /// [`Content::size`](crate::Content::size) counts them, and the metadata as a JSON content. A
    /// content counts as 64 bytes at least, since an empty one takes memory as well.
    #[must_use]
    pub fn with_max_bytes(self, bytes: usize) -> Self {
        self.with_bounds(|bounds| bounds.bytes = bytes)
    }

    /// Sets the maximum number of bytes of one response: 1 MiB by default.
    ///
    /// A larger one, or one that nests deeper than [`MAX_JSON_DEPTH`](crate::MAX_JSON_DEPTH), is
    /// returned to the call that runs, and not shared.
    #[must_use]
    pub fn with_max_response_bytes(self, bytes: usize) -> Self {
        self.with_bounds(|bounds| bounds.response_bytes = bytes)
    }

    /// Returns the number of keys in use: of calls that run, and of stored responses.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.shared.as_ref().map_or(0, |shared| shared.keys())
    }

    fn with_bounds(self, change: impl FnOnce(&mut Bounds)) -> Self {
        let shared = self.shared.map(|shared| {
            let mut bounds = shared.bounds;
            change(&mut bounds);
            Arc::new(Shared::new(bounds))
        });
        Self { shared, ..self }
    }
}

layer_name!(IdempotencyLayer, name, "idempotency");

impl Default for IdempotencyLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for IdempotencyLayer {
    type Service = Idempotency<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Idempotency::new(inner, self.clone())
    }
}

/// Shows no keys, which may be secret.
impl fmt::Debug for IdempotencyLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdempotencyLayer")
            .field("name", &self.name())
            .field("bounds", &self.shared.as_ref().map(|shared| shared.bounds))
            .field("keys", &self.keys())
            .finish_non_exhaustive()
    }
}
