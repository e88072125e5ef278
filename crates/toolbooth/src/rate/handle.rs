//! The layer as a handle: what changes and reads a limit while calls wait.

use std::time::Duration;

use governor::Quota;
use toolbooth_core::{Moment, Name};

use super::RateLimitLayer;
use super::rates::remaining;
use crate::middleware::ConfigError;
use crate::queue::{Order, QueueSetting};

impl RateLimitLayer {
    /// Changes the quota while calls wait. `None` is no limit.
    ///
    /// Quotas and windows that were added stay as they are, but for `None` with
    /// [a store](Self::with_store): it ends all quotas in this process. Of a limit by tool or by
    /// key, it changes that of each key which has none of its own and is in no group.
    ///
    /// Waiting calls stay in the queue and start by the new quota from now on; if it is higher,
    /// some start at once. Tokens that are missing by now stay missing, up to the new burst. After
    /// `None` the bucket is full.
    ///
    /// # Errors
    /// [`ConfigError::NoLimit`] for a layer that was created without a limit.
    pub fn set_quota(&self, quota: impl Into<Option<Quota>>) -> Result<(), ConfigError> {
        self.limits.set_limit(quota.into())
    }

    /// As [`set_quota`](Self::set_quota), for one tool or key, or for its group.
    ///
    /// # Errors
    /// As `set_quota`, and [`ConfigError::NotByKey`] if one quota is for all calls.
    pub fn set_quota_for(
        &self,
        key: impl Into<Name>,
        quota: impl Into<Option<Quota>>,
    ) -> Result<(), ConfigError> {
        self.limits.set_limit_for(&key.into(), quota.into())
    }

    /// Changes all quotas of one limit for all calls, also those that were added. Those that are
    /// missing in `quotas` limit nothing.
    #[cfg(feature = "policy")]
    pub(crate) fn set_quotas(&self, quotas: &[Quota]) -> Result<(), ConfigError> {
        self.limits.change(|rates| rates.set_all(quotas))
    }

    /// Returns whether [`set_quotas`](Self::set_quotas) can set this number of quotas, of one limit
    /// for all calls.
    #[cfg(feature = "policy")]
    pub(crate) fn can_have(&self, quotas: usize) -> bool {
        let rates = self.limits.limiter();
        rates.is_some_and(|rates| rates.can_have(quotas))
    }

    /// Changes how many calls may wait in each queue. Calls that wait already stay.
    pub fn set_queue_capacity(&self, calls: usize) {
        self.limits.configure(&QueueSetting::Capacity(calls));
    }

    /// Changes how long a call may wait, also for calls that wait already. `None` is no limit.
    pub fn set_max_wait(&self, max_wait: impl Into<Option<Duration>>) {
        let max_wait = max_wait.into();
        self.limits.configure(&QueueSetting::MaxWait(max_wait));
    }

    /// Changes the order in which waiting calls start, also for calls that wait already.
    ///
    /// The priority and the key of a call are read when it is enqueued, if the order then uses
    /// them. A call that waits already has priority 0 and no key otherwise.
    pub fn set_order(&self, order: Order) {
        let order = order.into_setting();
        self.limits.configure(&QueueSetting::Order(order));
    }

    /// Returns how many tokens there are now: `u32::MAX` without a limit.
    ///
    /// Of a limit by tool or by key, it is that of the key with the fewest.
    #[must_use]
    pub fn remaining(&self) -> u32 {
        remaining(&self.limits)
    }

    /// Returns how many tokens there are now for a tool or a key: `u32::MAX` if it has no limit.
    #[must_use]
    pub fn remaining_for(&self, key: &str) -> u32 {
        match self.limits.queue_of(key) {
            Some(queue) => queue.limiter().remaining(Moment::now()),
            None => {
                let rates = self.limits.limiter_of_new(key);
                rates.map_or(u32::MAX, |rates| rates.remaining(Moment::now()))
            }
        }
    }

    /// Returns the time until all tokens are back, if no call takes one meanwhile.
    ///
    /// Of a limit by tool or by key, it is the longest of all keys. Zero without a limit.
    #[must_use]
    pub fn reset_after(&self) -> Duration {
        let now = Moment::now();
        let queues = self.limits.queues();
        let reset = queues.iter().map(|queue| queue.limiter().full_at());
        reset.max().map_or(Duration::ZERO, |full| full.since(now))
    }

    /// Returns the time until all tokens of a tool or a key are back, if no call takes one
    /// meanwhile.
    #[must_use]
    pub fn reset_after_for(&self, key: &str) -> Duration {
        let queue = self.limits.queue_of(key);
        queue.map_or(Duration::ZERO, |queue| {
            queue.limiter().full_at().since(Moment::now())
        })
    }

    /// Returns how many calls wait for a token.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.limits.queued()
    }
}
