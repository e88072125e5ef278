//! Remote MCP servers as tools.

mod builder;
mod call;
mod connection;
mod error;
mod http;
mod list;
mod server;
mod stdio;
mod tool;

pub use builder::RemoteServerBuilder;
pub use error::{RemoteError, SharedError};
pub use list::MAX_TOOLS;
pub use server::RemoteServer;
pub use tool::{RemoteTool, RemoteToolFuture};
