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
//! # Requirements
//! Rust 1.88 or newer, and axum 0.8. Each major version of axum has its own version of this crate.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc(test(attr(deny(warnings))))]

mod arguments;
pub mod problem;
pub mod router;

pub use arguments::Arguments;
pub use problem::{Problem, handle_error};
pub use router::ToolRouter;
