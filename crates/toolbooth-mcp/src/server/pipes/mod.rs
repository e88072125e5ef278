//! The transport over a pair of pipes: messages in lines.
//!
//! rmcp's transport ignores a line that its parser rejects, also a request whose parameters have
//! half of a surrogate pair, a number out of range or lists of a great depth. Its client would wait
//! forever, so here such a request gets an error.

mod reject;

use std::io;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use rmcp::model::{ClientJsonRpcMessage, JsonRpcMessage, ServerJsonRpcMessage};
use rmcp::service::RoleServer;
use rmcp::transport::Transport;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::Mutex;

use self::reject::{rejected, too_long};
use super::requests::Requests;
use crate::lines::{Line, Lines, MAX_LINE};

/// The transport of one client.
pub(super) struct Pipes<R, W> {
    input: Lines<R>,
    output: Arc<Mutex<Option<W>>>,
    requests: Requests,
    /// The response to a message that was rejected, which is written before the next one is read.
    response: Option<BoxFuture<'static, io::Result<()>>>,
}

enum Received {
    Message(ClientJsonRpcMessage),
    Rejected(ServerJsonRpcMessage),
    Ignored,
}

// === impl Pipes ===

impl<R: AsyncRead + Unpin, W> Pipes<R, W> {
    pub(super) fn new(input: R, output: W) -> Self {
        Self {
            input: Lines::new(input, MAX_LINE),
            output: Arc::new(Mutex::new(Some(output))),
            requests: Requests::default(),
            response: None,
        }
    }
}

fn parse(line: &Line<'_>) -> Received {
    let rejected = match *line {
        Line::Whole(line) => {
            let line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
            match serde_json::from_slice(line) {
                Ok(message) => return Received::Message(message),
                Err(error) => rejected(line, &error),
            }
        }
        Line::TooLong(start, end) => too_long(start, end),
    };
    match rejected {
        Some(response) => Received::Rejected(response),
        None => {
            tracing::debug!("ignored a line that is not a request");
            Received::Ignored
        }
    }
}

impl<R, W> Transport<RoleServer> for Pipes<R, W>
where
    R: AsyncRead + Unpin + Send + 'static,
    W: AsyncWrite + Unpin + Send + 'static,
{
    type Error = io::Error;

    fn send(
        &mut self,
        message: ServerJsonRpcMessage,
    ) -> impl Future<Output = io::Result<()>> + Send + 'static {
        let request = self.requests.answered_by(&message);
        let is_cancelled = request
            .as_ref()
            .is_some_and(|it| it.cancelled().is_cancelled());
        if let Some(request) = request {
            // Before it is written: a client that has read it may use the id again.
            self.requests.end(&request);
        }
        let output = Arc::clone(&self.output);
        async move {
            match is_cancelled {
                true => Ok(()),
                false => write(output, message).await,
            }
        }
    }

    /// Cancel safe: a line that is read, and a response that is written, stay here.
    async fn receive(&mut self) -> Option<ClientJsonRpcMessage> {
        loop {
            if let Some(response) = &mut self.response {
                response.await.ok()?;
                self.response = None;
            }
            if !self.input.read().await {
                return None;
            }
            let response = match self.input.take(|line| parse(&line)) {
                Received::Message(message) if self.requests.cancel(&message) => continue,
                Received::Message(JsonRpcMessage::Request(mut request)) => {
                    match self.requests.begin(&mut request) {
                        Ok(_) => return Some(JsonRpcMessage::Request(request)),
                        Err(response) => *response,
                    }
                }
                Received::Message(message) => return Some(message),
                Received::Rejected(response) => response,
                Received::Ignored => continue,
            };
            let output = Arc::clone(&self.output);
            self.response = Some(Box::pin(write(output, response)));
        }
    }

    async fn close(&mut self) -> io::Result<()> {
        // It may hold the lock.
        self.response = None;
        *self.output.lock().await = None;
        Ok(())
    }
}

async fn write<W: AsyncWrite + Unpin>(
    output: Arc<Mutex<Option<W>>>,
    message: ServerJsonRpcMessage,
) -> io::Result<()> {
    let mut line = serde_json::to_vec(&message)?;
    line.push(b'\n');
    let mut output = output.lock().await;
    let output = output.as_mut().ok_or(io::ErrorKind::NotConnected)?;
    output.write_all(&line).await?;
    output.flush().await
}
