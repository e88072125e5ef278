use std::sync::Arc;

use governor::Quota;
use toolbooth_core::Moment;

use super::SharedTokens;
use crate::middleware::sync::{Mutex, lock};
use crate::rate::gcra::Gcra;
use crate::rate::several::{Several, quota_text};
use crate::shared::Place;

/// Quotas in a store. Windows and pauses hold in each process.
#[derive(Debug)]
pub(in crate::rate) struct SharedRule {
    pub(in crate::rate) tokens: SharedTokens,
    pub(in crate::rate) local: Option<Arc<Mutex<Several>>>,
}

// === impl SharedRule ===

impl SharedRule {
    /// Creates buckets of one or more quotas. One that is `None` limits nothing.
    pub(in crate::rate) fn new(
        place: &Place,
        quotas: impl IntoIterator<Item = Option<Quota>>,
        local: Option<Mutex<Several>>,
    ) -> Self {
        let local = local.map(Arc::new);
        let tokens = SharedTokens::new(place, quotas, local.clone());
        Self { tokens, local }
    }

    pub(in crate::rate) fn fresh(&self) -> Self {
        let fresh = |several: &Arc<Mutex<Several>>| Arc::new(Mutex::new(lock(several).fresh()));
        let local = self.local.as_ref().map(fresh);
        let tokens = self.tokens.fresh(local.clone());
        Self { tokens, local }
    }

    /// Takes of the store and of the windows, or of none. Returns the moment that is charged.
    pub(in crate::rate) fn take(&self, cost: u64, now: Moment) -> Option<Moment> {
        self.tokens.take(cost, now, || match &self.local {
            None => true,
            Some(several) => lock(several).try_acquire(cost, now),
        })
    }

    pub(in crate::rate) fn refund(&self, cost: u64, charged: Moment, now: Moment) {
        self.tokens.refund(cost, charged, now);
        if let Some(several) = &self.local {
            lock(several).refund(cost, charged, now);
        }
    }

    pub(in crate::rate) fn charge(&self, cost: u64, now: Moment) {
        self.tokens.charge(cost, now);
        if let Some(several) = &self.local {
            lock(several).charge(cost, now);
        }
    }

    pub(in crate::rate) fn due(&self, ahead: u64, cost: u64, now: Moment) -> Option<Moment> {
        let due = self.tokens.due(ahead, cost, now);
        let Some(several) = &self.local else {
            return due;
        };
        let local = lock(several).due(ahead, cost, now)?;
        // What the store has is unknown: a call starts no earlier than the other rules allow.
        due.map_or_else(
            || Some(local).filter(|at| *at > now),
            |due| Some(due.max(local)),
        )
    }

    pub(in crate::rate) fn capacity(&self) -> u64 {
        let burst = self.tokens.burst();
        match &self.local {
            None => burst,
            Some(several) => burst.min(lock(several).capacity()),
        }
    }

    pub(in crate::rate) fn remaining(&self, now: Moment) -> u32 {
        let tokens = self.tokens.remaining(now);
        match &self.local {
            None => tokens,
            Some(several) => tokens.min(lock(several).remaining(now)),
        }
    }

    /// Returns when the process has nothing that a new bucket has not: what the store has is not
    /// lost with it.
    pub(in crate::rate) fn full_at(&self) -> Moment {
        let tokens = self.tokens.full_at();
        match &self.local {
            None => tokens,
            Some(several) => tokens.max(lock(several).full_at()),
        }
    }

    pub(in crate::rate) fn describe(&self) -> String {
        let quotas = self.tokens.quotas();
        let quotas = quotas
            .into_iter()
            .map(|quota| quota_text(&Gcra::new(quota)));
        let local = self.local.as_ref().map(|several| lock(several).describe());
        let all: Vec<_> = quotas
            .chain([local])
            .flatten()
            .filter(|text| !text.is_empty())
            .collect();
        all.join(", and ")
    }
}
