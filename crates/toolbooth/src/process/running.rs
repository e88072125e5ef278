//! A running program: its pipes and its supervisor.
//!
//! The pipes are read only when the call is polled, so a slow consumer slows the program down. Each
//! poll serves all three pipes, so neither a full standard error nor unread input blocks the
//! program forever.

use std::io;
use std::pin::Pin;
use std::process::ExitStatus;
use std::task::{Context, Poll};

use toolbooth_core::{CallContext, CancelReason};

use super::pipes::{Pipes, Source};
use super::supervisor::Supervised;

/// Dropping it ends the program.
pub(super) struct Running {
    program: Supervised,
    status: Option<ExitStatus>,
    pipes: Pipes,
    context: CallContext,
    /// Waits for the cancellation of the call; `None` afterwards.
    cancelled: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

// === impl Running ===

impl Running {
    pub(super) fn new(program: Supervised, pipes: Pipes, context: CallContext) -> Self {
        let call = context.clone();
        Self {
            program,
            status: None,
            pipes,
            context,
            cancelled: Some(Box::pin(async move { call.cancelled().await })),
        }
    }

    /// Passes the next bytes of the output to `take`, and returns `None`. Returns the exit status
    /// once all output was read.
    ///
    /// Call it at most [`ROUNDS`](super::pipes::ROUNDS) times per poll.
    pub(super) fn poll_round(
        &mut self,
        cx: &mut Context<'_>,
        take: impl FnMut(Source, &[u8]),
    ) -> Poll<io::Result<Option<ExitStatus>>> {
        self.pipes.feed(cx);
        self.poll_cancelled(cx);
        // Before the output, of which there may be no end.
        if let Poll::Ready(status) = self.program.poll_exit(cx) {
            self.status = Some(status?);
            self.pipes.end_with_held_bytes();
        }
        if self.pipes.read(cx, take)? {
            // Output beyond the cap counts as well.
            self.context.heartbeat();
            return Poll::Ready(Ok(None));
        }
        match self.status {
            Some(status) if self.pipes.have_ended() => Poll::Ready(Ok(Some(status))),
            _ => Poll::Pending,
        }
    }

    pub(super) const fn context(&self) -> &CallContext {
        &self.context
    }

    /// Returns why the call was cancelled, and the program received SIGTERM, if so.
    pub(super) fn cancel_reason(&self) -> Option<CancelReason> {
        self.context.cancel_reason()
    }

    /// Sends SIGTERM to the program when its call is cancelled and not dropped: it has a grace.
    fn poll_cancelled(&mut self, cx: &mut Context<'_>) {
        if let Some(cancelled) = &mut self.cancelled {
            if cancelled.as_mut().poll(cx).is_ready() {
                self.cancelled = None;
                self.program.terminate();
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.program.end(std::mem::take(&mut self.pipes));
    }
}
