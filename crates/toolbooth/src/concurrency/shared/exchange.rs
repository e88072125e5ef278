//! The task that exchanges the state of a limit with the store.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::task::Poll;

use toolbooth_core::Moment;

use super::Shared;
use super::state::{Command, Step};
use crate::middleware::sync::lock;
use crate::shared::{Holder, PermitsUpdated, SharedQueue, StoreError, UpdatePermits, WhenAway};

/// The commands of a holder that are in flight.
struct Exchange {
    shared: Arc<Shared>,
    queue: Weak<dyn SharedQueue>,
    holder: Holder,
    asking: Option<InFlight>,
    telling: Option<InFlight>,
    /// The notifications that were taken note of.
    notified: u64,
    was_away: bool,
}

struct InFlight {
    command: Command,
    sent: Moment,
    reply: Pin<Box<dyn Future<Output = Result<PermitsUpdated, StoreError>> + Send>>,
}

/// A command that is not in flight any more.
struct Done {
    command: Command,
    sent: Moment,
    reply: Result<PermitsUpdated, StoreError>,
}

/// Runs until the limit is dropped and the store knows what that means.
///
/// A runtime that is gone drops the future before its first poll.
pub(super) fn run(
    shared: Arc<Shared>,
    queue: Weak<dyn SharedQueue>,
    holder: Holder,
) -> impl Future<Output = ()> + Send + 'static {
    let mut exchange = Exchange {
        shared,
        queue,
        holder,
        asking: None,
        telling: None,
        notified: 0,
        was_away: false,
    };
    async move {
        loop {
            match exchange.next() {
                Step::Send(command) => exchange.send(command),
                Step::Wait(until) => {
                    if let Some(done) = exchange.wait(until).await {
                        exchange.record(done);
                    }
                }
                Step::End => return,
            }
        }
    }
}

// === impl Exchange ===

impl Exchange {
    /// Returns what to do.
    fn next(&mut self) -> Step {
        let link = Arc::clone(&self.shared.link);
        let now = Moment::now();
        let is_away = link.is_away();
        let notified = self.shared.bell.notified.load(Ordering::SeqCst);
        let mut state = lock(&self.shared.state);
        if notified != self.notified {
            self.notified = notified;
            state.notified();
        }
        if is_away != self.was_away {
            state.forget();
        }
        let lease_end = self.lease_end(state.lease_end(link.options.lease));
        if lease_end.is_some_and(|end| end <= now) {
            state.end_lease();
            let ended = self.shared.lost.end();
            drop(state);
            ended.cancel();
            return Step::Wait(Some(now));
        }
        let step = match is_away {
            true if state.is_closed() => Step::End,
            true => Step::Wait(lease_end),
            false => {
                let command = |slot: &Option<InFlight>| slot.as_ref().map(|sent| sent.command);
                let (asking, telling) = (command(&self.asking), command(&self.telling));
                match state.next(now, link.renew_every(), asking, telling) {
                    Step::Wait(until) => Step::Wait(until.into_iter().chain(lease_end).min()),
                    step => step,
                }
            }
        };
        drop(state);
        if is_away != self.was_away {
            self.was_away = is_away;
            // What holds has changed for those that wait.
            self.look();
        }
        step
    }

    /// Returns when calls are cancelled, if they are.
    fn lease_end(&self, end: Option<Moment>) -> Option<Moment> {
        let options = &self.shared.link.options;
        let margin = options.reply_within().as_nanos();
        let margin = u64::try_from(margin).unwrap_or(u64::MAX);
        let end = end.filter(|_| options.when_away == WhenAway::Closed)?;
        Some(Moment::from_nanos(end.as_nanos().saturating_sub(margin)))
    }

    fn look(&self) {
        if let Some(queue) = self.queue.upgrade() {
            queue.look();
        }
    }

    fn send(&mut self, command: Command) {
        let link = Arc::clone(&self.shared.link);
        let options = &link.options;
        let update = link.store.update_permits(UpdatePermits {
            limit: self.shared.limit.clone(),
            holder: self.holder.clone(),
            number: command.number,
            permits: command.permits,
            set: command.set,
            held: command.held,
            least: command.least,
            most: command.most,
            lifetime: options.lease,
            turn: options.reply_within() * 2,
        });
        let is_failing = lock(&self.shared.state).is_failing();
        let in_flight = InFlight {
            command,
            sent: Moment::now(),
            reply: Box::pin(async move { link.reply(update, is_failing).await }),
        };
        match command.least {
            0 => self.telling = Some(in_flight),
            _ => self.asking = Some(in_flight),
        }
    }

    /// Waits for a reply, which it returns, for a change, or until a moment.
    async fn wait(&mut self, until: Option<Moment>) -> Option<Done> {
        let shared = Arc::clone(&self.shared);
        let mut changed = pin!(shared.bell.changed.notified());
        let mut timer = pin!(async {
            match until {
                Some(until) => tokio::time::sleep_until(until.instant()).await,
                None => std::future::pending().await,
            }
        });
        poll_fn(|cx| {
            for slot in [&mut self.asking, &mut self.telling] {
                if let Some(in_flight) = slot {
                    if let Poll::Ready(reply) = in_flight.reply.as_mut().poll(cx) {
                        let (command, sent) = (in_flight.command, in_flight.sent);
                        *slot = None;
                        let done = Done {
                            command,
                            sent,
                            reply,
                        };
                        return Poll::Ready(Some(done));
                    }
                }
            }
            if changed.as_mut().poll(cx).is_ready() || timer.as_mut().poll(cx).is_ready() {
                return Poll::Ready(None);
            }
            Poll::Pending
        })
        .await
    }

    fn record(&mut self, done: Done) {
        let now = Moment::now();
        let mut state = lock(&self.shared.state);
        let before = (state.permits(), state.is_failing());
        let mut granted = 0;
        match &done.reply {
            Ok(reply) => {
                let renew_every = self.shared.link.renew_every();
                state.replied(done.command, done.sent, reply, now, renew_every);
                granted = reply.granted;
            }
            Err(_) => state.failed(done.command, now),
        }
        let after = (state.permits(), state.is_failing());
        drop(state);
        if after.1 != before.1 {
            let (link, limit) = (&self.shared.link, &self.shared.limit);
            link.report_failing(limit, done.reply.err());
        }
        if granted > 0 || after != before {
            self.look();
        }
    }
}

impl Drop for Exchange {
    /// If the runtime drops the task, the store counts as away.
    fn drop(&mut self) {
        if !lock(&self.shared.state).is_closed() {
            self.shared.link.abandon();
            self.look();
        }
    }
}
