//! The task that takes and returns tokens of a limit.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::{Arc, Weak};
use std::task::Poll;

use tokio::sync::Semaphore;
use toolbooth_core::Moment;

use super::Shared;
use super::command::{Command, Step};
use super::late;
use super::late::LateCommand;
use crate::middleware::sync::lock;
use crate::shared::{ReturnTokens, SharedQueue, StoreError, TakeTokens, TokensTaken};

struct Exchange {
    shared: Arc<Shared>,
    queue: Weak<dyn SharedQueue>,
    was_away: bool,
    /// Until when the rules of this process let no waiter start.
    held_until: Option<Moment>,
    processes: u64,
    /// Bounds the late replies that are awaited.
    late: Arc<Semaphore>,
}

/// The reply to a command; `None` to one that gives no tokens.
type Reply = Result<Option<TokensTaken>, StoreError>;

/// Runs until the limit is dropped and its tokens are returned.
///
/// A runtime that is gone drops the future before its first poll.
pub(super) fn run(
    shared: Arc<Shared>,
    queue: Weak<dyn SharedQueue>,
) -> impl Future<Output = ()> + Send + 'static {
    let mut exchange = Exchange {
        processes: shared.link().processes(),
        shared,
        queue,
        was_away: false,
        held_until: None,
        late: late::permits(),
    };
    async move {
        loop {
            match exchange.next() {
                Step::Send(command) => {
                    let reply = exchange.send(&command).await;
                    exchange.record(&command, reply);
                }
                Step::Wait(until) => exchange.wait(until).await,
                Step::End => return,
            }
        }
    }
}

// === impl Exchange ===

impl Exchange {
    fn next(&mut self) -> Step {
        let shared = Arc::clone(&self.shared);
        let is_away = shared.link().is_away();
        let processes = shared.link().processes();
        let changed = is_away != self.was_away;
        let mut state = lock(&shared.state);
        if changed {
            state.forget();
        }
        let now = Moment::now();
        let local = shared.local_rules(state.waiting(), now);
        let held_until = Some(local.from).filter(|from| *from > now);
        let step = match is_away {
            true if state.is_closed() => Step::End,
            true => Step::Wait(None),
            false => state.next(now, shared.times, local),
        };
        drop(state);
        let step = match (step, held_until) {
            (Step::Wait(until), Some(held)) => {
                Step::Wait(Some(until.map_or(held, |until| until.min(held))))
            }
            (step, _) => step,
        };
        if changed || processes != self.processes || held_until != self.held_until {
            self.was_away = is_away;
            self.processes = processes;
            self.held_until = held_until;
            // What holds has changed for those that wait.
            self.look();
        }
        step
    }

    fn look(&self) {
        if let Some(queue) = self.queue.upgrade() {
            queue.look();
        }
    }

    /// Sends a command. Its future is owned: it does not borrow the task.
    fn send(&self, command: &Command) -> Pin<Box<dyn Future<Output = Reply> + Send>> {
        let link = Arc::clone(self.shared.link());
        let limit = self.shared.limit.clone();
        let is_failing = lock(&self.shared.state).is_failing();
        match *command {
            Command::Take(ref take) => {
                let command = link.store.take_tokens(TakeTokens {
                    limit,
                    quotas: take.quotas.to_vec(),
                    set: take.set,
                    least: take.least,
                    most: take.most,
                    max_wait: take.max_wait,
                    horizon: take.horizon,
                    charge: take.charge,
                });
                if take.charge {
                    return Box::pin(
                        async move { link.reply(command, is_failing).await.map(Some) },
                    );
                }
                let command = LateCommand::new(command);
                let (shared, late) = (Arc::clone(&self.shared), Arc::clone(&self.late));
                Box::pin(async move {
                    let sent = Moment::now();
                    let reply = link.reply(Box::pin(command.clone()), is_failing).await;
                    if reply.is_err() {
                        command.await_late(&shared, &late, sent);
                    }
                    reply.map(Some)
                })
            }
            Command::Return(surplus) => {
                let command = link.store.return_tokens(ReturnTokens {
                    limit,
                    receipt: surplus.receipt,
                    tokens: surplus.tokens,
                    age: Moment::now().since(surplus.at),
                });
                Box::pin(async move { link.reply(command, is_failing).await.map(|()| None) })
            }
        }
    }

    fn record(&self, command: &Command, reply: Reply) {
        let now = Moment::now();
        let mut state = lock(&self.shared.state);
        let was_failing = state.is_failing();
        let (take, reply) = match (command, reply) {
            (command, Err(error)) => {
                state.failed(command, now);
                let fails = state.is_failing() && !was_failing;
                drop(state);
                if fails {
                    self.report_failing(Some(error));
                }
                return;
            }
            (Command::Take(take), Ok(Some(reply))) => (take, reply),
            (_, Ok(_)) => return,
        };
        let before = Arc::clone(state.quotas());
        state.replied(take, &reply, now, self.shared.times);
        let quotas = Arc::clone(state.quotas());
        drop(state);
        if quotas != before {
            self.shared.set_share(&quotas);
        }
        match was_failing {
            true => self.report_failing(None),
            false => self.look(),
        }
        lock(&self.shared.state).admit_again();
    }

    /// Reports that the commands fail, or that they do not any more: so other calls may start.
    fn report_failing(&self, error: Option<StoreError>) {
        let link = self.shared.link();
        link.report_failing(&self.shared.limit, error);
        self.look();
    }

    /// Waits for a change, or until a moment.
    async fn wait(&self, until: Option<Moment>) {
        let mut changed = pin!(self.shared.bell.changed.notified());
        let mut timer = pin!(async {
            match until {
                Some(until) => tokio::time::sleep_until(until.instant()).await,
                None => std::future::pending().await,
            }
        });
        poll_fn(|cx| {
            match changed.as_mut().poll(cx).is_ready() || timer.as_mut().poll(cx).is_ready() {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        })
        .await;
    }
}

impl Drop for Exchange {
    /// If the runtime drops the task, the store counts as away.
    fn drop(&mut self) {
        if !lock(&self.shared.state).is_closed() {
            self.shared.link().abandon();
            self.look();
        }
    }
}
