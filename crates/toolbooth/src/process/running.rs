//! A running program: its pipes and its process group.
//!
//! The pipes are read only when the call is polled, so a slow consumer slows the program down. Each
//! poll serves all three pipes, so neither a full standard error nor unread input blocks the
//! program forever.

use std::io;
use std::pin::Pin;
use std::process::ExitStatus;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::ReadBuf;
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use toolbooth_core::CallContext;
use tracing::Instrument;

use super::group::Group;
use super::output::Tail;
use super::pipes::Pipes;

pub(super) struct Running {
    /// `None` after the leader was reaped.
    group: Option<Group>,
    status: Option<ExitStatus>,
    /// The task that ends the processes that remain after the leader.
    ending: Option<JoinHandle<()>>,
    pipes: Pipes,
    stderr: Tail,
    context: CallContext,
    runtime: Handle,
    grace: Duration,
}

// === impl Running ===

impl Running {
    pub(super) fn new(group: Group, pipes: Pipes, context: CallContext, grace: Duration) -> Self {
        Self {
            group: Some(group),
            status: None,
            ending: None,
            pipes,
            stderr: Tail::default(),
            context,
            runtime: Handle::current(),
            grace,
        }
    }

    /// Reads the next bytes of the output into `out`, and returns `None`. Returns the exit status
    /// once all output was read.
    pub(super) fn poll_output(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<Option<ExitStatus>>> {
        self.pipes.feed(cx);
        let has_stderr = self.pipes.poll_stderr(cx, &mut self.stderr);
        let has_output = self.pipes.poll_stdout(cx, out)?;
        if has_stderr || has_output {
            // Output beyond the cap counts as well.
            self.context.heartbeat();
        }
        if has_output {
            return Poll::Ready(Ok(None));
        }
        let status = ready!(self.poll_exit(cx))?;
        if self.ending.is_none() && self.pipes.take_rest(&mut self.stderr, out) {
            return Poll::Ready(Ok(None));
        }
        match self.pipes {
            Pipes {
                stdout: None,
                stderr: None,
                ..
            } => Poll::Ready(Ok(Some(status))),
            _ => Poll::Pending,
        }
    }

    /// Takes the end of the standard error.
    pub(super) fn stderr(&mut self) -> String {
        self.stderr.take()
    }

    fn poll_exit(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<ExitStatus>> {
        if let Some(group) = &mut self.group {
            let status = ready!(group.poll_leader(cx));
            // At once: the leader is reaped, so its process id no longer reserves the id of the
            // group. The output of the remaining members is read here until they end.
            self.ending = self.end(Pipes::default());
            self.status = Some(status?);
        }
        if let Some(ending) = &mut self.ending {
            if Pin::new(ending).poll(cx).is_ready() {
                self.ending = None;
            }
        }
        match self.status {
            Some(status) => Poll::Ready(Ok(status)),
            None => Poll::Pending,
        }
    }

    /// Sends SIGTERM to the group, and spawns a task that waits for its end. `None` if it is empty.
    fn end(&mut self, pipes: Pipes) -> Option<JoinHandle<()>> {
        let mut group = self.group.take()?;
        let end = group.terminate().then(|| group.end(self.grace, pipes))?;
        Some(self.runtime.spawn(end.in_current_span()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let pipes = std::mem::take(&mut self.pipes);
        self.end(pipes);
    }
}
