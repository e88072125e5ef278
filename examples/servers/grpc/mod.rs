//! The tools as a gRPC service in tonic, with a unary and a streaming method.
//!
//! | message | fields |
//! |---|---|
//! | `CallRequest` | `string tool = 1; string args = 2;` (JSON) |
//! | `CallReply` | `string result = 1;` (JSON) |
//! | `CountRequest` | `uint64 count = 1;` |
//! | `Number` | `uint64 value = 1;` |

mod messages;
mod service;

use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Error, Server};
use toolbooth_tonic::ServerLayer;
use tower::ServiceBuilder;

pub use generated::tools_client::ToolsClient;
pub use generated::tools_server::ToolsServer;
pub use messages::{CallReply, CallRequest, CountRequest, Number};
pub use service::Service;

use super::{Limits, Toolbox};

#[allow(
    warnings,
    reason = "generated code, whose lints depend on the generator"
)]
mod generated {
    tonic::include_proto!("toolbooth.examples.Tools");
}

/// The methods. Their paths are the names of their limits.
const METHODS: [&str; 2] = [
    "/toolbooth.examples.Tools/Call",
    "/toolbooth.examples.Tools/Count",
];

/// Serves the tools on this socket.
///
/// # Errors
/// Errors of the transport.
pub async fn serve(listener: TcpListener, tools: Toolbox, limits: Limits) -> Result<(), Error> {
    let layers = ServiceBuilder::new()
        // Outermost: deadlines go in, and errors come out as statuses.
        .layer(ServerLayer::new().with_methods(METHODS))
        .layer(limits.layers());
    Server::builder()
        .layer(layers)
        .add_service(Service::new(tools).into_server())
        .serve_with_incoming(TcpIncoming::from(listener))
        .await
}
