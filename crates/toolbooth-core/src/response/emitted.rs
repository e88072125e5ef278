use std::ops::Deref;
use std::sync::Arc;

use super::Content;

/// A published content: owned, or shared with event sinks and readers of updates.
#[derive(Debug)]
pub(crate) enum Emitted {
    Own(Content),
    Shared(Arc<Content>),
}

// === impl Emitted ===

impl Emitted {
    pub(crate) fn new(content: Content, is_shared: bool) -> Self {
        match is_shared {
            true => Self::Shared(Arc::new(content)),
            false => Self::Own(content),
        }
    }

    pub(super) fn into_shared(self) -> Arc<Content> {
        match self {
            Self::Own(content) => Arc::new(content),
            Self::Shared(content) => content,
        }
    }
}

impl Deref for Emitted {
    type Target = Content;

    fn deref(&self) -> &Content {
        match self {
            Self::Own(content) => content,
            Self::Shared(content) => content,
        }
    }
}
