use tower_layer::Layer;

use super::Spawn;

/// Runs each call on a task of its own. See the [module](super).
#[derive(Debug, Clone)]
pub struct SpawnLayer {
    spawns: bool,
}

// === impl SpawnLayer ===

impl SpawnLayer {
    /// Each call on its own task, on the runtime on which it is first polled.
    #[must_use]
    pub const fn new() -> Self {
        Self { spawns: true }
    }

    /// Calls stay on the tasks of their callers, and panics pass: the off value.
    #[must_use]
    pub const fn off() -> Self {
        Self { spawns: false }
    }
}

impl Default for SpawnLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for SpawnLayer {
    type Service = Spawn<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Spawn::new(inner, self.spawns)
    }
}
