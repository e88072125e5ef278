//! A toolbox as an MCP server, and remote MCP servers as tools.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc(test(attr(deny(warnings))))]

mod convert;
pub mod remote;
pub mod server;

pub use convert::{ERROR_META_KEY, ITEMS_META_KEY, TIMEOUT_META_KEY};
pub use remote::{RemoteError, RemoteServer, RemoteTool};
pub use server::{HttpOptions, HttpService, McpServer, SessionOwner};
