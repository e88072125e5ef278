//! The bucket of one limit. Times are microseconds of the store's clock.

use std::time::Duration;

use toolbooth::shared::{ReturnTokens, SetLimit, SharedQuota, TakeTokens, TokensTaken};

use super::permits::micros;

/// A bucket by the generic cell rate algorithm.
#[derive(Debug, Clone)]
pub(super) struct Bucket {
    quota: SharedQuota,
    /// The quota that a process was last configured with.
    configured: SharedQuota,
    /// The theoretical arrival time of the next token.
    arrival: u64,
    /// Until when the quota is remembered, if it was set.
    remembered: u64,
}

/// How long a limit that was set is remembered: a day.
pub(super) const REMEMBERED: u64 = 86_400_000_000;

// === impl Bucket ===

impl Bucket {
    pub(super) const fn new(quota: SharedQuota) -> Self {
        Self {
            quota,
            configured: quota,
            arrival: 0,
            remembered: 0,
        }
    }

    pub(super) const fn is_expired(&self, now: u64) -> bool {
        self.arrival <= now && self.remembered <= now
    }

    pub(super) fn take(&mut self, request: &TakeTokens, now: u64) -> TokensTaken {
        let replaces = match request.set {
            SetLimit::IfUnknown => false,
            SetLimit::IfConfigured => self.configured != request.quota,
            SetLimit::Always => true,
        };
        if replaces {
            self.set(request.quota, now);
        }
        if request.set == SetLimit::IfConfigured {
            self.configured = request.quota;
        }
        if request.set == SetLimit::Always {
            self.remembered = now + REMEMBERED;
        }
        let (interval, burst) = (self.interval(), u64::from(self.quota.burst));
        let start = self.arrival.max(now);
        // The wait until `tokens` more are available.
        let wait = |tokens: u64| {
            let end = start.saturating_add(interval.saturating_mul(tokens));
            end.saturating_sub(interval.saturating_mul(burst))
                .saturating_sub(now)
        };
        let least = request.least;
        if least == 0 || least > burst || wait(least) > micros(request.max_wait) {
            return self.reply(0, wait(least));
        }
        // How many are available within the horizon.
        let room = (now + micros(request.horizon) + interval * burst).saturating_sub(start);
        let taken = (room / interval).clamp(least, request.most.max(least));
        let wait = wait(taken);
        self.arrival = start + interval * taken;
        self.reply(taken, wait)
    }

    pub(super) fn refund(&mut self, request: &ReturnTokens, now: u64) {
        let weight = self.interval().saturating_mul(request.tokens);
        let tolerance = self.interval() * u64::from(self.quota.burst);
        if request.receipt == self.arrival {
            self.arrival -= weight.min(self.arrival);
        } else if self.arrival.saturating_sub(tolerance) <= now {
            let credit = weight.saturating_sub(micros(request.age));
            self.arrival -= credit.min(self.arrival);
        }
    }

    /// Changes the quota. Tokens that are missing stay missing, up to the new burst.
    fn set(&mut self, quota: SharedQuota, now: u64) {
        let missing = u128::from(self.arrival.saturating_sub(now));
        let before = u128::from(self.interval());
        self.quota = quota;
        let missing = missing * u128::from(self.interval()) / before;
        let missing = u64::try_from(missing).unwrap_or(u64::MAX);
        self.arrival = now + missing.min(self.interval() * u64::from(quota.burst));
    }

    fn reply(&self, taken: u64, wait: u64) -> TokensTaken {
        TokensTaken {
            taken,
            wait: Duration::from_micros(wait),
            receipt: self.arrival,
            quota: self.quota,
        }
    }

    fn interval(&self) -> u64 {
        micros(self.quota.interval).max(1)
    }
}
