use toolbooth_core::LayerName;
use tower_layer::Layer;

use super::Spawn;
use crate::middleware::layer_name;

/// Runs each call on a task of its own. See the [module](super).
#[derive(Debug, Clone)]
pub struct SpawnLayer {
    spawns: bool,
    name: LayerName,
}

// === impl SpawnLayer ===

impl SpawnLayer {
    /// Creates a layer that spawns each call, on the runtime of its first poll.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            spawns: true,
            name: LayerName::new("spawn"),
        }
    }

    /// Creates a layer that leaves calls on their callers' tasks and lets panics pass.
    #[must_use]
    pub const fn off() -> Self {
        Self {
            spawns: false,
            name: LayerName::new("spawn"),
        }
    }
}

layer_name!(SpawnLayer, name, "spawn");

impl Default for SpawnLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for SpawnLayer {
    type Service = Spawn<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Spawn::new(inner, self.spawns, self.name.clone())
    }
}
