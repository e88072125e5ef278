//! The transport of rmcp, with a tap on its messages.

use std::sync::Arc;

use rmcp::RoleClient;
use rmcp::model::{
    ClientJsonRpcMessage, ErrorCode, ErrorData, JsonRpcMessage, ProtocolVersion,
    ServerJsonRpcMessage, ServerNotification,
};
use rmcp::transport::Transport;
use serde_json::Value;
use tokio::sync::Notify;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::calls::Calls;
use super::lost::Lost;

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
///
/// Dropping it is the end of the connection.
pub(crate) struct Tapped<T> {
    inner: T,
    tap: Tap,
    lost: Lost,
    _ended: DropGuard,
    finished: Option<DropGuard>,
}

// === impl Tap ===

impl Tap {
    /// Takes what is for calls, and returns what is for rmcp.
    fn received(&self, mut message: ServerJsonRpcMessage) -> Option<ServerJsonRpcMessage> {
        if let JsonRpcMessage::Error(response) = &mut message
            && has_sessions_alone(&response.error)
        {
            response.error.code = ErrorCode::METHOD_NOT_FOUND;
        }
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
    pub(crate) fn new(inner: T, tap: Tap, lost: Lost) -> Self {
        let ended = tap.ended.clone().drop_guard();
        Self {
            inner,
            tap,
            lost,
            _ended: ended,
            finished: None,
        }
    }
}

impl<T> Tapped<T> {
    /// Cancels a token when the transport is dropped.
    pub(crate) fn finishing(mut self, finished: CancellationToken) -> Self {
        self.finished = Some(finished.drop_guard());
        self
    }
}

impl<T: Transport<RoleClient>> Transport<RoleClient> for Tapped<T> {
    type Error = T::Error;

    fn send(
        &mut self,
        message: ClientJsonRpcMessage,
    ) -> impl Future<Output = Result<(), T::Error>> + Send + 'static {
        self.tap.calls.sent(&message);
        self.inner.send(message)
    }

    /// Cancel safe if the inner transport is: nothing is awaited after it.
    async fn receive(&mut self) -> Option<ServerJsonRpcMessage> {
        loop {
            let received = tokio::select! {
                biased;
                received = self.inner.receive() => received,
                () = self.lost.cancelled() => None,
            };
            let Some(message) = received else {
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

/// Returns whether a server rejects the version of `server/discover`, and has only versions of the
/// generation before. rmcp initializes such a server only if it does not know the method.
fn has_sessions_alone(error: &ErrorData) -> bool {
    if error.code != ErrorCode::UNSUPPORTED_PROTOCOL_VERSION {
        return false;
    }
    let supported = error.data.as_ref().and_then(|data| data.get("supported"));
    let Some(Value::Array(supported)) = supported else {
        return false;
    };
    // Versions are dates.
    let is_new = |version: &str| version >= ProtocolVersion::NO_INITIALIZE.as_str();
    !supported.iter().filter_map(Value::as_str).any(is_new)
}
