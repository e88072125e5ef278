use std::fmt;

#[cfg(feature = "http")]
use toolbooth_core::RequestHead;
use toolbooth_core::{CallContext, Name, ToolRequest};

use super::sync::Arc;

/// Returns the key of a call: what a user chose for a limit by key.
#[derive(Clone)]
pub(crate) enum KeyFn {
    Call(Arc<dyn Fn(&CallContext) -> Name + Send + Sync>),
    #[cfg(feature = "http")]
    Request(Arc<dyn Fn(&RequestHead<'_>) -> Name + Send + Sync>),
}

// === impl KeyFn ===

impl KeyFn {
    pub(crate) fn of_call(key: impl Fn(&CallContext) -> Name + Send + Sync + 'static) -> Self {
        Self::Call(Arc::new(key))
    }

    #[cfg(feature = "http")]
    pub(crate) fn of_request(
        key: impl Fn(&RequestHead<'_>) -> Name + Send + Sync + 'static,
    ) -> Self {
        Self::Request(Arc::new(key))
    }

    /// Returns the key. A request without a head has the empty one by [`of_request`].
    ///
    /// [`of_request`]: Self::of_request
    #[cfg_attr(
        not(feature = "http"),
        expect(unused_variables, reason = "other requests have no head")
    )]
    pub(crate) fn key(&self, context: &CallContext, request: &impl ToolRequest) -> Name {
        match self {
            Self::Call(key) => key(context),
            #[cfg(feature = "http")]
            Self::Request(key) => match request.http_head() {
                Some(head) => key(&head),
                None => Name::from_static(""),
            },
        }
    }
}

impl fmt::Debug for KeyFn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyFn")
    }
}
