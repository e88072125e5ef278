//! The limiter of a rate limit: one quota without a lock, several rules under one, or a bucket in a
//! store.

use std::time::Duration;

use governor::Quota;
use toolbooth_core::Moment;

use super::gcra::Gcra;
use super::several::{Several, quota_text};
use super::shared::{SharedRule, SharedTokens};
use super::window::{Window, WindowTerms};
use crate::middleware::PerTool;
use crate::middleware::sync::{Arc, Mutex, Weak, lock};
use crate::queue::{Grant, Limiter, Limits};
use crate::shared::{Place, SharedQueue, StoreRejection, Waiting};

/// The rates of one bucket.
#[derive(Debug)]
pub(crate) struct Rates {
    rule: Rule,
    added: Arc<Added>,
    /// Where the quotas are, if they are in a store.
    place: Option<Box<Place>>,
}

#[derive(Debug)]
enum Rule {
    /// The usual one: decided by one atomic.
    One(Gcra),
    Several(Mutex<Several>),
    Shared(Box<SharedRule>),
}

/// What each bucket of a layer has besides its first quota.
#[derive(Debug, Clone, Default)]
struct Added {
    quotas: Vec<PerTool<Quota>>,
    windows: Vec<WindowTerms>,
    /// Whether the bucket can be paused.
    pauses: bool,
}

// === impl Rates ===

impl Rates {
    /// Creates full buckets with one more quota, for a key or for all calls.
    pub(super) fn with_quota(&self, quotas: &PerTool<Quota>) -> Self {
        let mut added = Added::clone(&self.added);
        added.quotas.push(quotas.clone());
        self.with_added(added)
    }

    /// As [`with_quota`](Self::with_quota), with one more window.
    pub(super) fn with_window(&self, window: WindowTerms) -> Self {
        let mut added = Added::clone(&self.added);
        added.windows.push(window);
        self.with_added(added)
    }

    /// Creates full buckets that can be [paused](Self::pause_until).
    pub(super) fn with_pauses(&self) -> Self {
        let mut added = Added::clone(&self.added);
        added.pauses = true;
        self.with_added(added)
    }

    fn with_added(&self, added: Added) -> Self {
        Self::build(None, self.quota(), Arc::new(added), self.place().cloned())
    }

    fn build(
        key: Option<&str>,
        quota: Option<Quota>,
        added: Arc<Added>,
        place: Option<Place>,
    ) -> Self {
        let rule = Rule::new(key, quota, &added, place.as_ref());
        Self {
            rule,
            added,
            place: place.map(Box::new),
        }
    }

    /// Returns the quota that can be changed; `None` if there is none.
    pub(super) fn quota(&self) -> Option<Quota> {
        match &self.rule {
            Rule::One(gcra) => gcra.quota(),
            Rule::Several(several) => lock(several).first.quota(),
            Rule::Shared(shared) => shared.tokens.quotas().into_iter().next().flatten(),
        }
    }

    /// Returns whether only the store knows if there is a token.
    pub(super) const fn asks_store(&self) -> bool {
        matches!(self.rule, Rule::Shared(_))
    }

    /// Changes all quotas by their position: the first one, and those that were added. Those that
    /// are missing in `quotas` limit nothing, and more of them begin full.
    ///
    /// One quota without a lock stays one: see [`can_have`](Self::can_have).
    #[cfg(feature = "policy")]
    pub(super) fn set_all(&self, quotas: &[Quota]) {
        let now = Moment::now();
        match &self.rule {
            Rule::One(first) => first.set_quota(quotas.first().copied(), now),
            Rule::Several(several) => {
                lock(several).set_quotas(quotas.iter().copied().map(Some), now);
            }
            Rule::Shared(shared) => shared.tokens.set_quotas(quotas.iter().copied().map(Some)),
        }
    }

    /// Returns whether [`set_all`](Self::set_all) can set this number of quotas.
    #[cfg(feature = "policy")]
    pub(super) const fn can_have(&self, quotas: usize) -> bool {
        !matches!(self.rule, Rule::One(_)) || quotas <= 1
    }

    /// Returns the quotas that were added.
    pub(super) fn added_quotas(&self) -> &[PerTool<Quota>] {
        &self.added.quotas
    }

