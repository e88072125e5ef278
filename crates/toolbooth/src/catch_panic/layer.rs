use tower_layer::Layer;

use super::CatchPanic;

/// Turns panics of the inner service into errors. See the [module](super).
#[derive(Debug, Clone)]
pub struct CatchPanicLayer {
    catches: bool,
}

// === impl CatchPanicLayer ===

impl CatchPanicLayer {
    /// Creates a layer that catches panics.
    #[must_use]
    pub const fn new() -> Self {
        Self { catches: true }
    }

    /// Creates a layer that lets panics pass.
    #[must_use]
    pub const fn off() -> Self {
        Self { catches: false }
    }
}

impl Default for CatchPanicLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for CatchPanicLayer {
    type Service = CatchPanic<S>;

    fn layer(&self, inner: S) -> Self::Service {
        CatchPanic::new(inner, self.catches)
    }
}
