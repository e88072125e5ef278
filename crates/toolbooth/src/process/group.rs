//! The process group of a program: its signals, and its leader.
//!
//! The program leads a session and a process group of its own, with its process id as their id.
//!
//! Invariants:
//!
//! 1. The system does not reuse the id of the group while the leader is not reaped or any member
//!    lives. The leader is reaped, and signals are sent, under one lock. So no signal is sent after
//!    the leader was reaped and the group was found empty. The group is checked at least every
//!    100 ms; for a wrong signal the system would have to reuse the id within that time.
//! 2. The remaining members receive SIGTERM under the lock under which the leader is reaped.

use std::io;
use std::pin::pin;
use std::process::ExitStatus;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::process::Child;
use tokio::time::Instant;

use super::zombies::only_zombies;
use crate::middleware::sync::{Mutex, lock};

pub(super) struct Group {
    id: Pid,
    state: Mutex<State>,
}

struct State {
    leader: Child,
    is_reaped: bool,
    /// The exit of the leader, until the call takes it.
    exit: Option<io::Result<ExitStatus>>,
    /// The call that waits for the exit.
    call: Option<Waker>,
    is_empty: bool,
    /// When the members received SIGTERM first.
    terminated: Option<Instant>,
}

// === impl Group ===

impl Group {
    /// Makes the group led by `leader`, unless the leader is reaped.
    pub(super) fn led_by(leader: Child) -> Option<Self> {
        let id = Pid::from_raw(i32::try_from(leader.id()?).ok()?)?;
        let state = Mutex::new(State {
            leader,
            is_reaped: false,
            exit: None,
            call: None,
            is_empty: false,
            terminated: None,
        });
        Some(Self { id, state })
    }

    pub(super) const fn id(&self) -> Pid {
        self.id
    }

    /// Waits until the leader is reaped.
    pub(super) fn poll_reaped(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = lock(&self.state);
        if !state.is_reaped {
            let exit = ready!(pin!(state.leader.wait()).poll(cx));
            state.reap(self.id, exit);
        }
        Poll::Ready(())
    }

    /// Waits for the exit of the leader, for the call. It is ready once.
    ///
    /// It makes a system call: a runtime with work to do receives events, such as of an exit, only
    /// from time to time.
    pub(super) fn poll_exit(&self, cx: &mut Context<'_>) -> Poll<io::Result<ExitStatus>> {
        let mut state = lock(&self.state);
        if !state.is_reaped {
            if let Some(exit) = state.leader.try_wait().transpose() {
                state.reap(self.id, exit);
            }
        }
        match state.exit.take() {
            Some(exit) => Poll::Ready(exit),
            None => {
                state.call = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    /// Sends SIGTERM to all members. Those that are stopped continue, to receive it.
    pub(super) fn terminate(&self) {
        lock(&self.state).terminate(self.id);
    }

    pub(super) fn kill(&self) {
        lock(&self.state).signal(self.id, Signal::KILL);
    }

    /// Returns whether the leader is reaped and no member exists.
    pub(super) fn is_empty(&self) -> bool {
        let mut state = lock(&self.state);
        if !state.is_empty {
            state.record(test_kill_process_group(self.id));
        }
        state.is_empty
    }

    /// Treats a group as empty if only zombies remain, which other processes must reap. Blocks to
    /// inspect all processes.
    pub(super) fn forget_zombies(&self) {
        if only_zombies(self.id.as_raw_nonzero().get()) {
            let mut state = lock(&self.state);
            // Also kills a member that was missed, such as a child forked meanwhile.
            state.signal(self.id, Signal::KILL);
            state.is_empty = true;
        }
    }

    /// Returns what remains of `grace`, which starts with the first SIGTERM.
    pub(super) fn remaining(&self, grace: Duration) -> Duration {
        let terminated = lock(&self.state).terminated;
        let since = terminated.map(|terminated| terminated.elapsed());
        grace.saturating_sub(since.unwrap_or_default())
    }
}

// === impl State ===

impl State {
    fn reap(&mut self, id: Pid, exit: io::Result<ExitStatus>) {
        self.is_reaped = true;
        self.terminate(id);
        self.exit = Some(exit);
        if let Some(call) = self.call.take() {
            call.wake();
        }
    }

    fn terminate(&mut self, id: Pid) {
        self.terminated.get_or_insert_with(Instant::now);
        self.signal(id, Signal::TERM);
        self.signal(id, Signal::CONT);
    }

    fn signal(&mut self, id: Pid, signal: Signal) {
        if !self.is_empty {
            let sent = kill_process_group(id, signal);
            self.record(sent);
        }
    }

    /// Records from the result of a signal whether the group is empty.
    fn record(&mut self, result: rustix::io::Result<()>) {
        self.is_empty |= self.is_reaped && result == Err(Errno::SRCH);
    }
}
