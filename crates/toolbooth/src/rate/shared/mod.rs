//! A rate limit whose bucket is in a store.
//!
//! A process takes tokens for its waiters, in the order of its queue: those that the first one
//! needs, and for those behind it what is available soon. Each waiter starts when its tokens are
//! available. What no waiter needs any more is returned.

mod command;
mod exchange;
mod late;
mod line;
mod rule;
mod share;
mod state;

use std::fmt;
use std::sync::{Arc, OnceLock, Weak};

use governor::Quota;
use toolbooth_core::{Moment, Name};

use self::command::{LocalRules, Times};
pub(super) use self::rule::SharedRule;
use self::share::{Share, to_quota, to_shared};
use self::state::State;
use super::gcra::GRACE;
use super::several::Several;
use crate::middleware::sync::{Mutex, MutexGuard, lock};
use crate::shared::{
    Bell, Link, Place, SharedQueue, SharedQuota, StoreRejection, Waiting, WhenAway,
};

/// The bucket of one limit as a process sees it.
pub(super) struct SharedTokens {
    shared: Arc<Shared>,
    attached: OnceLock<()>,
}

/// What the limiter and its task share.
#[derive(Debug)]
struct Shared {
    place: Place,
    times: Times,
    limit: Name,
    bell: Arc<Bell>,
    state: Mutex<State>,
    /// The share of this process, which holds while the store is away. It is charged all the time.
    share: Mutex<Share>,
    /// Windows and pauses, which hold in this process alone.
    local: Option<Arc<Mutex<Several>>>,
}

// === impl SharedTokens ===

impl SharedTokens {
    /// Creates a bucket with one or more quotas. One that is `None` limits nothing.
    fn new(
        place: &Place,
        quotas: impl IntoIterator<Item = Option<Quota>>,
        local: Option<Arc<Mutex<Several>>>,
    ) -> Self {
        let quotas: Arc<[_]> = quotas.into_iter().map(to_shared).collect();
        let state = State::new(Arc::clone(&quotas), place.store.prefetch, place.set);
        Self {
            shared: Arc::new(Shared {
                place: place.clone(),
                times: Times::new(place.store.link.options.reply_within()),
                limit: place.limit(),
                bell: Arc::default(),
                state: Mutex::new(state),
                share: Mutex::new(Share {
                    quotas: Several::of(quotas.iter().copied().map(to_quota)),
                    processes: 1,
                }),
                local,
            }),
            attached: OnceLock::new(),
        }
    }

    /// Returns another handle of the same bucket, which has taken nothing of it.
    fn fresh(&self, local: Option<Arc<Mutex<Several>>>) -> Self {
        let quotas = Arc::clone(lock(&self.shared.state).quotas());
        let quotas = quotas.iter().copied().map(to_quota);
        Self::new(&self.shared.place, quotas, local)
    }

    /// Wakes the task: what the process may do has changed.
    pub(super) fn ring(&self) {
        self.shared.bell.changed.notify_one();
    }

    /// Starts the task of the limit, once.
    pub(super) fn attach(&self, queue: impl FnOnce() -> Weak<dyn SharedQueue>) {
        self.attached.get_or_init(|| {
            let (shared, queue) = (Arc::clone(&self.shared), queue());
            let run = |_| exchange::run(shared, queue);
            self.shared.link().start(&self.shared.bell, run);
        });
    }

    /// Takes tokens that are available now, if `allows` does, too. Returns when they were.
    pub(super) fn take(
        &self,
        cost: u64,
        now: Moment,
        mut allows: impl FnMut() -> bool,
    ) -> Option<Moment> {
        let shared = &*self.shared;
        let (taken, news) = lock(&shared.state).take(cost, now, shared.times, &mut allows);
        if news {
            shared.bell.changed.notify_one();
        }
        if let Some(at) = taken {
            lock(&shared.share).quotas.charge(cost, now);
            let recent = now.as_nanos().saturating_sub(GRACE);
            return Some(at.max(Moment::from_nanos(recent)));
        }
        match shared.away()? {
            WhenAway::Closed => None,
            WhenAway::Open => allows().then_some(now),
            WhenAway::Local => {
                let mut share = shared.share();
                let is_due = share.due(0, cost, now).is_some_and(|due| due <= now);
                (is_due && allows()).then(|| share.take(cost, now))?
            }
        }
    }

    /// Returns tokens that a call took which were available at `at`.
    pub(super) fn refund(&self, cost: u64, at: Moment, now: Moment) {
        lock(&self.shared.share).quotas.refund(cost, at, now);
        lock(&self.shared.state).refund(cost, at);
        self.shared.bell.changed.notify_one();
    }

    /// Takes tokens whether or not there are enough: those that are there.
    pub(super) fn charge(&self, cost: u64, now: Moment) {
        lock(&self.shared.share).quotas.charge(cost, now);
        lock(&self.shared.state).charge(cost);
        self.shared.bell.changed.notify_one();
    }

    /// Returns when calls behind waiters of the cost `ahead` can start, as far as that is known.
    pub(super) fn due(&self, ahead: u64, cost: u64, now: Moment) -> Option<Moment> {
        let tokens = ahead.saturating_add(cost);
        let at = lock(&self.shared.state).available_at(tokens);
        at.or_else(|| match self.shared.away()? {
            WhenAway::Local => self.shared.share().due(ahead, cost, now),
            WhenAway::Open => Some(now),
            WhenAway::Closed => None,
        })
    }

