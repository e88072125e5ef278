//! A client over the pipes of a process.

use std::collections::HashMap;
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::Instant;

use super::{Reply, initialize, initialized};
use crate::Error;

/// A client over the pipes of a process.
pub struct Pipes {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    next: u64,
}

// === impl Pipes ===

impl Pipes {
    /// Starts the process and initializes the session.
    pub async fn start(command: &[String], log: std::fs::File) -> Result<Self, Error> {
        let mut child = Command::new(&command[0])
            .args(&command[1..])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        let input = child.stdin.take().ok_or("no standard input")?;
        let output = child.stdout.take().ok_or("no standard output")?;
        let output = BufReader::new(output).lines();
        let mut client = Self {
            child,
            input,
            output,
            next: 1,
        };
        client.write(&initialize(0)).await?;
        client.read(0).await?;
        client.write(&initialized()).await?;
        Ok(client)
    }

    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    async fn write(&mut self, message: &Value) -> Result<(), Error> {
        let mut line = serde_json::to_vec(message)?;
        line.push(b'\n');
        Ok(self.input.write_all(&line).await?)
    }

    /// Returns the next message that is not a request of the server.
    async fn message(&mut self) -> Result<Value, Error> {
        loop {
            let line = self
                .output
                .next_line()
                .await?
                .ok_or("the server closed its output")?;
            let message: Value = serde_json::from_str(&line)?;
            if message["method"].is_string() && !message["id"].is_null() {
                let answer = json!({ "jsonrpc": "2.0", "id": message["id"], "result": {} });
                self.write(&answer).await?;
                continue;
            }
            return Ok(message);
        }
    }

    async fn read(&mut self, id: u64) -> Result<Reply, Error> {
        let mut progress = 0;
        loop {
            let message = self.message().await?;
            if message["id"] == json!(id) {
                return Ok(Reply {
                    message,
                    progress,
                    at: Instant::now(),
                });
            }
            progress += usize::from(message["method"] == json!("notifications/progress"));
        }
    }

    /// Sends a request and returns its reply.
    pub async fn send(&mut self, method: &str, params: Value) -> Result<Reply, Error> {
        let id = self.next;
        self.next += 1;
        let message = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        self.write(&message).await?;
        self.read(id).await
    }

    /// Makes `total` calls with `window` of them in flight, and returns the time of each.
    pub async fn pipelined(
        &mut self,
        params: &Value,
        window: usize,
        total: usize,
    ) -> Result<Vec<Duration>, Error> {
        let mut sent = HashMap::with_capacity(window);
        let mut times = Vec::with_capacity(total);
        let mut begun = 0;
        while times.len() < total {
            while sent.len() < window && begun < total {
                let id = self.next;
                self.next += 1;
                begun += 1;
                sent.insert(id, Instant::now());
                let method = "tools/call";
                self.write(&json!({
                    "jsonrpc": "2.0", "id": id, "method": method, "params": params,
                }))
                .await?;
            }
            let message = self.message().await?;
            if let Some(at) = message["id"].as_u64().and_then(|id| sent.remove(&id)) {
                if message["result"]["content"].is_null() {
                    return Err(format!("a call failed: {message}").into());
                }
                times.push(at.elapsed());
            }
        }
        Ok(times)
    }
}
