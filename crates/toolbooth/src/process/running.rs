//! A program that runs: its pipes, and its group.
//!
//! Nothing is read but when the call is polled, and then all three pipes: so a program waits while its consumer does, and neither
//! what it says on its standard error nor an input that it does not read can block it for ever.

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
    /// Until the leader is gone.
    group: Option<Group>,
    status: Option<ExitStatus>,
    /// What the leader has left behind is on its way out.
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

    /// The next bytes of the output, in `out`; or how the program ended, when all its output is read.
    pub(super) fn poll_output(
        &mut self,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<Option<ExitStatus>>> {
        self.pipes.feed(cx);
        let has_spoken = self.pipes.poll_stderr(cx, &mut self.stderr);
        let has_output = self.pipes.poll_stdout(cx, out)?;
        if has_spoken || has_output {
            // Whether or not any of it is kept.
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

    /// The last of what the program said on its standard error.
    pub(super) fn stderr(&mut self) -> String {
        self.stderr.take()
    }

    fn poll_exit(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<ExitStatus>> {
        if let Some(group) = &mut self.group {
            let status = ready!(group.poll_leader(cx));
            // At once: the group's number is no longer held by the leader.
            // What its members still say is read here, to their end.
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

    /// Asks whoever is left to end, and leaves them to a task; `None` if nobody is.
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
