use tower_layer::Layer;

use super::CatchPanic;

/// Makes a panic of what is inside an error of the call. See the [module](super).
#[derive(Debug, Clone)]
pub struct CatchPanicLayer {
    catches: bool,
}

// === impl CatchPanicLayer ===

impl CatchPanicLayer {
    /// Catches panics.
    #[must_use]
    pub const fn new() -> Self {
        Self { catches: true }
    }

    /// Lets panics pass: the off value.
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
