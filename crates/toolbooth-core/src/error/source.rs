use std::error::Error;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

/// The error of a tool, shared by all clones of the [`ToolError`](super::ToolError).
///
/// It dereferences to the error and does not implement [`Error`] itself. So [`Error::source`] of
/// the `ToolError` is the tool's own error, and can be downcast.
#[derive(Clone)]
pub struct Source(Arc<dyn Error + Send + Sync>);

// === impl Source ===

impl Source {
    pub(super) fn new(error: impl Into<Arc<dyn Error + Send + Sync>>) -> Self {
        Self(error.into())
    }

    /// Makes the source of a `ToolError`.
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
