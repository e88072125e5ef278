//! A request of a session that runs.
//!
//! It runs in a task of its own, which outlives the connection of its client for a while. The loop
//! of rmcp is for the other messages of a session: through it, a request and its response would
//! each cross four tasks.

use std::mem;
use std::sync::Arc;

use rmcp::model::{
    ClientRequest, GetExtensions as _, GetMeta as _, JsonRpcRequest, RequestId,
    ServerJsonRpcMessage,
};
use rmcp::service::{Peer, RequestContext, RoleServer, Service as _};

use super::link::Link;
use super::session::Session;
use crate::server::McpServer;
use crate::server::requests::InFlight;

/// A request that runs. Dropping it ends its stream.
pub(super) struct Running {
    pub(super) session: Arc<Session>,
    /// The number of the request in its session.
    pub(super) number: u64,
    pub(super) link: Arc<Link>,
    pub(super) in_flight: Arc<InFlight>,
}

// === impl Running ===

impl Running {
    /// Handles the request, until it is cancelled or the client is gone. Then nothing is sent.
    pub(super) async fn run(
        self,
        server: McpServer,
        peer: Peer<RoleServer>,
        request: JsonRpcRequest<ClientRequest>,
    ) {
        let JsonRpcRequest {
            id, mut request, ..
        } = request;
        let mut context = RequestContext::new(id.clone(), peer);
        context.ct = self.in_flight.cancelled().clone();
        context.meta = mem::take(request.get_meta_mut());
        context.extensions = mem::take(request.extensions_mut());
        context.extensions.insert(Arc::clone(&self.link));
        // Boxed: its size would be copied with this task.
        let handled = Box::pin(handle(&server, id, request, context));
        let respond = async {
            let message = handled.await;
            // A client that has read the response may use the id again.
            self.session.requests.end(&self.in_flight);
            self.link.send(message).await;
            // A client that is away resumes the stream and receives the response.
            self.link.attached().await;
        };
        tokio::select! {
            biased;
            () = self.in_flight.cancelled().cancelled() => {}
            () = self.link.gone() => {}
            () = respond => {}
        }
    }
}

async fn handle(
    server: &McpServer,
    id: RequestId,
    request: ClientRequest,
    context: RequestContext<RoleServer>,
) -> ServerJsonRpcMessage {
    match server.handle_request(request, context).await {
        Ok(result) => ServerJsonRpcMessage::response(result, id),
        Err(error) => ServerJsonRpcMessage::error(error, Some(id)),
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.session.requests.end(&self.in_flight);
        self.session.remove(self.number);
        self.link.end();
    }
}
