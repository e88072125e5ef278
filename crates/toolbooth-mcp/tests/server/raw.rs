//! A client that reads and writes the messages themselves.

use serde_json::{Map, Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::io::{DuplexStream, ReadHalf, WriteHalf};
use toolbooth_mcp::McpServer;

use crate::support::Generation;

pub(crate) struct Raw {
    lines: Lines<BufReader<ReadHalf<DuplexStream>>>,
    writer: WriteHalf<DuplexStream>,
    generation: Generation,
}

impl Raw {
    pub(crate) async fn connect(server: McpServer, generation: Generation) -> Self {
        Self::with_buffer(server, generation, 1 << 16).await
    }

    /// Connects by a pipe that holds this number of bytes in each direction.
    pub(crate) async fn with_buffer(
        server: McpServer,
        generation: Generation,
        bytes: usize,
    ) -> Self {
        let (ours, theirs) = tokio::io::duplex(bytes);
        tokio::spawn(async move {
            let (input, output) = tokio::io::split(ours);
            if let Ok(running) = server.serve_pipes(input, output).await {
                let _ = running.waiting().await;
            }
        });
        let (reader, writer) = tokio::io::split(theirs);
        let mut raw = Self {
            lines: BufReader::new(reader).lines(),
            writer,
            generation,
        };
        if generation == Generation::Sessions {
            raw.request(
                0,
                "initialize",
                json!({
                    "protocolVersion": "2025-11-25",
                    "capabilities": {},
                    "clientInfo": { "name": "test", "version": "1" },
                }),
            )
            .await;
            assert_eq!(raw.receive().await["id"], 0);
            raw.notify("notifications/initialized", json!({})).await;
        }
        raw
    }

    pub(crate) async fn request(&mut self, id: u32, method: &str, mut params: Value) {
        if self.generation == Generation::Stateless {
            let params = params.as_object_mut().expect("an object");
            let meta = params.entry("_meta").or_insert_with(|| Map::new().into());
            let prefix = "io.modelcontextprotocol";
            meta[format!("{prefix}/protocolVersion")] = json!("2026-07-28");
            meta[format!("{prefix}/clientInfo")] = json!({ "name": "test", "version": "1" });
            meta[format!("{prefix}/clientCapabilities")] = json!({});
        }
        let request = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        self.send(&request).await;
    }

    /// Calls a tool without arguments, with this `_meta`.
    pub(crate) async fn call(&mut self, id: u32, tool: &str, meta: Value) {
        let params = json!({ "name": tool, "arguments": {}, "_meta": meta });
        self.request(id, "tools/call", params).await;
    }

    pub(crate) async fn notify(&mut self, method: &str, params: Value) {
        let notification = json!({ "jsonrpc": "2.0", "method": method, "params": params });
        self.send(&notification).await;
    }

    async fn send(&mut self, message: &Value) {
        let line = format!("{message}\n");
        let sent = self.writer.write_all(line.as_bytes()).await;
        sent.expect("the server reads");
    }

    pub(crate) async fn receive(&mut self) -> Value {
        let line = self.lines.next_line().await.expect("the pipe works");
        serde_json::from_str(&line.expect("the server writes")).expect("JSON")
    }

    /// Reads the parameters of notifications until the response of a request.
    pub(crate) async fn until_response(&mut self) -> (Vec<Value>, Value) {
        let mut notifications = Vec::new();
        loop {
            let mut message = self.receive().await;
            if message.get("id").is_some() {
                return (notifications, message);
            }
            notifications.push(message["params"].take());
        }
    }
}
