//! A client that is as small as MCP allows, so that it costs less than what it measures.

mod http;
mod pipes;

use serde_json::{Value, json};
use tokio::time::Instant;

pub use self::http::Http;
pub use self::pipes::Pipes;

/// A generation of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// 2025-11-25, with sessions.
    Session,
    /// 2026-07-28, in which each request is complete.
    Stateless,
}

/// What a call of a tool returned.
#[derive(Debug)]
pub struct Reply {
    /// The result, or the error of the protocol.
    pub message: Value,
    /// The number of progress notifications that arrived.
    pub progress: usize,
    /// The time at which the message was complete.
    pub at: Instant,
}

/// The address of an endpoint on loopback.
#[derive(Clone, Debug)]
pub struct Endpoint {
    pub port: u16,
    pub path: &'static str,
    pub token: Option<&'static str>,
}

// === impl Generation ===

impl Generation {
    fn version(self) -> &'static str {
        match self {
            Self::Session => "2025-11-25",
            Self::Stateless => "2026-07-28",
        }
    }
}

// === impl Reply ===

impl Reply {
    /// Whether the call succeeded.
    pub fn ok(&self) -> bool {
        self.message["result"].is_object() && self.message["result"]["isError"] != json!(true)
    }

    /// The texts of the result or the error.
    pub fn text(&self) -> String {
        if let Some(error) = self.message["error"]["message"].as_str() {
            return error.to_owned();
        }
        let contents = self.message["result"]["content"]
            .as_array()
            .into_iter()
            .flatten();
        contents
            .filter_map(|content| content["text"].as_str())
            .collect::<Vec<_>>()
            .join("\n")
    }
}

fn initialize(id: u64) -> Value {
    json!({
        "jsonrpc": "2.0", "id": id, "method": "initialize",
        "params": {
            "protocolVersion": Generation::Session.version(),
            "capabilities": {},
            "clientInfo": { "name": "measure", "version": "1" },
        },
    })
}

fn initialized() -> Value {
    json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })
}
