use std::sync::Arc;

use tower_layer::Layer;

use super::{ProvideState, SharedState};

/// Provides a [`SharedState`] to all calls of the inner service. See the [module](super).
///
/// Clones provide the same state.
#[derive(Debug, Clone)]
pub struct StateLayer {
    state: Option<Arc<SharedState>>,
}

// === impl StateLayer ===

impl StateLayer {
    /// Creates a layer that provides this state: tools read it with
    /// [`call.extension::<SharedState>()`](crate::CallContext::extension).
    #[must_use]
    pub fn new(state: SharedState) -> Self {
        Self {
            state: Some(Arc::new(state)),
        }
    }

    /// Creates a layer that provides nothing.
    #[must_use]
    pub const fn off() -> Self {
        Self { state: None }
    }
}

impl<S> Layer<S> for StateLayer {
    type Service = ProvideState<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ProvideState::new(inner, self.state.clone())
    }
}
