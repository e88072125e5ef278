//! A toolbox as an MCP server.

mod calls;
mod list;
mod support;
