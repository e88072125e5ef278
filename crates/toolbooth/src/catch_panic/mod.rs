//! Turns panics into errors.
//!
//! Use it around tools that may panic, if a panic must not end the caller: a server's connection,
//! an agent's loop. For tools that may also block their thread, [`SpawnLayer`](crate::SpawnLayer)
//! does the same and runs each call on a task of its own.
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
//! let error = divide.clone().oneshot(ToolCall::new("divide", json!([1, 0]))).await;
//! let error = error.err().ok_or("it divides by zero")?;
//! assert_eq!(error.kind(), ErrorKind::Panicked);
//! assert_eq!(error.to_string(), "the tool panicked: attempt to divide by zero");
//!
//! let output = divide.oneshot(ToolCall::new("divide", json!([6, 3]))).await?;
//! assert_eq!(output.collect().await?.contents(), [json!(2).into()]);
//! # Ok(()) }
//! ```
//!
//! A panic is caught in the inner service's `poll_ready` and `call`, in its future, in the drop of
//! that future, and in a streaming response. The panic hook of the process runs before, and prints
//! what it prints. A program that aborts on panic still aborts.
//!
//! # Readiness
//! Always ready. The inner service's readiness is polled inside the call's future.
//!
//! # Cancellation
//! Dropping the future ends the call. A panic in the drop of an abandoned call is logged, and not
//! propagated. What ends with a call, and what cannot be ended, is in the
//! [guide to cleanup](crate::cleanup::guide).
//!
//! # Errors
//! `Panicked`, with the panic's message and the partial results of the call. It is not retryable.
//! The outcome is `Panicked` in this layer and in every outer one.
//!
//! # Clone
//! Clones share nothing.
//!
//! # Order
//! Outer layers see an error. Inner layers see the panic: they end their part of the call as
//! panicked and release what they acquired. As the outermost layer it also catches panics of
//! foreign layers.
//!
//! # Panics
//! None is propagated. After a panic in its `poll_ready` or `call`, the inner service stays as it
//! is, as without this layer.
//!
//! # Cost
//! No allocation.

mod layer;
mod service;

pub use layer::CatchPanicLayer;
pub use service::{CatchPanic, ResponseFuture, ResponseWatch};
