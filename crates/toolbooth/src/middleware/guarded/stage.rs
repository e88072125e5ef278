//! How far a call has come in its layer.

use std::task::Poll;

use pin_project_lite::pin_project;
use toolbooth_core::{BoxError, ToolError};
use tower_service::Service;

pin_project! {
    #[project = StageProj]
    pub(super) enum Stage<S, R, A>
    where
        S: Service<R>,
    {
        Running { #[pin] future: S::Future },
        // On the heap: a call that need not wait is not the longer for it, in each layer, nested.
        Held { held: Option<Box<Held<S, R, A>>> },
        Refused { error: Option<Box<ToolError>> },
        // Dropped in it only where foreign code panicked.
        Starting,
        Done,
    }
}

/// A call that waits: for its admission while there is one, then for the inner service to be ready.
pub(super) struct Held<S, R, A> {
    pub(super) admission: Option<A>,
    pub(super) service: S,
    pub(super) request: R,
}

// === impl Stage ===

impl<S: Service<R>, R, A> Stage<S, R, A> {
    #[cold]
    pub(super) fn refused(error: ToolError) -> Self {
        Self::Refused {
            error: Some(Box::new(error)),
        }
    }

    pub(super) fn held(admission: Option<A>, service: S, request: R) -> Self {
        let held = Held {
            admission,
            service,
            request,
        };
        Self::Held {
            held: Some(Box::new(held)),
        }
    }

    /// The instance that is waited for, or broken, is replaced by a fresh one.
    #[cold]
    pub(super) fn not_ready(ready: Poll<Result<(), S::Error>>, inner: &mut S, request: R) -> Self
    where
        S: Clone,
        S::Error: Into<BoxError> + 'static,
    {
        let fresh = inner.clone();
        let instance = std::mem::replace(inner, fresh);
        match ready {
            Poll::Ready(Err(error)) => Self::refused(ToolError::from_error(error)),
            _ => Self::held(None, instance, request),
        }
    }
}
