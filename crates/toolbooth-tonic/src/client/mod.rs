//! The layers of a client, and its requests.
//!
//! A generated client takes any service of HTTP in the place of a `Channel`. So layers of toolbooth
//! wrap the channel, between two layers of this module:
//!
//! ```
//! use std::time::Duration;
//! use tonic::transport::Endpoint;
//! use toolbooth::{CircuitBreakerLayer, ConcurrencyLimitLayer, TimeoutLayer};
//! use toolbooth_tonic::{ChannelLayer, ClientLayer};
//! use tower::ServiceBuilder;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let channel = Endpoint::from_static("http://127.0.0.1:50051").connect_lazy();
//! let channel = ServiceBuilder::new()
//!     .layer(ClientLayer::new()) // outermost: errors become statuses
//!     .layer(TimeoutLayer::new(Duration::from_secs(10)))
//!     .layer(CircuitBreakerLayer::new())
//!     .layer(ConcurrencyLimitLayer::new(100))
//!     .layer(ChannelLayer::new()) // innermost: the deadline becomes `grpc-timeout`
//!     .service(channel);
//! // `SearchClient::new(channel)`
//! # drop(channel);
//! # Ok(()) }
//! ```
//!
//! Retries belong around a [tool](toolbooth::tool_fn) that calls the client, since requests of
//! tonic cannot be cloned. The tool makes its request by [`request`], which passes on the deadline
//! of the call, and converts its error by [`tool_error`](crate::tool_error):
//!
//! ```
//! use tonic::{Response, Status};
//! use toolbooth::{CallContext, ToolError};
//! # use toolbooth::ToolCall;
//!
//! # struct Client;
//! # impl Client {
//! #     async fn query(&self, request: tonic::Request<String>) -> Result<Response<String>, Status> {
//! #         Ok(Response::new(request.into_inner()))
//! #     }
//! # }
//! async fn search(call: CallContext, client: Client, query: String) -> Result<String, ToolError> {
//!     let request = toolbooth_tonic::request(&call, query);
//!     let response = client.query(request).await;
//!     Ok(response.map_err(toolbooth_tonic::tool_error)?.into_inner())
//! }
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), ToolError> {
//! # let call = ToolCall::new("search", ());
//! # let found = search(call.context().clone(), Client, "TODO".to_owned()).await?;
//! # assert_eq!(found, "TODO");
//! # Ok(()) }
//! ```
//!
//! # Readiness
//! That of the inner service.
//!
//! # Cancellation
//! Dropping the future or the body drops the inner one, which cancels the call at the server.
//!
//! # Order
//! [`ClientLayer`] outermost, [`ChannelLayer`] innermost. Each works without the other.

mod body;
mod channel;
mod errors;
mod future;
mod layer;
mod propagate;
mod service;

pub use body::ClientBody;
pub use channel::{ChannelLayer, GrpcChannel};
pub use future::{ChannelFuture, ResponseFuture};
pub use layer::ClientLayer;
pub use propagate::request;
pub use service::GrpcClient;