    /// Returns why calls are rejected that do not find a token in time.
    pub(super) fn rejection(&self) -> Option<StoreRejection> {
        let now = Moment::now();
        let waiting = lock(&self.shared.state).waiting();
        let held = Some(self.shared.local_rules(waiting, now).from).filter(|from| *from > now);
        match (self.store_rejection(waiting), held) {
            (Some(StoreRejection::Until(until)), Some(held)) => {
                Some(StoreRejection::Until(until.max(held)))
            }
            (rejection, held) => rejection.or(held.map(StoreRejection::Until)),
        }
    }

    fn store_rejection(&self, waiting: Option<Waiting>) -> Option<StoreRejection> {
        match self.shared.away() {
            Some(WhenAway::Closed) => Some(StoreRejection::Away(self.shared.link().retry_after())),
            Some(WhenAway::Local) => {
                let least = waiting.map_or(1, |first| first.least);
                let due = self.shared.share().due(0, least, Moment::now());
                due.map(StoreRejection::Until)
            }
            Some(WhenAway::Open) => None,
            None => lock(&self.shared.state)
                .none_until()
                .map(StoreRejection::Until),
        }
    }

    /// Sets what the waiters of the queue need.
    pub(super) fn set_waiting(&self, waiting: Option<Waiting>) {
        if lock(&self.shared.state).set_waiting(waiting) {
            self.shared.bell.changed.notify_one();
        }
    }

    /// Returns the quotas that hold for all processes, as far as they are known.
    pub(super) fn quotas(&self) -> Vec<Option<Quota>> {
        let state = lock(&self.shared.state);
        let quotas = state.quotas().iter().filter(|_| !state.is_lifted());
        quotas.copied().map(to_quota).collect()
    }

    /// Returns how many tokens can be taken together, as far as the quotas are known.
    pub(super) fn burst(&self) -> u64 {
        let state = lock(&self.shared.state);
        match state.is_lifted() {
            true => u64::MAX,
            false => state.burst(),
        }
    }

    /// Changes the first quota for all processes; `None` ends all quotas of this one.
    pub(super) fn set_quota(&self, quota: Option<Quota>) {
        let Some(quota) = quota else {
            return self.set_quotas([]);
        };
        let others = Arc::clone(lock(&self.shared.state).quotas());
        let others = others.iter().skip(1).copied().map(to_quota);
        self.set_quotas(std::iter::once(Some(quota)).chain(others));
    }

    /// Changes the quotas for all processes; without any, those of this one end.
    pub(super) fn set_quotas(&self, quotas: impl IntoIterator<Item = Option<Quota>>) {
        let quotas: Arc<[_]> = quotas.into_iter().map(to_shared).collect();
        let quotas = Some(quotas).filter(|quotas| !quotas.is_empty());
        lock(&self.shared.state).set_quotas(quotas.clone());
        if let Some(quotas) = quotas {
            self.shared.set_share(&quotas);
        }
        self.shared.bell.changed.notify_one();
    }

    /// Returns when the share of this process is full, if it holds.
    pub(super) fn full_at(&self) -> Moment {
        match self.shared.away() {
            Some(WhenAway::Local) => self.shared.share().quotas.full_at(),
            _ => Moment::from_nanos(0),
        }
    }

    /// Returns how many tokens this process has now.
    pub(super) fn remaining(&self, now: Moment) -> u32 {
        let available = lock(&self.shared.state).available(now);
        u32::try_from(available).unwrap_or(u32::MAX)
    }
}

impl Drop for SharedTokens {
    fn drop(&mut self) {
        lock(&self.shared.state).close();
        self.shared.bell.changed.notify_one();
    }
}

impl fmt::Debug for SharedTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.fmt(f)
    }
}

// === impl Shared ===

impl Shared {
    fn link(&self) -> &Arc<Link> {
        &self.place.store.link
    }

    /// Returns what holds without the store; `None` if that decides.
    fn away(&self) -> Option<WhenAway> {
        let state = lock(&self.state);
        match state.is_lifted() {
            true => Some(WhenAway::Open),
            false => self.link().away(state.is_failing()),
        }
    }

    /// Returns what the rules of this process allow to those that wait.
    fn local_rules(&self, waiting: Option<Waiting>, now: Moment) -> LocalRules {
        let Some((local, first)) = self.local.as_ref().zip(waiting) else {
            return LocalRules {
                from: Moment::from_nanos(0),
                room: u64::MAX,
            };
        };
        let local = lock(local);
        let from = local.due(0, first.least.min(local.capacity()), now);
        LocalRules {
            from: from.unwrap_or_else(|| Moment::from_nanos(u64::MAX)),
            room: u64::from(local.remaining(now)),
        }
    }

    /// Returns the share of this process, as there are processes now.
    fn share(&self) -> MutexGuard<'_, Share> {
        let processes = self.link().processes();
        let mut share = lock(&self.share);
        if share.processes != processes {
            share.set(lock(&self.state).quotas(), processes);
        }
        share
    }

    fn set_share(&self, quotas: &[SharedQuota]) {
        lock(&self.share).set(quotas, self.link().processes());
    }
}
