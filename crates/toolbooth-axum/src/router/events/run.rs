//! The task that makes a call whose response is a stream of events.
//!
//! A server polls the body of a response only while the client reads. The call runs on a task of
//! its own, so that a client that stops reading does not stop its limits.

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle};
use toolbooth::{CancelReason, Collected, Content, ToolCall, ToolError};
use tower::ServiceExt;
use tracing::Instrument;

use super::super::Tools;

/// How many items of a streaming response wait for the client.
const QUEUED_ITEMS: usize = 16;

/// A running call. Dropping it ends the call.
#[derive(Debug)]
pub(super) struct Running {
    items: mpsc::Receiver<Content>,
    task: JoinHandle<End>,
}

/// What comes next of a call.
#[derive(Debug)]
pub(super) enum Next {
    Item(Content),
    End(End),
}

/// How a call ended.
#[derive(Debug)]
pub(super) enum End {
    /// The response. Without the items that were sent before.
    Response(Collected),
    Failed(ToolError),
    /// The client did not receive an item in time, and the call was dropped.
    Stalled,
}

// === impl Running ===

impl Running {
    /// Makes the call. It is dropped if the client takes longer than `stall` for an item.
    pub(super) fn start(tools: Tools, call: ToolCall, stall: Duration) -> Self {
        let (sender, items) = mpsc::channel(QUEUED_ITEMS);
        let task = tokio::spawn(run(tools, call, sender, stall).in_current_span());
        Self { items, task }
    }

    /// Returns the next item, and after the last one the end. Not to be polled after that.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Next> {
        if let Some(item) = ready!(self.items.poll_recv(cx)) {
            return Poll::Ready(Next::Item(item));
        }
        // The task has dropped its sender: it is about to end.
        let end = ready!(Pin::new(&mut self.task).poll(cx));
        Poll::Ready(Next::End(
            end.unwrap_or_else(|error| End::Failed(failure(&error))),
        ))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(tools: Tools, call: ToolCall, items: mpsc::Sender<Content>, stall: Duration) -> End {
    let output = match tools.oneshot(call).await {
        Ok(output) => output,
        Err(error) => return End::Failed(error),
    };
    if !output.is_stream() {
        let collected = output.collect().await;
        return collected.map_or_else(End::Failed, End::Response);
    }
    let response = output.to_collected(Vec::new());
    let mut stream = output.into_stream();
    while let Some(item) = stream.next().await {
        let item = match item {
            Ok(item) => item,
            Err(error) => return End::Failed(error),
        };
        match tokio::time::timeout(stall, items.send(item)).await {
            Ok(Ok(())) => {}
            // The receiver is dropped together with the handle that aborts this task.
            Ok(Err(_)) | Err(_) => return End::Stalled,
        }
    }
    End::Response(response)
}

/// Returns the error of a task that did not return. The tools catch the panics of a call.
fn failure(error: &JoinError) -> ToolError {
    match error.is_panic() {
        true => ToolError::panicked("the task of the call panicked"),
        false => ToolError::cancelled(CancelReason::Shutdown),
    }
}
