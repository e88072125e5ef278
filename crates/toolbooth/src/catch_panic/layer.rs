use toolbooth_core::LayerName;
use tower_layer::Layer;

use super::CatchPanic;
use crate::middleware::layer_name;

/// Turns panics of the inner service into errors. See the [module](super).
#[derive(Debug, Clone)]
pub struct CatchPanicLayer {
    catches: bool,
    name: LayerName,
}

// === impl CatchPanicLayer ===

impl CatchPanicLayer {
    /// Creates a layer that catches panics.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            catches: true,
            name: LayerName::new("catch_panic"),
        }
    }

    /// Creates a layer that lets panics pass.
    #[must_use]
    pub const fn off() -> Self {
        Self {
            catches: false,
            name: LayerName::new("catch_panic"),
        }
    }
}

layer_name!(CatchPanicLayer, name, "catch_panic");

impl Default for CatchPanicLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for CatchPanicLayer {
    type Service = CatchPanic<S>;

    fn layer(&self, inner: S) -> Self::Service {
        CatchPanic::new(inner, self.catches, self.name.clone())
    }
}
