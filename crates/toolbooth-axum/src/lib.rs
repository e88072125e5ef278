//! toolbooth's errors, deadlines and tools in axum 0.8.
//!
//! ```
//! use std::time::Duration;
//!
//! use axum::body::{Body, to_bytes};
//! use axum::http::Request;
//! use serde::Deserialize;
//! use serde_json::{Value, json};
//! use toolbooth::{TimeoutLayer, Toolbox, tool_fn};
//! use toolbooth_axum::ToolRouter;
//! use tower::{Layer, ServiceExt};
//!
//! #[derive(Deserialize)]
//! struct Search {
//!     pattern: String,
//! }
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let search = tool_fn("search", async |search: Search| {
//!     Ok::<_, std::io::Error>(format!("3 files with {}", search.pattern))
//! });
//! let toolbox = Toolbox::builder().tool("search", search).build()?;
//! let limited = TimeoutLayer::new(Duration::from_secs(5)).layer(toolbox.clone());
//! let app: axum::Router = ToolRouter::with_service(toolbox, limited).into_router();
//!
//! let call = |name: &str| {
//!     let request = Request::post(format!("/tools/{name}"))
//!         .header("content-type", "application/json")
//!         .body(Body::from(r#"{"pattern":"TODO"}"#));
//!     app.clone().oneshot(request.expect("a request"))
//! };
//! let response = call("search").await?;
//! let body: Value = serde_json::from_slice(&to_bytes(response.into_body(), 1_000).await?)?;
//! assert_eq!(body["contents"], json!([{ "type": "text", "text": "3 files with TODO" }]));
//!
//! let response = call("serach").await?;
//! assert_eq!(response.status(), 404);
//! assert_eq!(response.headers()["content-type"], "application/problem+json");
//! let body: Value = serde_json::from_slice(&to_bytes(response.into_body(), 1_000).await?)?;
//! assert_eq!(body["nearest"], json!(["search"]));
//! # Ok(()) }
//! ```
//!
//! # Parts
//! | for | use |
//! |---|---|
//! | errors as `application/problem+json`, in handlers and behind `HandleErrorLayer` | [`Problem`], [`handle_error`] |
//! | the tools of a toolbox as routes, with server-sent events | [`ToolRouter`] |
//! | arguments in a handler of your own, whose rejections are problems | [`Arguments`] |
//! | tenant, priority, deadline and keys of clients, from headers or the address of the peer | [`CallerLayer`], [`Caller`], [`ClientKey`] |
//! | routes as names of tools | [`RouteNameLayer`] |
//! | streams of events that end with an event when a limit or a shutdown ends them | [`FinalEventLayer`] |
//!
//! # Shutdown
//! One [`ShutdownLayer`](toolbooth::ShutdownLayer) ends the calls of tools and of routes. Run its
//! shutdown within the signal of axum's. Until it ends, the server responds to new calls with 503
//! and `Retry-After`. At the end of the grace, each open stream of events ends with an event
//! `error`, and the server stops.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! use axum::Router;
//! use axum::error_handling::HandleErrorLayer;
//! use axum::routing::get;
//! use toolbooth::{BoxError, ShutdownLayer, Toolbox};
//! use toolbooth_axum::{FinalEventLayer, RouteNameLayer, ToolRouter, handle_error};
//! use tower::{Layer, ServiceBuilder};
//!
//! # async fn terminated() {}
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! let toolbox = Toolbox::builder().build()?;
//! let shutdown = ShutdownLayer::new();
//! let around_routes = ServiceBuilder::new()
//!     .layer(RouteNameLayer::new())
//!     .layer(FinalEventLayer::new())
//!     .layer(HandleErrorLayer::new(handle_error))
//!     .layer(shutdown.clone());
//! let around_tools = shutdown.layer(toolbox.clone());
//! let app = Router::new()
//!     .route("/report", get(async || "42 rows"))
//!     .layer(around_routes)
//!     .merge(ToolRouter::with_service(toolbox, around_tools).into_router());
//!
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:3000").await?;
//! let stop = async move {
//!     terminated().await;
//!     let (grace, limit) = (Duration::from_secs(10), Duration::from_secs(10));
//!     println!("{:?}", shutdown.shutdown(grace, limit).await);
//! };
//! axum::serve(listener, app).with_graceful_shutdown(stop).await?;
//! # Ok(()) }
//! ```
//!
//! A client that does not read its last event keeps its connection, for which axum waits. Its call
//! has ended. A program that must end drops the future of the server after a time of its own.
//!
//! # Requirements
//! Rust 1.88 or newer, and axum 0.8. Each major version of axum has its own version of this crate.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc(test(attr(deny(warnings))))]

mod arguments;
pub mod caller;
pub mod final_event;
pub mod problem;
mod route_name;
pub mod router;

pub use arguments::Arguments;
pub use caller::{Caller, CallerLayer, ClientKey};
pub use final_event::FinalEventLayer;
pub use problem::{Problem, handle_error};
pub use route_name::{RouteNameLayer, RouteNameService};
pub use router::ToolRouter;
