//! Ends the calls of a service at its shutdown: rejects new ones, cancels the others after a grace
//! period, and waits for what outlives them.
//!
//! Use it around the whole service of a server or an agent, as the outermost layer. To wait for
//! cleanup hooks alone, while calls end by themselves, [`CleanupLayer`](crate::CleanupLayer) with
//! [`close`](crate::CleanupLayer::close) and [`drain`](crate::CleanupLayer::drain) is enough.
//!
//! ```
//! use std::time::Duration;
//! use serde_json::json;
//! use toolbooth::{
//!     CancelReason, ConcurrencyLimitLayer, ErrorKind, ShutdownLayer, ToolCall, ToolError, tool_fn,
//! };
//! use tower::{ServiceBuilder, ServiceExt};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let shutdown = ShutdownLayer::new();
//! let tool = ServiceBuilder::new()
//!     .layer(shutdown.clone())
//!     .layer(ConcurrencyLimitLayer::new(2))
//!     .service(tool_fn("sleep", async |seconds: u64| {
//!         tokio::time::sleep(Duration::from_secs(seconds)).await;
//!         Ok::<_, std::io::Error>("awake")
//!     }));
//! let call = |seconds: u64| {
//!     let call = ToolCall::new("sleep", json!(seconds));
//!     tokio::spawn(tool.clone().oneshot(call))
//! };
//! let (short, long, queued) = (call(1), call(60), call(60));
//! tokio::task::yield_now().await;
//!
//! // Calls have 2 s to end by themselves, and then 5 s to end and to clean up.
//! let report = shutdown.shutdown(Duration::from_secs(2), Duration::from_secs(5)).await;
//! assert_eq!((report.completed, report.cancelled, report.orphaned), (1, 2, 0));
//!
//! assert!(short.await?.is_ok());
//! for cancelled in [long.await?, queued.await?] {
//!     let error = cancelled.err().ok_or("it takes a minute")?;
//!     assert!(matches!(error, ToolError::Cancelled { reason: CancelReason::Shutdown, .. }));
//! }
//! let late = call(1).await?.err().ok_or("it comes after the shutdown")?;
//! assert_eq!(late.kind(), ErrorKind::Overloaded);
//! assert_eq!(late.retry_after(), Some(Duration::from_secs(5)));
//! # Ok(()) }
//! ```
//!
//! In a server, run the shutdown within the signal of its graceful shutdown. Until it ends, the
//! server responds to requests with 503 and `Retry-After`. It stops when the calls have ended,
//! endless streams as well:
//!
//! ```no_run
//! # #[cfg(not(feature = "http"))] fn main() {}
//! # #[cfg(feature = "http")]
//! # async fn serve(app: axum::Router, listener: tokio::net::TcpListener) -> std::io::Result<()> {
//! # use std::time::Duration;
//! # use toolbooth::ShutdownLayer;
//! # async fn terminated() {}
//! let shutdown = ShutdownLayer::new();
//! let app = app.layer(
//!     tower::ServiceBuilder::new()
//!         .layer(axum::error_handling::HandleErrorLayer::new(toolbooth_axum::handle_error))
//!         .layer(shutdown.clone()),
//! );
//! let stop = async move {
//!     terminated().await;
//!     let report = shutdown.shutdown(Duration::from_secs(10), Duration::from_secs(10)).await;
//!     println!("{report:?}");
//! };
//! axum::serve(listener, app).with_graceful_shutdown(stop).await
//! # }
//! # #[cfg(feature = "http")] fn main() { let _ = serve; }
//! ```
//!
//! A call is in flight from its `call` to its last byte: while it waits in a queue or between two
//! attempts, while it runs, and while its response is streaming. A call that a call in flight
//! [makes](crate::CallContext::child) belongs to that call: it is admitted during the grace, and is
//! not counted.
//!
//! When a call is cancelled, its context is cancelled with the reason `Shutdown`, its future is
//! dropped, and its caller receives the error with the partial result. Programs receive SIGTERM.
//! Hooks run, and the shutdown waits for them. An inner [cleanup layer](crate::CleanupLayer) runs
//! and counts its hooks as usual. Those still running at the limit count as orphaned. The other
//! hooks are run and counted by this layer, each for at most 5 s.
//!
//! # Readiness
//! Always ready. The inner service's readiness is polled inside the call's future.
//!
//! # Cancellation
//! Dropping the future ends the call. Dropping the future of
//! [`shutdown`](ShutdownLayer::shutdown) leaves the layer closed.
//!
//! # Errors
//! `Overloaded` with the reason `ShuttingDown` for new calls: 503 with `Retry-After` in HTTP. It is
//! retryable, by another process. A `RetryPolicy` of this crate does not repeat it.
//!
//! `Cancelled` with the reason `Shutdown` for calls in flight at the end of the grace: 503 in HTTP.
//! A streaming response ends with that error.
//!
//! # Clone
//! Clones of the layer, and services made from one layer value, share the calls and the shutdown.
//!
//! # Order
//! Outermost. Calls that wait in outer layers are not reached: they are rejected when they arrive
//! here.
//!
//! # Cost
//! No allocation for a call that is ready at the first poll, and two atomic operations at each end.
//! A pending call allocates its wait for the cancellation. A streaming response has a task that
//! ends it.

mod calls;
mod future;
mod layer;
mod service;
mod shared;

pub use future::{ResponseFuture, ResponseWatch};
pub use layer::ShutdownLayer;
pub use service::Shutdown;
