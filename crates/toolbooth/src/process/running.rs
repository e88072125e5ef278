//! A program that runs: its pipes, and its group.
//!
//! Nothing is read but when the call is polled, and then all three pipes: so a program waits while its consumer does, and neither
//! what it says on its standard error nor an input that it does not read can block it for ever.

use std::io;
use std::pin::Pin;
use std::process::ExitStatus;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tracing::Instrument;

use super::group::Group;
use super::output::Tail;

/// How much is read at once.
pub(super) const CHUNK: usize = 8 * 1_024;

/// How often the standard error is read in one poll. A pipe holds no more on the usual systems.
const READS: usize = 8;

pub(super) struct Running {
    /// Until the leader is gone.
    group: Option<Group>,
    status: Option<ExitStatus>,
    /// What the leader has left behind is on its way out.
    ending: Option<JoinHandle<()>>,
    pipes: Pipes,
    stderr: Tail,
    runtime: Handle,
    grace: Duration,
}

/// Our ends of the pipes, as far as they are open.
pub(super) struct Pipes {
    pub(super) stdin: Option<Input>,
    pub(super) stdout: Option<ChildStdout>,
    pub(super) stderr: Option<ChildStderr>,
}

/// What a program is given to read.
pub(super) struct Input {
    pub(super) pipe: ChildStdin,
    pub(super) bytes: Vec<u8>,
    pub(super) written: usize,
}

// === impl Running ===

impl Running {
    pub(super) fn new(group: Group, pipes: Pipes, grace: Duration) -> Self {
        Self {
            group: Some(group),
            status: None,
            ending: None,
            pipes,
            stderr: Tail::default(),
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
        self.pipes.poll_stderr(cx, &mut self.stderr);
        if self.pipes.poll_stdout(cx, out)? {
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
            self.ending = self.end();
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
    fn end(&mut self) -> Option<JoinHandle<()>> {
        let mut group = self.group.take()?;
        let end = group.terminate().then(|| group.end(self.grace))?;
        Some(self.runtime.spawn(end.in_current_span()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.end();
    }
}

// === impl Pipes ===

impl Pipes {
    /// Writes what the program takes. One that closes its input, or ends, has read enough.
    fn feed(&mut self, cx: &mut Context<'_>) {
        while let Some(input) = &mut self.stdin {
            match Pin::new(&mut input.pipe).poll_write(cx, &input.bytes[input.written..]) {
                Poll::Ready(Ok(written)) if written > 0 => input.written += written,
                Poll::Pending if input.written < input.bytes.len() => return,
                // Written to the end, or refused: dropping the pipe closes it.
                _ => self.stdin = None,
            }
        }
    }

    fn poll_stderr(&mut self, cx: &mut Context<'_>, tail: &mut Tail) {
        for _ in 0..READS {
            let Some(pipe) = &mut self.stderr else { return };
            let mut space = [0; CHUNK];
            let mut read = ReadBuf::new(&mut space);
            match Pin::new(pipe).poll_read(cx, &mut read) {
                Poll::Ready(Ok(())) if !read.filled().is_empty() => tail.push(read.filled()),
                Poll::Ready(_) => self.stderr = None,
                Poll::Pending => return,
            }
        }
        // There may be more, of which no waker was told.
        cx.waker().wake_by_ref();
    }

    /// True if there is something in `out`.
    fn poll_stdout(&mut self, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> io::Result<bool> {
        let Some(pipe) = &mut self.stdout else {
            return Ok(false);
        };
        if let Poll::Ready(read) = Pin::new(pipe).poll_read(cx, out) {
            read?;
            if out.filled().is_empty() {
                self.stdout = None;
            }
        }
        Ok(!out.filled().is_empty())
    }

    /// When the whole group is gone, what is in the pipes is all there is; a process that has left the group and holds a pipe open
    /// is not waited for. So this asks the system and not tokio, which knows of nothing that it was not told. True if there is something in `out`.
    fn take_rest(&mut self, tail: &mut Tail, out: &mut ReadBuf<'_>) -> bool {
        for _ in 0..READS {
            let Some(pipe) = &self.stderr else { break };
            let mut space = [0; CHUNK];
            match rustix::io::read(pipe, &mut space) {
                Ok(read) if read > 0 => tail.push(&space[..read]),
                _ => self.stderr = None,
            }
        }
        self.stderr = None;
        let Some(pipe) = &self.stdout else {
            return false;
        };
        match rustix::io::read(pipe, out.initialize_unfilled()) {
            Ok(read) if read > 0 => {
                out.advance(read);
                true
            }
            _ => {
                self.stdout = None;
                false
            }
        }
    }
}
