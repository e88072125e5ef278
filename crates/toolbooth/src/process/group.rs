//! The process group of a program: signals, and waiting for its end.
//!
//! Invariants:
//!
//! 1. The id of the group is the process id of its leader, the program. The system does not reuse
//!    it while the leader is not reaped or any member lives. So no signal is sent after the leader
//!    was reaped and the group was found empty. The group is checked at least every 100 ms; for a
//!    wrong signal the system would have to reuse the id within that time.
//! 2. Dropping a group that is not known to be empty kills it without grace. This happens when a
//!    runtime shuts down and drops the task that waits for the grace.
//! 3. The cleanup hook of the call is notified when the group is dropped, and not before.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::process::ExitStatus;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process_group, test_kill_process_group};
use tokio::process::Child;
use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};

use toolbooth_core::KeptPermits;

use super::pipes::Pipes;
use super::zombies::only_zombies;

/// The maximum wait for the end of a killed group.
///
/// What remains afterwards are zombies whose parent, another process, does not reap them, or
/// processes that the system cannot end.
const KILL_TIMEOUT: Duration = Duration::from_secs(1);

/// The first and the longest interval at which a group without its leader is polled. The system has
/// no notification for the end of its other members.
const MIN_POLL: Duration = Duration::from_millis(2);
const MAX_POLL: Duration = Duration::from_millis(100);

pub(super) struct Group {
    id: Pid,
    /// Waits for the leader and reaps it; `None` afterwards.
    leader: Option<Wait>,
    is_empty: bool,
    /// Dropped with the group, which wakes the cleanup hook.
    _ended: oneshot::Sender<()>,
    /// Permits that are held until the group has ended, also if that takes longer than the hook.
    _permits: KeptPermits,
}

type Wait = Pin<Box<dyn Future<Output = std::io::Result<ExitStatus>> + Send>>;

// === impl Group ===

impl Group {
    /// Makes the group led by `child`, unless the child is reaped. The receiver ends with the
    /// group, which keeps the permits until then.
    pub(super) fn led_by(
        mut child: Child,
        permits: KeptPermits,
    ) -> Option<(Self, oneshot::Receiver<()>)> {
        let id = i32::try_from(child.id()?).ok()?;
        let (sender, ended) = oneshot::channel();
        let group = Self {
            id: Pid::from_raw(id)?,
            leader: Some(Box::pin(async move { child.wait().await })),
            is_empty: false,
            _ended: sender,
            _permits: permits,
        };
        Some((group, ended))
    }

    /// Waits for the leader. It is ready once.
    pub(super) fn poll_leader(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<std::io::Result<ExitStatus>> {
        let Some(leader) = &mut self.leader else {
            return Poll::Pending;
        };
        let status = ready!(leader.as_mut().poll(cx));
        self.leader = None;
        Poll::Ready(status)
    }

    /// Sends SIGTERM to all members; returns false if there are none.
    pub(super) fn terminate(&mut self) -> bool {
        self.signal(Signal::TERM);
        !self.is_empty
    }

    /// Waits until all members have ended, and kills those that are alive after `grace`.
    pub(super) async fn end(mut self, grace: Duration, mut pipes: Pipes) {
        let ended = {
            let mut emptied = pin!(timeout(grace, self.emptied()));
            poll_fn(|cx| {
                pipes.discard(cx);
                emptied.as_mut().poll(cx)
            })
            .await
        };
        drop(pipes);
        if ended.is_ok() {
            return;
        }
        tracing::debug!(
            group = %self.id,
            ?grace,
            "killing a process group that did not end within its grace"
        );
        self.signal(Signal::KILL);
        if timeout(KILL_TIMEOUT, self.emptied()).await.is_err() {
            tracing::warn!(group = %self.id, "a process group still exists after SIGKILL");
        }
    }

    async fn emptied(&mut self) {
        if self.leader.is_some() {
            // The exit status is not needed any more.
            let _ = poll_fn(|cx| self.poll_leader(cx)).await;
        }
        let mut pause = MIN_POLL;
        loop {
            let result = test_kill_process_group(self.id);
            self.record(result);
            if self.is_empty {
                return;
            }
            sleep(pause).await;
            pause = MAX_POLL.min(2 * pause);
            // On another thread: there may be many processes to inspect.
            let group = self.id.as_raw_nonzero().get();
            let only_zombies = spawn_blocking(move || only_zombies(group)).await;
            if only_zombies.unwrap_or(false) {
                // Also kills a member that was missed, such as a child forked meanwhile.
                self.signal(Signal::KILL);
                self.is_empty = true;
            }
        }
    }

    fn signal(&mut self, signal: Signal) {
        if !self.is_empty {
            let sent = kill_process_group(self.id, signal);
            self.record(sent);
        }
    }

    /// Records from the result of a signal whether the group is empty.
    fn record(&mut self, result: rustix::io::Result<()>) {
        self.is_empty |= self.leader.is_none() && result == Err(Errno::SRCH);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}
