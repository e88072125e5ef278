//! The task that notices the exit of a program, and ends its process group.
//!
//! It runs beside the call, so the exit is noticed even if the consumer of a stream does not poll.
//!
//! 1. Dropping the task kills a group that is not known to be empty, without grace. This happens
//!    when its runtime shuts down.
//! 2. The cleanup hook of the call is notified after the group has ended or was killed, and not
//!    before.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::process::ExitStatus;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use toolbooth_core::KeptPermits;
use tracing::Instrument;

use super::group::Group;
use super::pipes::Pipes;

/// The maximum wait for the end of a killed group.
///
/// What remains afterwards are zombies whose parent, another process, does not reap them, or
/// processes that the system cannot end.
const KILL_TIMEOUT: Duration = Duration::from_secs(1);

/// The first and the longest interval at which a group without its leader is polled. The system has
/// no notification for the end of its other members.
const MIN_POLL: Duration = Duration::from_millis(2);
const MAX_POLL: Duration = Duration::from_millis(100);

/// The call's handle to a supervised program. Dropping it ends the program.
pub(super) struct Supervised {
    group: Arc<Group>,
    has_exited: bool,
    stop: Option<oneshot::Sender<Pipes>>,
}

/// The state of the task. The fields are dropped in this order.
struct Supervisor {
    group: KillOnDrop,
    stop: oneshot::Receiver<Pipes>,
    grace: Duration,
    /// Notifies the cleanup hook when it is dropped.
    _ended: oneshot::Sender<()>,
    /// Permits that are held until the group has ended, also if that takes longer than the hook.
    _permits: KeptPermits,
}

struct KillOnDrop(Arc<Group>);

/// Spawns the supervisor of a group. The receiver ends with the group, and the permits are kept
/// until then.
pub(super) fn supervise(
    group: Group,
    grace: Duration,
    permits: KeptPermits,
) -> (Supervised, oneshot::Receiver<()>) {
    let group = Arc::new(group);
    let (stop_sender, stop) = oneshot::channel();
    let (ended_sender, ended) = oneshot::channel();
    let supervisor = Supervisor {
        group: KillOnDrop(Arc::clone(&group)),
        stop,
        grace,
        _ended: ended_sender,
        _permits: permits,
    };
    tokio::spawn(supervisor.run().in_current_span());
    let supervised = Supervised {
        group,
        has_exited: false,
        stop: Some(stop_sender),
    };
    (supervised, ended)
}

// === impl Supervised ===

impl Supervised {
    /// Waits for the exit of the program. Afterwards it is pending.
    pub(super) fn poll_exit(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<ExitStatus>> {
        if self.has_exited {
            return Poll::Pending;
        }
        let exit = self.group.poll_exit(cx);
        self.has_exited = exit.is_ready();
        exit
    }

    /// Sends SIGTERM to the group of a program that has not exited.
    pub(super) fn terminate(&self) {
        if !self.has_exited {
            self.group.terminate();
        }
    }

    /// Ends the group. Its further output is read from `pipes` and dropped.
    pub(super) fn end(&mut self, pipes: Pipes) {
        if let Some(stop) = self.stop.take() {
            self.terminate();
            // Rejected if the group has ended. Dropping the pipes closes them.
            let _ = stop.send(pipes);
        }
    }
}

// === impl Supervisor ===

impl Supervisor {
    async fn run(mut self) {
        let mut pipes = poll_fn(|cx| self.poll_stop(cx)).await;
        let group = &self.group.0;
        let grace = group.remaining(self.grace);
        let ended = {
            let mut emptied = pin!(timeout(grace, emptied(group)));
            poll_fn(|cx| {
                pipes.discard(cx);
                emptied.as_mut().poll(cx)
            })
            .await
        };
        drop(pipes);
        if ended.is_err() {
            kill(group, self.grace).await;
        }
    }

    /// Waits for the exit of the program, or for the end of its call. Both send SIGTERM.
    fn poll_stop(&mut self, cx: &mut Context<'_>) -> Poll<Pipes> {
        if self.group.0.poll_reaped(cx).is_ready() {
            // The call reads what the pipes hold.
            return Poll::Ready(Pipes::default());
        }
        Pin::new(&mut self.stop)
            .poll(cx)
            .map(Result::unwrap_or_default)
    }
}

/// Kills a group that did not end within its grace, and waits for its end.
pub(super) async fn kill(group: &Arc<Group>, grace: Duration) {
    let id = group.id();
    tracing::debug!(
        group = %id,
        ?grace,
        "killing a process group that did not end within its grace"
    );
    group.kill();
    if timeout(KILL_TIMEOUT, emptied(group)).await.is_err() {
        tracing::warn!(group = %id, "a process group still exists after SIGKILL");
    }
}

/// Waits until no member of a group is alive.
pub(super) async fn emptied(group: &Arc<Group>) {
    poll_fn(|cx| group.poll_reaped(cx)).await;
    let mut pause = MIN_POLL;
    while !group.is_empty() {
        sleep(pause).await;
        pause = MAX_POLL.min(2 * pause);
        // On another thread: there may be many processes to inspect.
        let inspected = Arc::clone(group);
        // It fails only if the runtime shuts down.
        let _ = spawn_blocking(move || inspected.forget_zombies()).await;
    }
}

// === impl KillOnDrop ===

impl Drop for KillOnDrop {
    fn drop(&mut self) {
        self.0.kill();
    }
}
