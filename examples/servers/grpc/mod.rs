//! The tools as a gRPC service in tonic, with a unary and a streaming method.
//!
//! | message | fields |
//! |---|---|
//! | `CallRequest` | `string tool = 1; string args = 2;` (JSON) |
//! | `CallReply` | `string result = 1;` (JSON) |
//! | `CountRequest` | `uint64 count = 1;` |
//! | `Number` | `uint64 value = 1;` |

mod deadline;
mod ends_in_status;
mod messages;
mod service;
mod status;

use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Error, Server};
use tower::ServiceBuilder;
use tower::util::{MapErrLayer, MapRequestLayer, MapResponseLayer};

pub use deadline::grpc_timeout;
pub use ends_in_status::EndsInStatus;
pub use generated::tools_client::ToolsClient;
pub use generated::tools_server::ToolsServer;
pub use messages::{CallReply, CallRequest, CountRequest, Number};
pub use service::Service;
pub use status::status;

use super::{Limits, Toolbox};

#[allow(
    warnings,
    reason = "generated code, whose lints depend on the generator"
)]
mod generated {
    tonic::include_proto!("toolbooth.examples.Tools");
}

/// Serves the tools on this socket.
///
/// # Errors
/// Errors of the transport.
pub async fn serve(listener: TcpListener, tools: Toolbox, limits: Limits) -> Result<(), Error> {
    let layers = ServiceBuilder::new()
        .layer(MapRequestLayer::new(deadline::with_deadline))
        // Errors of the layers become a status, before and within a streaming response.
        .layer(MapErrLayer::new(|error| status(&error)))
        .layer(MapResponseLayer::new(ends_in_status::end_in_status))
        .layer(limits.layers());
    Server::builder()
        .layer(layers)
        .add_service(Service::new(tools).into_server())
        .serve_with_incoming(TcpIncoming::from(listener))
        .await
}