    /// Returns the windows that were added.
    pub(super) fn windows(&self) -> &[WindowTerms] {
        &self.added.windows
    }

    /// Returns how many tokens there are: those of the quota or window with the fewest.
    pub(super) fn remaining(&self, now: Moment) -> u32 {
        match &self.rule {
            Rule::One(gcra) => gcra.remaining(now),
            Rule::Several(several) => lock(several).remaining(now),
            Rule::Shared(shared) => shared.remaining(now),
        }
    }

    /// Returns the moment at which all tokens are back, if no call takes one until then.
    pub(super) fn full_at(&self) -> Moment {
        match &self.rule {
            Rule::One(gcra) => gcra.full_at(),
            Rule::Several(several) => lock(several).full_at(),
            Rule::Shared(shared) => shared.full_at(),
        }
    }

    /// Takes tokens whether or not there are enough.
    pub(super) fn charge(&self, cost: u64, now: Moment) {
        match &self.rule {
            Rule::One(gcra) => gcra.charge(cost, now),
            Rule::Several(several) => lock(several).charge(cost, now),
            Rule::Shared(shared) => shared.charge(cost, now),
        }
    }

    /// Starts no call before `until`. Has no effect unless made by
    /// [`with_pauses`](Self::with_pauses).
    pub(super) fn pause_until(&self, until: Moment) {
        let several = match &self.rule {
            Rule::One(_) => None,
            Rule::Several(several) => Some(several),
            Rule::Shared(shared) => shared.local.as_deref(),
        };
        if let Some(several) = several {
            let mut several = lock(several);
            several.paused_until = several.paused_until.max(until);
        }
        if let Some(tokens) = self.shared() {
            tokens.ring();
        }
    }

    fn shared(&self) -> Option<&SharedTokens> {
        match &self.rule {
            Rule::Shared(shared) => Some(&shared.tokens),
            Rule::One(_) | Rule::Several(_) => None,
        }
    }
}

// === impl Rule ===

impl Rule {
    fn new(key: Option<&str>, quota: Option<Quota>, added: &Added, place: Option<&Place>) -> Self {
        let several = |quotas: &mut dyn Iterator<Item = Option<Quota>>| {
            let mut several = Several::of(quotas);
            several.windows = added.windows.iter().copied().map(Window::new).collect();
            Mutex::new(several)
        };
        let mut quotas = std::iter::once(quota).chain(added.quotas_of(key));
        match place {
            Some(place) if quota.is_some() || added.quotas_of(key).next().is_some() => {
                let local = added.is_local().then(|| several(&mut std::iter::empty()));
                Self::Shared(Box::new(SharedRule::new(place, quotas, local)))
            }
            _ if added.is_empty() => Self::One(Gcra::new(quota)),
            _ => Self::Several(several(&mut quotas)),
        }
    }
}

impl Limiter for Rates {
    type Setting = Quota;

    const KIND: &'static str = "rate";

    const TIMED: bool = true;

    fn new(quota: Option<Quota>) -> Self {
        Self::build(None, quota, Arc::default(), None)
    }

    fn fresh(&self) -> Self {
        let rule = match &self.rule {
            Rule::One(gcra) => Rule::One(gcra.fresh()),
            Rule::Several(several) => Rule::Several(Mutex::new(lock(several).fresh())),
            Rule::Shared(shared) => Rule::Shared(Box::new(shared.fresh())),
        };
        Self {
            rule,
            added: Arc::clone(&self.added),
            place: self.place.clone(),
        }
    }

    fn at(&self, place: Place) -> Self {
        Self::build(None, self.quota(), Arc::clone(&self.added), Some(place))
    }

    fn place(&self) -> Option<&Place> {
        self.place.as_deref()
    }

    fn attach(&self, queue: impl FnOnce() -> Weak<dyn SharedQueue>) {
        if let Some(shared) = self.shared() {
            shared.attach(queue);
        }
    }

    #[inline]
    fn set_waiting(&self, waiting: impl FnOnce() -> Option<Waiting>) {
        if let Some(shared) = self.shared() {
            shared.set_waiting(waiting());
        }
    }

    fn rejection(&self) -> Option<StoreRejection> {
        self.shared()?.rejection()
    }

