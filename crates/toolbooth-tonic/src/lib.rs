//! toolbooth's errors and deadlines in tonic.
//!
//! The layers of toolbooth accept requests of HTTP, and those of gRPC are such. This crate converts
//! between the two: deadlines, names and tenants on the way in, statuses on the way out.
//!
//! | to | use |
//! |---|---|
//! | put layers around a server or one of its services | [`ServerLayer`], outermost |
//! | call a tool from a method, and return its error | [`context`], [`status`] |
//! | put layers around a channel | [`ClientLayer`] outermost, [`ChannelLayer`] innermost |
//! | call a service from a tool | [`request`], [`tool_error`] |
//! | read and write the header `grpc-timeout` | [`parse_timeout`], [`format_timeout`] |
//!
//! A method that calls a tool, in a server whose calls have a limit of 30 s:
//!
//! ```
//! use std::time::Duration;
//! use serde_json::json;
//! use tonic::{Code, Request, Response, Status};
//! use toolbooth::{TimeoutLayer, Toolbox, ToolSpec, tool_fn};
//! use toolbooth_tonic::{ServerLayer, status};
//! use tower::{ServiceBuilder, ServiceExt};
//!
//! // A method of the trait that tonic generates for a service.
//! async fn query(tools: Toolbox, mut request: Request<String>) -> Result<Response<String>, Status> {
//!     let context = toolbooth_tonic::context(&mut request);
//!     let args = json!({ "pattern": request.into_inner() });
//!     let call = context.child("search", args).map_err(|error| status(&error))?;
//!     let response = tools.oneshot(call).await.map_err(|error| status(&error))?;
//!     let collected = response.collect().await.map_err(|error| status(&error))?;
//!     Ok(Response::new(collected.text()))
//! }
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // `Server::builder().layer(layers).add_service(..)`
//! let layers = ServiceBuilder::new()
//!     .layer(ServerLayer::new().with_methods(["/search.Search/Query"]))
//!     .layer(TimeoutLayer::new(Duration::from_secs(30)));
//! # drop(layers);
//!
//! #[derive(serde::Deserialize)]
//! struct Search {
//!     pattern: String,
//! }
//! let search = tool_fn("search", async |search: Search| match search.pattern.as_str() {
//!     "TODO" => Ok("3 matches"),
//!     _ => Err(std::io::Error::other("no route to postgres://admin:hunter2@db")),
//! });
//! let tools = Toolbox::builder().tool(ToolSpec::new("search"), search).build()?;
//!
//! let found = query(tools.clone(), Request::new("TODO".to_owned())).await?;
//! assert_eq!(found.into_inner(), "3 matches");
//! let failed = query(tools, Request::new("FIXME".to_owned())).await.err().ok_or("it fails")?;
//! assert_eq!((failed.code(), failed.message()), (Code::Internal, "the tool failed"));
//! # Ok(()) }
//! ```
//!
//! # Statuses
//! A response whose status is a failure counts as one, in its head or in its trailers: for a
//! [`CircuitBreakerLayer`](toolbooth::CircuitBreakerLayer) and for an
//! [`EventsLayer`](toolbooth::EventsLayer), by default and on both sides. Failures are unknown,
//! deadline exceeded, internal, unavailable and data loss. Other codes are about the call, and no
//! failure of the service.
//!
//! # Shutdown
//! [`ShutdownLayer`](toolbooth::ShutdownLayer) directly inside of the [`ServerLayer`] rejects new
//! calls and ends open streams with `UNAVAILABLE`. Then tonic's server closes its connections:
//!
//! ```
//! use std::time::Duration;
//! use toolbooth::ShutdownLayer;
//! use toolbooth_tonic::ServerLayer;
//! use tower::ServiceBuilder;
//!
//! let shutdown = ShutdownLayer::new();
//! let layers = ServiceBuilder::new().layer(ServerLayer::new()).layer(shutdown.clone());
//! # drop(layers);
//!
//! // The signal for `serve_with_shutdown`, after the signal of the process.
//! async fn end(shutdown: ShutdownLayer) {
//!     let report = shutdown.shutdown(Duration::from_secs(10), Duration::from_secs(5)).await;
//!     tracing::info!(?report, "all calls have ended");
//! }
//! # drop(end(shutdown));
//! ```
//!
//! # Requirements
//! tonic 0.14 and Rust 1.88.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc(test(attr(deny(warnings))))]

pub mod client;
pub mod server;
mod status;
mod timeout;

pub use client::{ChannelLayer, ClientLayer, request};
pub use server::{ServerLayer, context};
pub use status::{ERROR_DOMAIN, status, tool_error};
pub use timeout::{format_timeout, parse_timeout};
