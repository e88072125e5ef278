//! A toolbox as an MCP server, and remote MCP servers as tools.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc(test(attr(deny(warnings))))]

mod convert;
pub mod remote;

pub use convert::TIMEOUT_META_KEY;
pub use remote::{RemoteError, RemoteServer, RemoteTool};
