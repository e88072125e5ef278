//! JSON-RPC messages in lines.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rmcp::RoleClient;
use rmcp::model::{
    CallToolResult, ClientJsonRpcMessage, ErrorData, JsonRpcVersion2_0, RequestId,
    ServerJsonRpcMessage, ServerResult,
};
use rmcp::transport::Transport;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::process::{ChildStdin, ChildStdout};
use tokio::sync::Mutex;
use toolbooth_core::Name;

use crate::lines::{Line, Lines, MAX_LINE, has_method, id_of};
use crate::remote::RemoteError;
use crate::remote::connection::{Calls, Lost, Tap, Tracked};
use crate::remote::error::bounded;

/// The maximum size of the messages that wait for a program to read its input, in bytes.
const MAX_UNSENT: usize = 64 * 1_024 * 1_024;

/// The size of a message in addition to its bytes: its task.
const OVERHEAD: usize = 1_024;

/// The transport of rmcp over the pipes of a program.
///
/// A line that is not JSON-RPC is ignored: programs print such lines. A response that is too long
/// or cannot be parsed fails its call alone.
pub(crate) struct StdioTransport<R = ChildStdout, W = ChildStdin> {
    output: Lines<R>,
    parser: Parser,
    input: Arc<Mutex<Option<W>>>,
    unsent: Arc<AtomicUsize>,
    lost: Lost,
}

struct Parser {
    server: Name,
    calls: Arc<Calls>,
}

/// The response to a call, and nothing else: a message of another form has other fields.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CallResponse {
    #[serde(rename = "jsonrpc")]
    _jsonrpc: JsonRpcVersion2_0,
    id: RequestId,
    result: CallToolResult,
}

/// The size of an unsent message, until it is sent or dropped.
struct Unsent {
    all: Arc<AtomicUsize>,
    size: usize,
}

// === impl StdioTransport ===

impl<R: AsyncRead + Unpin, W> StdioTransport<R, W> {
    pub(crate) fn new(server: Name, output: R, input: W, tap: &Tap, lost: &Lost) -> Self {
        Self {
            output: Lines::new(output, MAX_LINE),
            parser: Parser {
                server,
                calls: Arc::clone(&tap.calls),
            },
            input: Arc::new(Mutex::new(Some(input))),
            unsent: Arc::default(),
            lost: lost.clone(),
        }
    }
}

// === impl Parser ===

impl Parser {
    /// Parses a line. `Ok(None)` if it is ignored, and an error if the connection cannot be used
    /// any more.
    fn parse(&self, line: &Line<'_>) -> Result<Option<ServerJsonRpcMessage>, RemoteError> {
        let (start, end, fault) = match *line {
            Line::Whole(line) => {
                let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
                if let Some(message) = self.result(line) {
                    return Ok(Some(message));
                }
                match serde_json::from_slice(line) {
                    Ok(message) => return Ok(Some(message)),
                    Err(error) => (line, line, format!("a message that is invalid: {error}")),
                }
            }
            Line::TooLong(start, end) => {
                let fault = format!("a message of more than {MAX_LINE} bytes");
                (start, end, fault)
            }
        };
        if let Some(id) = id_of(start, end) {
            self.calls.fail(&id, self.malformed(&fault));
            // The call returns its fault in place of this.
            let error = ErrorData::internal_error(fault, None);
            return Ok(Some(ServerJsonRpcMessage::error(error, Some(id))));
        }
        let text = String::from_utf8_lossy(&start[..start.len().min(200)]);
        tracing::debug!(server = %self.server, %text, "ignored a line that is not a message");
        match line {
            // It may be the response to any of the calls.
            Line::TooLong(..) if !has_method(start) => Err(self.malformed(&fault)),
            _ => Ok(None),
        }
    }

    /// Parses the result of a call in flight. What kind of result it is, is known by its id: the
    /// types of rmcp would try the results of all other requests before.
    fn result(&self, line: &[u8]) -> Option<ServerJsonRpcMessage> {
        let response: CallResponse = serde_json::from_slice(line).ok()?;
        if !self.calls.contains(&response.id) {
            return None;
        }
        let result = ServerResult::CallToolResult(response.result);
        Some(ServerJsonRpcMessage::response(result, response.id))
    }

    fn malformed(&self, fault: &str) -> RemoteError {
        RemoteError::Malformed {
            server: self.server.clone(),
            message: bounded(fault),
        }
    }
}

impl<R, W> Transport<RoleClient> for StdioTransport<R, W>
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send + 'static,
{
    type Error = io::Error;

    /// Sends the message after those before it. The request of a call that is over by then is not
    /// sent.
    fn send(
        &mut self,
        message: ClientJsonRpcMessage,
    ) -> impl Future<Output = io::Result<()>> + Send + 'static {
        let call = Tracked::of(&message);
        let line = serde_json::to_vec(&message).map_err(io::Error::from);
        let line = line.and_then(|mut line| {
            line.push(b'\n');
            let unsent = Unsent::add(&self.unsent, line.len() + OVERHEAD)?;
            Ok((line, unsent))
        });
        let input = Arc::clone(&self.input);
        async move {
            let (line, _unsent) = line?;
            let mut input = input.lock().await;
            if call.is_some_and(|call| !call.start_write()) {
                // An error, for which rmcp forgets the request.
                return Err(io::Error::other("the call is over"));
            }
            let input = input.as_mut().ok_or(io::ErrorKind::NotConnected)?;
            input.write_all(&line).await?;
            input.flush().await
        }
    }

    /// Cancel safe: the line that is read stays in the buffer.
    async fn receive(&mut self) -> Option<ServerJsonRpcMessage> {
        loop {
            if !self.output.read().await {
                return None;
            }
            match self.output.take(|line| self.parser.parse(&line)) {
                Ok(Some(message)) => return Some(message),
                Ok(None) => {}
                Err(error) => {
                    self.lost.set(error);
                    return None;
                }
            }
        }
    }

    async fn close(&mut self) -> io::Result<()> {
        // A write that waits for the program holds the lock. The pipe is closed with the program.
        if let Ok(mut input) = self.input.try_lock() {
            *input = None;
        }
        Ok(())
    }
}

// === impl Unsent ===

impl Unsent {
    fn add(all: &Arc<AtomicUsize>, size: usize) -> io::Result<Self> {
        let unsent = Self {
            all: Arc::clone(all),
            size,
        };
        let before = all.fetch_add(size, Ordering::Relaxed);
        match before != 0 && before + size > MAX_UNSENT {
            true => {
                let text = "the server does not read its input";
                Err(io::Error::new(io::ErrorKind::WouldBlock, text))
            }
            false => Ok(unsent),
        }
    }
}

impl Drop for Unsent {
    fn drop(&mut self) {
        self.all.fetch_sub(self.size, Ordering::Relaxed);
    }
}
