use toolbooth_core::Moment;

use super::SharedTokens;
use crate::middleware::sync::{Mutex, lock};
use crate::rate::gcra::Gcra;
use crate::rate::several::{Several, quota_text};

/// A quota in a store. What was added to it holds in each process.
#[derive(Debug)]
pub(in crate::rate) struct SharedRule {
    pub(in crate::rate) tokens: SharedTokens,
    pub(in crate::rate) added: Option<Mutex<Several>>,
}

// === impl SharedRule ===

impl SharedRule {
    pub(in crate::rate) fn fresh(&self) -> Self {
        let added = self.added.as_ref();
        Self {
            tokens: self.tokens.fresh(),
            added: added.map(|several| Mutex::new(lock(several).fresh())),
        }
    }

    /// Takes of the store and of what was added, or of none. Returns the moment that is charged.
    pub(in crate::rate) fn take(&self, cost: u64, now: Moment) -> Option<Moment> {
        self.tokens.take(cost, now, || match &self.added {
            None => true,
            Some(several) => lock(several).try_acquire(cost, now),
        })
    }

    pub(in crate::rate) fn refund(&self, cost: u64, charged: Moment, now: Moment) {
        self.tokens.refund(cost, charged, now);
        if let Some(several) = &self.added {
            lock(several).refund(cost, charged, now);
        }
    }

    pub(in crate::rate) fn charge(&self, cost: u64, now: Moment) {
        self.tokens.charge(cost, now);
        if let Some(several) = &self.added {
            lock(several).charge(cost, now);
        }
    }

    pub(in crate::rate) fn due(&self, ahead: u64, cost: u64, now: Moment) -> Option<Moment> {
        let due = self.tokens.due(ahead, cost, now)?;
        match &self.added {
            None => Some(due),
            Some(several) => Some(due.max(lock(several).due(ahead, cost, now)?)),
        }
    }

    pub(in crate::rate) fn capacity(&self) -> u64 {
        let quota = self.tokens.quota();
        let burst = quota.map_or(u64::MAX, |quota| u64::from(quota.burst_size().get()));
        match &self.added {
            None => burst,
            Some(several) => burst.min(lock(several).capacity()),
        }
    }

    pub(in crate::rate) fn remaining(&self, now: Moment) -> u32 {
        let tokens = self.tokens.remaining(now);
        match &self.added {
            None => tokens,
            Some(several) => tokens.min(lock(several).remaining(now)),
        }
    }

    /// Returns when the process has nothing that a new bucket has not: what the store has is not
    /// lost with it.
    pub(in crate::rate) fn full_at(&self) -> Moment {
        match &self.added {
            None => Moment::from_nanos(0),
            Some(several) => lock(several).full_at(),
        }
    }

    pub(in crate::rate) fn describe(&self) -> String {
        let quota = quota_text(&Gcra::new(self.tokens.quota()));
        let added = self.added.as_ref().map(|several| lock(several).describe());
        let all = quota.into_iter().chain(added);
        let all: Vec<_> = all.filter(|text| !text.is_empty()).collect();
        all.join(", and ")
    }
}
