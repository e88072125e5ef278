//! The program toolbooth: limits around any MCP server or command, from one file.
