use std::error::Error;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// What a tool failed with, shared by all clones of the [`ToolError`](super::ToolError).
///
/// It stands for that error, and is none itself: so [`Error::source`] of the `ToolError` is the tool's own
/// error, and a downcast finds it there.
#[derive(Clone)]
pub struct Source(Arc<dyn Error + Send + Sync>);

// === impl Source ===

impl Source {
    pub(super) fn new(error: impl Into<Arc<dyn Error + Send + Sync>>) -> Self {
        Self(error.into())
    }

    /// One of our own.
    pub(super) fn of(error: super::ToolError) -> Self {
        Self(Arc::new(error))
    }
}

impl Deref for Source {
    type Target = dyn Error + Send + Sync;

    fn deref(&self) -> &Self::Target {
        &*self.0
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