    fn fresh_for(&self, key: Option<&str>, quota: Option<Quota>, is_changed: bool) -> Option<Self> {
        let is_limited = quota.is_some()
            || !self.added.windows.is_empty()
            || self.added.quotas_of(key).next().is_some();
        let place = self.place().map(|place| place.of(key, is_changed));
        is_limited.then(|| Self::build(key, quota, Arc::clone(&self.added), place))
    }

    fn describe(&self) -> String {
        match &self.rule {
            Rule::One(gcra) => quota_text(gcra).unwrap_or_default(),
            Rule::Several(several) => lock(several).describe(),
            Rule::Shared(shared) => shared.describe(),
        }
    }

    fn describe_setting(quota: Option<Quota>) -> Option<String> {
        quota_text(&Gcra::new(quota))
    }

    fn names(&self, key: &str) -> bool {
        self.added.quotas.iter().any(|quotas| quotas.names(key))
    }

    fn set(&self, quota: Option<Quota>) {
        let now = Moment::now();
        match &self.rule {
            Rule::One(gcra) => gcra.set_quota(quota, now),
            Rule::Several(several) => lock(several).first.set_quota(quota, now),
            Rule::Shared(shared) => shared.tokens.set_quota(quota),
        }
    }

    /// Has no effect: when a call starts does not depend on how long calls take.
    fn set_service_time(&self, _: Option<Duration>) {}

    fn idle_from(&self) -> Moment {
        self.full_at()
    }

    #[inline]
    fn try_acquire(&self, cost: u64, now: impl FnOnce() -> Moment) -> bool {
        let now = now();
        match &self.rule {
            Rule::One(gcra) => gcra.try_acquire(cost, now),
            Rule::Several(several) => lock(several).try_acquire(cost, now),
            Rule::Shared(shared) => shared.take(cost, now).is_some(),
        }
    }

    fn try_grant(&self, cost: u64, now: Moment) -> Option<Grant> {
        let charged = match &self.rule {
            Rule::One(gcra) => gcra.try_grant(cost, now),
            Rule::Several(several) => lock(several).try_grant(cost, now),
            Rule::Shared(shared) => shared.take(cost, now),
        };
        charged.map(Grant::at)
    }

    fn release(&self, cost: u64, acquired: Moment, now: impl FnOnce() -> Moment) {
        match &self.rule {
            Rule::One(gcra) => gcra.refund(cost, acquired, now()),
            Rule::Several(several) => lock(several).refund(cost, acquired, now()),
            Rule::Shared(shared) => shared.refund(cost, acquired, now()),
        }
    }

    fn capacity(&self) -> u64 {
        match &self.rule {
            Rule::One(gcra) => gcra.burst(),
            Rule::Several(several) => lock(several).capacity(),
            Rule::Shared(shared) => shared.capacity(),
        }
    }

    fn due(&self, ahead: u64, cost: u64, now: Moment) -> Option<Moment> {
        match &self.rule {
            Rule::One(gcra) => gcra.due(ahead, cost),
            Rule::Several(several) => lock(several).due(ahead, cost, now),
            Rule::Shared(shared) => shared.due(ahead, cost, now),
        }
    }

    /// Waiters that one rule delays leave room in the others, which those do not use up before.
    fn is_exact(&self) -> bool {
        matches!(self.rule, Rule::One(_))
    }
}

// === impl Added ===

impl Added {
    fn is_empty(&self) -> bool {
        self.quotas.is_empty() && !self.is_local()
    }

    /// Returns whether something holds in each process, also with a store.
    fn is_local(&self) -> bool {
        !self.windows.is_empty() || self.pauses
    }

    /// Returns the quotas of a key, or those of all calls.
    fn quotas_of<'a>(&'a self, key: Option<&'a str>) -> impl Iterator<Item = Option<Quota>> + 'a {
        let of_key = move |quotas: &'a PerTool<Quota>| match key {
            Some(key) => quotas.get(key),
            None => quotas.default(),
        };
        self.quotas.iter().filter_map(of_key).copied().map(Some)
    }
}

/// Returns how many tokens there are now: those of the key with the fewest.
pub(super) fn remaining(limits: &Limits<Rates>) -> u32 {
    let now = Moment::now();
    let queues = limits.queues();
    let remaining = queues.iter().map(|queue| queue.limiter().remaining(now));
    remaining.min().unwrap_or(u32::MAX)
}
