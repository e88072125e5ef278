//! A toolbox as an MCP server.

mod calls;
mod http;
mod list;
mod support;
