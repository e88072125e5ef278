//! The program `toolbooth`: limits around any MCP server or command, from one file.
//!
//! ```text
//! toolbooth run -- COMMAND       one MCP server within defaults, over standard input and output
//! toolbooth init                 writes a commented booth.toml
//! toolbooth check [FILE]         finds its faults, and draws the layers of each tool
//! toolbooth call TOOL JSON       tries a tool, with its progress
//! toolbooth token NAME           makes a token for a client
//! toolbooth run [FILE]           serves the file
//! ```
//!
//! This library is what the program consists of: [`Config`](config::Config) reads the file,
//! [`Booth`](booth::Booth) connects the tools, and [`Cli`](cli::Cli) is the command line.
//!
//! ```
//! use serde_json::json;
//! use toolbooth::{BoxError, ToolCall};
//! use toolbooth_gateway::booth::Booth;
//! use toolbooth_gateway::config::Config;
//! use tower::ServiceExt;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! let config = Config::from_toml(
//!     r#"
//!     [tools.lines]
//!     command = ["grep", "-c", "--", "{pattern}", "{file}"]
//!     ok_exit_codes = [0, 1]
//!
//!     [policies.default]
//!     timeout = "10s"
//!     concurrency = 4
//!     "#,
//! )?;
//! let booth = Booth::open(config).await?;
//! let arguments = json!({ "pattern": "^", "file": "/dev/null" });
//! let output = booth.toolbox().oneshot(ToolCall::new("lines", arguments)).await?;
//! assert_eq!(output.collect().await?.text(), "0\n");
//! # Ok(()) }
//! ```
//!
//! # The file
//!
//! | table | key | meaning | default |
//! |---|---|---|---|
//! | `[upstreams.NAME]` | `command` | the program of an MCP server and its arguments, a list | |
//! | | `env`, `inherit_env` | variables that are set; names of those of toolbooth that are passed | `PATH`, `HOME` and a few |
//! | | `current_dir` | its working directory | that of toolbooth |
//! | | `url` | the address of an MCP server, in place of `command` | |
//! | | `bearer`, `headers` | what each request has | none |
//! | | `prefix` | what the names of its tools begin with; required with several servers, of which none begins with another | none |
//! | | `trust_annotations` | whether its annotations decide which calls are repeated | `false` |
//! | | `connect_timeout` | the limit on a connection, up to the list of tools | `"30s"` |
//! | `[tools.NAME]` | `command` | a program and its arguments; `{name}` is an argument of the call; a list within is left out if the call has no value for it | |
//! | | `input` | the arguments of the call by name, each a JSON Schema; `optional = true` or a `default` | each placeholder is a required text |
//! | | `input_schema` | a whole JSON Schema, in place of `input` | |
//! | | `title`, `description` | for people, for models | none |
//! | | `stdin` | the standard input, with placeholders | empty |
//! | | `env`, `inherit_env`, `current_dir` | as of a server | |
//! | | `output` | `"text"`, `"lines"` or `"json"` | `"text"` |
//! | | `ok_exit_codes`, `max_output` | exit codes of a success, bytes of output | `[0]`, `1048576` |
//! | | `read_only`, `destructive`, `idempotent`, `open_world` | its effects, as of MCP | unknown |
//! | `[policies]` | `default`, `groups`, `tools` | the limits: see [`toolbooth::policy`]; a setting replaces its default | [defaults](config::Config::DEFAULT_POLICIES) |
//! | `[limits]` | `url` | a Redis or Valkey server that keeps the limits of several gateways | none |
//! | | `name` | gateways with one name share the limits of tools and tenants | `"booth"` |
//! | | `when_away` | while the server does not respond: `"local"`, each its share; `"closed"`, no calls; `"open"`, no limits | `"local"` |
//! | | `lease`, `command_timeout` | until the permits of a dead gateway are free, and for a reply | `"10s"`, `"50ms"` |
//! | `[listen]` | `stdio` | MCP over standard input and output | `true` without `http` |
//! | | `http`, `path` | the address and the path of MCP over streamable HTTP | none, `"/mcp"` |
//! | | `api` | the HTTP API, at the same address | `true` |
//! | | `allowed_hosts`, `allowed_origins` | further names of hosts, and origins of web pages | those of loopback, and the own address |
//! | | `max_body`, `max_connections`, `header_timeout` | limits of requests | 4 MiB, 1,024, `"10s"` |
//! | `[tenants.NAME]` | `token_sha256` | the hash of a token, or a list | |
//! | | `priority`, `rate`, `concurrency`, `queue` | limits of its calls | none |
//! | | `tools` | the tools that it may call, such as `["disk_*"]` | all |
//! | `[admin]` | `listen`, `token_sha256` | the address of the operator, and its tokens | none |
//! | `[log]` | `level`, `format` | a filter such as `"info"`; `"text"` or `"json"` | `"info"`, `"text"` |
//! | `[shutdown]` | `grace`, `limit` | the times for calls, and for cleanup, at the end | `"10s"`, `"10s"` |
//!
//! A text of a server or a command may have `${NAME}`, a variable of the environment that must be
//! set. An unknown key is an error, with its line, its column, the keys that are allowed and the
//! nearest one. No error, log or output has the value of a variable, a token, or an argument of a
//! command, except for the name of a program and the host of an address.
//!
//! # Servers that are away
//! Clients are served once each server has been tried, and after 5 s at the latest, unless there is
//! no tool at all. The tools of a server that is connected later are added then. Those of a server
//! that is away stay in the list as long as the file has the server and the program runs: see
//! [`booth`].
//!
//! # Bounds
//! A file has at most 4 MiB, 100 servers, 1,000 commands and 10,000 tenants. The names are those of
//! MCP: 1 to 128 letters, digits, `_`, `-`, `.` and `/`.
//!
//! # Exit codes
//! | code | meaning |
//! |---|---|
//! | 0 | success; a server: all calls have ended |
//! | 1 | the tool failed, or its call was rejected |
//! | 2 | the command line or the file is wrong |
//! | 3 | an address, a file or a server could not be used |
//! | 4 | calls were abandoned when the program ended |
//!
//! # Requirements
//! A unix system, for commands, and Rust 1.88 or newer. Commands end with toolbooth even if it is
//! killed where the program `setpriv` is installed.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc(test(attr(deny(warnings))))]

pub mod booth;
pub mod cli;
mod commands;
pub mod config;
pub mod guard;
pub mod serve;
