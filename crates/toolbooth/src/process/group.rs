//! The process group of a program: how it is signalled, and how it comes to its end.
//!
//! 1. The group's number is that of its leader, the program itself. The system gives it to nobody else while the leader is unreaped or
//!    any member lives. So no signal is sent once the leader was reaped and the group was found empty. Between two looks at it
//!    no more than 100 ms pass, in which the system would have to use up all its numbers.
//! 2. Whoever drops a group that is not known to be empty kills it, without grace: a runtime that shuts down drops the task that gave it grace.
//! 3. The hook of the call is told when the group is dropped, and not before.

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

use super::pipes::Pipes;
use super::zombies::only_zombies;

/// How long the end of a group that was killed is waited for. What is left then are zombies whose parent, not ours, does not reap
/// them, or processes that the system cannot end.
const KILLED: Duration = Duration::from_secs(1);

/// After how long a group whose leader is gone is looked at first, and at most: the system tells nobody of the others' end.
const FIRST_LOOK: Duration = Duration::from_millis(2);
const LAST_LOOK: Duration = Duration::from_millis(100);

pub(super) struct Group {
    id: Pid,
    /// Waits for the leader and reaps it; `None` once that is done.
    leader: Option<Wait>,
    is_empty: bool,
    // Dropped with the group, which is what the hook waits for.
    _told: oneshot::Sender<()>,
}

type Wait = Pin<Box<dyn Future<Output = std::io::Result<ExitStatus>> + Send>>;

// === impl Group ===

impl Group {
    /// The group of a child that leads it, if it is not reaped yet; the receiver ends with the group.
    pub(super) fn led_by(mut child: Child) -> Option<(Self, oneshot::Receiver<()>)> {
        let id = i32::try_from(child.id()?).ok()?;
        let (told, ended) = oneshot::channel();
        let group = Self {
            id: Pid::from_raw(id)?,
            leader: Some(Box::pin(async move { child.wait().await })),
            is_empty: false,
            _told: told,
        };
        Some((group, ended))
    }

    /// Waits for the leader. Ready once.
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

    /// Asks all members to end; false if there are none.
    pub(super) fn terminate(&mut self) -> bool {
        self.signal(Signal::TERM);
        !self.is_empty
    }

    /// Waits until the members that were asked to end have done so; those that have not within `grace` are killed.
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
        tracing::debug!(group = %self.id, ?grace, "killing a process group that did not end by itself");
        self.signal(Signal::KILL);
        if timeout(KILLED, self.emptied()).await.is_err() {
            tracing::warn!(group = %self.id, "a process group was killed and is still there");
        }
    }

    async fn emptied(&mut self) {
        if self.leader.is_some() {
            // What its status is interests nobody any more.
            let _ = poll_fn(|cx| self.poll_leader(cx)).await;
        }
        let mut pause = FIRST_LOOK;
        loop {
            let looked = test_kill_process_group(self.id);
            self.look(looked);
            if self.is_empty {
                return;
            }
            sleep(pause).await;
            pause = LAST_LOOK.min(2 * pause);
            // On another thread: there may be many processes to look at.
            let group = self.id.as_raw_nonzero().get();
            let dead = spawn_blocking(move || only_zombies(group)).await;
            if dead.unwrap_or(false) {
                // Whom that look has missed, such as a child born meanwhile, goes as well.
                self.signal(Signal::KILL);
                self.is_empty = true;
            }
        }
    }

    fn signal(&mut self, signal: Signal) {
        if !self.is_empty {
            let sent = kill_process_group(self.id, signal);
            self.look(sent);
        }
    }

    fn look(&mut self, answer: rustix::io::Result<()>) {
        self.is_empty |= self.leader.is_none() && answer == Err(Errno::SRCH);
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}
