//! The signals of the system.

use std::io;

use tokio::signal::unix::{self, SignalKind};

/// Receives signals of this process. While it exists, they do not end the process.
#[derive(Debug)]
pub(crate) struct Signals {
    interrupt: unix::Signal,
    terminate: unix::Signal,
    hangup: unix::Signal,
    /// SIGHUP came while [`Signals::end`] was awaited.
    reloads: bool,
}

/// What a signal demands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Signal {
    /// SIGTERM or SIGINT.
    End,
    /// SIGHUP.
    Reload,
}

// === impl Signals ===

impl Signals {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: unix::signal(SignalKind::interrupt())?,
            terminate: unix::signal(SignalKind::terminate())?,
            hangup: unix::signal(SignalKind::hangup())?,
            reloads: false,
        })
    }

    /// Waits for the next signal.
    ///
    /// # Cancel safety
    /// Safe: no signal is lost.
    pub(crate) async fn next(&mut self) -> Signal {
        match std::mem::take(&mut self.reloads) {
            true => Signal::Reload,
            false => self.received().await,
        }
    }

    /// Waits for a signal that ends the process. Another one is returned by [`next`](Self::next).
    ///
    /// # Cancel safety
    /// Safe: no signal is lost.
    pub(crate) async fn end(&mut self) {
        while self.received().await != Signal::End {
            self.reloads = true;
        }
    }

    async fn received(&mut self) -> Signal {
        tokio::select! {
            _ = self.interrupt.recv() => Signal::End,
            _ = self.terminate.recv() => Signal::End,
            _ = self.hangup.recv() => Signal::Reload,
        }
    }
}
