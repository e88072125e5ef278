//! A toolbox as an MCP server.

mod calls;
mod cancel;
mod http;
mod list;
mod progress;
mod raw;
mod repeated;
mod support;
mod travel;
