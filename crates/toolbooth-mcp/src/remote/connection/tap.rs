//! The transport of rmcp, with a tap on its messages.

use std::sync::Arc;

use rmcp::RoleClient;
use rmcp::model::{ClientJsonRpcMessage, JsonRpcMessage, ServerJsonRpcMessage, ServerNotification};
use rmcp::transport::Transport;
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::calls::Calls;

/// What is taken from the messages of a connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tap {
    pub(crate) calls: Arc<Calls>,
    /// Notified when the list of tools changes.
    pub(crate) tools_changed: Arc<Notify>,
    /// Cancelled when nothing more is received, or the transport is dropped.
    pub(crate) ended: CancellationToken,
}

/// A transport with a tap.
pub(crate) struct Tapped<T> {
    inner: T,
    tap: Tap,
    _ended: DropGuard,
}

// === impl Tap ===

impl Tap {
    /// Takes what is for calls, and returns what is for rmcp.
    fn received(&self, message: ServerJsonRpcMessage) -> Option<ServerJsonRpcMessage> {
        if let JsonRpcMessage::Notification(notification) = &message {
            match &notification.notification {
                ServerNotification::ProgressNotification(progress) => {
                    self.calls.progress(&progress.params);
                    return None;
                }
                ServerNotification::ToolListChangedNotification(_) => {
                    self.tools_changed.notify_one();
                }
                _ => {}
            }
        }
        Some(message)
    }
}

// === impl Tapped ===

impl<T> Tapped<T> {
    pub(crate) fn new(inner: T, tap: Tap) -> Self {
        let ended = tap.ended.clone().drop_guard();
        Self {
            inner,
            tap,
            _ended: ended,
        }
    }
}

impl<T: Transport<RoleClient>> Transport<RoleClient> for Tapped<T> {
    type Error = T::Error;

    fn send(
        &mut self,
        mut message: ClientJsonRpcMessage,
    ) -> impl Future<Output = Result<(), T::Error>> + Send + 'static {
        self.tap.calls.sent(&mut message);
        self.inner.send(message)
    }

    /// Cancel safe if the inner transport is: nothing is awaited after it.
    async fn receive(&mut self) -> Option<ServerJsonRpcMessage> {
        loop {
            let Some(message) = self.inner.receive().await else {
                self.tap.ended.cancel();
                return None;
            };
            if let Some(message) = self.tap.received(message) {
                return Some(message);
            }
        }
    }

    async fn close(&mut self) -> Result<(), T::Error> {
        self.inner.close().await
    }
}
