//! A panic becomes an error.
//!
//! Use it around tools that may panic, where their callers are not to go down with them: a server's connection, an agent's loop. For tools
//! that may block their thread as well, the [`SpawnLayer`](crate::SpawnLayer) does the same on a task of the call's own.
//!
//! ```
//! use serde_json::json;
//! use toolbooth::{CatchPanicLayer, ErrorKind, ToolCall, tool_fn};
//! use tower::{Layer, ServiceExt};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let divide = tool_fn("divide", async |(a, b): (u32, u32)| Ok::<_, std::io::Error>(a / b));
//! let divide = CatchPanicLayer::new().layer(divide);
//!
//! let error = divide.clone().oneshot(ToolCall::new("divide", json!([1, 0]))).await.err().ok_or("1 / 0")?;
//! assert_eq!(error.kind(), ErrorKind::Panicked);
//! assert_eq!(error.to_string(), "the tool panicked: attempt to divide by zero");
//!
//! let answer = divide.oneshot(ToolCall::new("divide", json!([6, 3]))).await?;
//! assert_eq!(answer.collect().await?.contents(), [json!(2).into()]);
//! # Ok(()) }
//! ```
//!
//! A panic is caught where the inner service is asked whether it is ready, in its `call`, while its future runs and where that is dropped, and while a streamed
//! answer is read. The panic hook of the process has run by then, and has printed what it prints. A program that is built to abort on a panic aborts.
//!
//! # Readiness
//! Always ready; the inner service is waited for inside the call's future.
//!
//! # Cancellation
//! Dropping the future ends the call. A panic in the drop of a call that nobody waits for any more is traced, and goes no further.
//! What ends with a call, and what cannot be ended, is in the [guide to cleanup](crate::cleanup::guide).
//!
//! # Errors
//! `Panicked`, with the panic's text, and what the call had produced. It is not retryable. The outcome is `Panicked` here and in every layer around.
//!
//! # Clone
//! Clones share nothing.
//!
//! # Order
//! Layers outside see an error, layers inside a panic that passes: they end their part of the call as panicked, and give back what they took. Outside
//! of everything it also catches what panics in foreign layers.
//!
//! # Panics
//! None passes. After a panic in its `poll_ready` or `call` the inner service stays as it is, as it would without this layer.
//!
//! # Cost
//! No allocation.

mod layer;
mod service;

pub use layer::CatchPanicLayer;
pub use service::{CatchPanic, ResponseFuture, ResponseWatch};
