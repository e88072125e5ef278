//! The outermost layer of a server.
//!
//! [`ServerLayer`] converts between gRPC and the layers of toolbooth: what a call carries in its
//! headers goes in, and errors come out as statuses. Use it outside of all layers, as a layer of
//! tonic's `Server`, or around one service with tonic's `LayerExt::named_layer`.
//!
//! ```
//! use std::time::Duration;
//! use http::Request;
//! use tokio::time::Instant;
//! use tonic::body::Body;
//! use toolbooth::{ConcurrencyLimitLayer, TimeoutLayer, ToolError};
//! use toolbooth_tonic::ServerLayer;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // `Server::builder().layer(layers).add_service(..)`
//! let layers = ServiceBuilder::new()
//!     .layer(ServerLayer::new().with_methods(["/search.Search/Query"]))
//!     .layer(TimeoutLayer::new(Duration::from_secs(30)))
//!     .layer(ConcurrencyLimitLayer::new(100));
//! // In the place of a service of tonic: one that never responds.
//! let server = layers.service(service_fn(async |_: Request<Body>| {
//!     std::future::pending::<Result<http::Response<Body>, ToolError>>().await
//! }));
//!
//! let start = Instant::now();
//! let request = Request::post("/search.Search/Query").header("grpc-timeout", "200m");
//! let response = server.oneshot(request.body(Body::empty())?).await?;
//! assert_eq!(response.headers()["grpc-status"], "4"); // DEADLINE_EXCEEDED
//! assert_eq!(start.elapsed(), Duration::from_millis(195));
//! # Ok(()) }
//! ```
//!
//! # What goes in
//! | of the request | as | default |
//! |---|---|---|
//! | the header `grpc-timeout` | the deadline of the call, 5 ms earlier | no deadline; a malformed header is ignored |
//! | the path, if it is one of the [methods](ServerLayer::with_methods) | the name of the tool, without the first `/` | `POST *` |
//! | what [`with_tenant`](ServerLayer::with_tenant) returns | the tenant | no tenant |
//!
//! tonic's `Server` has a timer of its own for `grpc-timeout`, outside of all layers. It ends a
//! call with `CANCELLED`, and only before the head of the response. The deadline is 5 ms earlier,
//! so that the layers end the call first: with `DEADLINE_EXCEEDED`, and within a streaming response
//! as well.
//!
//! Each name of a tool is a key of limits and a label of metrics, and a client chooses the path. So
//! only the paths of methods that the server knows become names.
//!
//! # What comes out
//! An error before the head of the response is a response of its [status](crate::status) alone. An
//! error within a streaming response ends it with the status in trailers. Without it, the stream
//! would be reset, and a client could not distinguish an expired limit from a broken server.
//!
//! A [`Status`](tonic::Status) that a service inside returns as its error stays as it is. A
//! response of another content type than gRPC passes unchanged, and so does its error.
//!
//! # Readiness
//! That of the inner service.
//!
//! # Cancellation
//! Dropping the future or the body drops the inner one. A client that cancels its call or
//! disconnects has this effect.
//!
//! # Errors
//! None: the error is [`Infallible`](std::convert::Infallible).
//!
//! # Order
//! Outermost. A [`ShutdownLayer`](toolbooth::ShutdownLayer) directly inside ends open streams with
//! `UNAVAILABLE`.

mod body;
mod context;
mod future;
mod layer;
mod request;
mod service;

pub use body::ServerBody;
pub use context::context;
pub use future::ResponseFuture;
pub use layer::ServerLayer;
pub use service::GrpcServer;
