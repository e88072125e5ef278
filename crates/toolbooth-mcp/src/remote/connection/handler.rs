//! What a server may ask of this client: a ping.
//!
//! Requests for samples are rejected, those for input are declined, and there are no roots: the
//! defaults of rmcp. No capability for them is announced.

use rmcp::ClientHandler;
use rmcp::model::{ClientCapabilities, ClientConfig, Implementation, ProtocolVersion};

/// The handler of requests from a server.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Handler;

// === impl Handler ===

impl ClientHandler for Handler {
    fn get_info(&self) -> ClientConfig {
        let client = Implementation::new("toolbooth", env!("CARGO_PKG_VERSION"));
        ClientConfig::new(ClientCapabilities::default(), client)
            .with_protocol_version(ProtocolVersion::LATEST_WITH_INITIALIZE)
    }
}
