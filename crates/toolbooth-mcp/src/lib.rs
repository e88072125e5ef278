//! A toolbox as an MCP server, and remote MCP servers as tools.
