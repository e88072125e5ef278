//! Whether a connection is lost, and why.

use std::sync::{Arc, OnceLock};

use tokio_util::sync::CancellationToken;

use super::super::RemoteError;

/// Clones are handles to the same state.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lost(Arc<State>);

#[derive(Debug, Default)]
struct State {
    error: OnceLock<RemoteError>,
    token: CancellationToken,
}

// === impl Lost ===

impl Lost {
    /// Records why the connection is lost. The first reason stays.
    pub(crate) fn set(&self, error: RemoteError) {
        let _ = self.0.error.set(error);
        self.0.token.cancel();
    }

    /// Returns why the connection is lost, or `None` while it is not.
    pub(crate) fn get(&self) -> Option<&RemoteError> {
        self.0.error.get()
    }

    /// Waits until the connection is lost. Cancel safe.
    pub(crate) async fn cancelled(&self) {
        self.0.token.cancelled().await;
    }

    /// Waits until the connection is lost, and returns why. Cancel safe.
    pub(crate) async fn wait(&self) -> RemoteError {
        loop {
            self.0.token.cancelled().await;
            // It is set before the token is cancelled.
            if let Some(error) = self.0.error.get() {
                return error.clone();
            }
        }
    }
}
