//! A transport that does not read from a client that does not read.
//!
//! rmcp receives requests while responses wait to be written. A client that sends requests and
//! never reads would fill the memory with them.

use std::sync::Arc;

use rmcp::model::{ClientJsonRpcMessage, ServerJsonRpcMessage};
use rmcp::service::RoleServer;
use rmcp::transport::Transport;
use tokio::sync::Semaphore;

/// The maximum number of messages that wait to be written. Beyond it, no request is read.
const MAX_UNSENT: usize = 1_024;

/// A transport that receives nothing while too many messages wait to be written.
#[derive(Debug)]
pub(super) struct Bounded<T> {
    inner: T,
    /// A permit for each message that may wait. More messages than that may wait, those of the
    /// calls that ran before.
    unsent: Arc<Semaphore>,
}

// === impl Bounded ===

impl<T> Bounded<T> {
    pub(super) fn new(inner: T) -> Self {
        Self {
            inner,
            unsent: Arc::new(Semaphore::new(MAX_UNSENT)),
        }
    }
}

impl<T: Transport<RoleServer>> Transport<RoleServer> for Bounded<T> {
    type Error = T::Error;

    fn send(
        &mut self,
        message: ServerJsonRpcMessage,
    ) -> impl Future<Output = Result<(), T::Error>> + Send + 'static {
        let waits = Arc::clone(&self.unsent).try_acquire_owned();
        let sent = self.inner.send(message);
        async move {
            let sent = sent.await;
            drop(waits);
            sent
        }
    }

    /// Cancel safe if the inner transport is.
    async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
        // It is closed by nothing. The permit is for `send`.
        drop(self.unsent.acquire().await);
        self.inner.receive().await
    }

    async fn close(&mut self) -> Result<(), T::Error> {
        self.inner.close().await
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use serde_json::json;

    use super::*;

    /// A client that sends pings, and reads nothing.
    struct Flood;

    impl Transport<RoleServer> for Flood {
        type Error = std::io::Error;

        fn send(
            &mut self,
            _: ServerJsonRpcMessage,
        ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
            std::future::pending()
        }

        async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
            let ping = json!({ "jsonrpc": "2.0", "id": 1, "method": "ping" });
            serde_json::from_value(ping).ok()
        }

        async fn close(&mut self) -> Result<(), Self::Error> {
            Ok(())
        }
    }

    #[test]
    fn nothing_is_received_while_too_many_messages_wait() {
        let mut transport = Bounded::new(Flood);
        let mut unsent = Vec::new();
        while let Some(received) = transport.receive().now_or_never() {
            assert!(received.is_some());
            let pong = json!({ "jsonrpc": "2.0", "id": 1, "result": {} });
            let pong = serde_json::from_value(pong).expect("a response");
            unsent.push(transport.send(pong));
        }
        assert_eq!(unsent.len(), MAX_UNSENT);
        unsent.pop();
        assert!(transport.receive().now_or_never().is_some());
    }
}
