//! Many tools behind one service, which calls them by name.
//!
//! Use it where a model or an agent chooses the tool. For one tool, call its stack.
//!
//! ```
//! use std::time::Duration;
//! use serde_json::json;
//! use toolbooth::{
//!     ConcurrencyLimitLayer, ErrorKind, PerTool, ToolAnnotations, ToolCall, ToolSpec, Toolbox,
//!     tool_fn,
//! };
//! use tower::{ServiceBuilder, ServiceExt};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let search = ToolSpec::new("search")
//!     .with_description("Finds files by a pattern")
//!     .with_annotations(ToolAnnotations::new().with_read_only(true));
//! let delete = ServiceBuilder::new() // layers around one tool
//!     .layer(ConcurrencyLimitLayer::new(1))
//!     .service(tool_fn("delete", async |path: String| Ok::<_, std::io::Error>(path)));
//!
//! let toolbox = Toolbox::builder()
//!     .tool(search, tool_fn("search", async |_: ()| Ok::<_, std::io::Error>("src/lib.rs")))
//!     .tool("delete", delete)
//!     .layer(ConcurrencyLimitLayer::new(16)) // one limit around all tools
//!     .with_timeout(PerTool::new(Duration::from_secs(5)).with("search", Duration::from_secs(30)))
//!     .build()?;
//!
//! let output = toolbox.clone().oneshot(ToolCall::new("search", json!({}))).await?;
//! assert_eq!(output.collect().await?.text(), "src/lib.rs");
//!
//! let unknown = toolbox.clone().oneshot(ToolCall::new("serach", json!({}))).await;
//! let unknown = unknown.err().ok_or("there is no such tool")?;
//! assert_eq!(unknown.kind(), ErrorKind::UnknownTool);
//! assert_eq!(unknown.to_string(), "there is no tool named `serach`, did you mean `search`?");
//!
//! let echo = tool_fn("echo", async |text: String| Ok::<_, std::io::Error>(text));
//! toolbox.insert("echo", echo.clone())?;
//! assert!(toolbox.insert("echo", echo.clone()).is_err()); // nothing is overwritten silently
//! toolbox.replace("echo", echo)?;
//! toolbox.remove("echo");
//! assert_eq!(toolbox.names(), ["delete", "search"]);
//! # Ok(()) }
//! ```
//!
//! A call finds its tool in a map that is replaced as a whole when it changes. So it waits for no
//! lock and for no other tool, and stays on the tool that it found: [`Toolbox::replace`] and
//! [`Toolbox::remove`] apply to later calls.
//!
//! A `RetryPolicy` inside or outside of the toolbox repeats calls of tools whose
//! [annotations](ToolAnnotations::is_idempotent) state that they are idempotent or read-only.
//!
//! # Readiness
//! Always ready. The readiness of a tool is polled inside the call's future.
//!
//! # Cancellation
//! Dropping the future ends the call, also while it waits for the gate. What ends with a call, and
//! what cannot be ended, is in the [guide to cleanup](crate::cleanup::guide).
//!
//! # Errors
//! - `UnknownTool` with the nearest names, which the client may read. A long name is shortened.
//! - `InvalidArguments` with the path, if the toolbox checks arguments.
//! - `Denied` by the [gate](ToolboxBuilder::gate).
//!
//! In all of these cases the tool has not been called, and
//! [`started`](crate::ToolError::started) is false.
//!
//! # Clone
//! Clones are handles to the same tools.
//!
//! # Order
//! Layers around the toolbox are outside of the gate and of all layers inside. A limit outside
//! counts calls while they wait for the gate.
//!
//! # Panics
//! None of its own. A panic of a tool unwinds unless there is a
//! [`CatchPanicLayer`](crate::CatchPanicLayer). A gate that panics denies the call.
//!
//! # Cost
//! One allocation for a call, the future of the tool, and one for each
//! [layer](ToolboxBuilder::layer) for all tools.

mod annotations;
mod batch;
mod builder;
mod error;
#[cfg(feature = "policy")]
mod events;
mod gate;
mod handle;
pub(crate) mod nearest;
#[cfg(feature = "validate")]
mod schema;
mod service;
#[cfg(feature = "validate")]
mod shape;
mod shared;
mod spec;
mod stacks;
mod tool;

pub use annotations::ToolAnnotations;
pub use batch::ToolboxBatch;
pub use builder::ToolboxBuilder;
pub use error::{ToolboxError, ToolboxFault};
#[cfg(feature = "policy")]
pub(crate) use events::StackEvents;
pub use gate::{Denied, GateRequest};
pub use handle::{Toolbox, ToolboxChanges};
#[cfg(feature = "validate")]
pub use schema::SchemaMismatch;
pub use service::{ResolvedTool, ResponseFuture};
#[cfg(feature = "policy")]
pub(crate) use shared::Version;
pub use spec::ToolSpec;
#[cfg(feature = "policy")]
pub(crate) use stacks::{Stacked, Stacks};
pub use tool::{Tool, ToolFuture, ToolService};
