//! The bucket of one limit. Times are microseconds of the store's clock.

use std::time::Duration;

use toolbooth::shared::{ReturnTokens, SetLimit, SharedQuota, TakeTokens, TokensTaken};

use super::permits::micros;

/// A bucket by the generic cell rate algorithm for each of its quotas.
#[derive(Debug, Clone)]
pub(super) struct Bucket {
    quotas: Vec<SharedQuota>,
    /// The quotas that a process was last configured with.
    configured: Vec<SharedQuota>,
    /// For each quota the theoretical arrival time of the next token.
    arrivals: Vec<u64>,
    /// Until when the quotas are remembered, if they were set.
    remembered: u64,
}

/// The longest wait in a reply, as of a store that counts in doubles.
const MAX_REPLY: u64 = (1 << 53) - 1;

/// How long a limit that was set is remembered: a day.
pub(super) const REMEMBERED: u64 = 86_400_000_000;

// === impl Bucket ===

impl Bucket {
    pub(super) fn new(quotas: &[SharedQuota]) -> Self {
        Self {
            quotas: quotas.to_vec(),
            configured: quotas.to_vec(),
            arrivals: vec![0; quotas.len()],
            remembered: 0,
        }
    }

    pub(super) fn is_expired(&self, now: u64) -> bool {
        self.arrivals.iter().all(|arrival| *arrival <= now) && self.remembered <= now
    }

    pub(super) fn take(&mut self, request: &TakeTokens, now: u64) -> TokensTaken {
        let replaces = match request.set {
            SetLimit::IfUnknown => false,
            SetLimit::IfConfigured => self.configured != request.quotas,
            SetLimit::Always => true,
        };
        if replaces {
            self.set(&request.quotas, now);
        }
        if request.set == SetLimit::IfConfigured {
            self.configured.clone_from(&request.quotas);
        }
        if request.set == SetLimit::Always {
            self.remembered = now + REMEMBERED;
        }
        if request.charge && request.least > 0 {
            return self.charge(request.least, now);
        }
        let (least, wait) = (request.least, self.wait(request.least, now));
        let is_available = self
            .quotas
            .iter()
            .all(|quota| least <= u64::from(quota.burst));
        if least == 0 || !is_available || wait > micros(request.max_wait) {
            return self.reply(0, wait);
        }
        // With several quotas, it is not known when more tokens will be available.
        let ahead = match self.quotas.len() {
            1 => micros(request.horizon),
            _ => 0,
        };
        let rooms = self.each().map(|(quota, arrival)| {
            let end = now + ahead + tolerance(quota);
            end.saturating_sub(arrival.max(now)) / interval(quota)
        });
        let room = rooms.min().unwrap_or(0);
        let taken = room.clamp(least, request.most.max(least));
        let last = self.wait(taken, now);
        // All quotas count the tokens from when they are available.
        for (arrival, quota) in self.arrivals.iter_mut().zip(&self.quotas) {
            *arrival = (*arrival).max(now + wait) + interval(quota) * taken;
        }
        self.reply(taken, last)
    }

    /// Takes tokens whether or not they are available.
    fn charge(&mut self, tokens: u64, now: u64) -> TokensTaken {
        for (arrival, quota) in self.arrivals.iter_mut().zip(&self.quotas) {
            let charged = interval(quota).saturating_mul(tokens);
            let charged = (*arrival).max(now).saturating_add(charged);
            let most = now.saturating_add(tolerance(quota).saturating_mul(2));
            *arrival = charged.min(most).max(*arrival);
        }
        self.reply(tokens, self.wait(0, now))
    }

    pub(super) fn refund(&mut self, request: &ReturnTokens, now: u64) {
        let is_last = self.arrivals.first() == Some(&request.receipt);
        let is_reserved = self
            .each()
            .any(|(quota, arrival)| arrival.saturating_sub(tolerance(quota)) > now);
        for (arrival, quota) in self.arrivals.iter_mut().zip(&self.quotas) {
            let weight = interval(quota).saturating_mul(request.tokens);
            let credit = match (is_last, is_reserved) {
                (true, _) => weight,
                (false, true) => 0,
                (false, false) => weight.saturating_sub(micros(request.age)),
            };
            *arrival -= credit.min(*arrival);
        }
    }

    fn each(&self) -> impl Iterator<Item = (&SharedQuota, u64)> {
        self.quotas.iter().zip(self.arrivals.iter().copied())
    }

    /// Returns the wait until `tokens` more are available by all quotas.
    fn wait(&self, tokens: u64, now: u64) -> u64 {
        let waits = self.each().map(|(quota, arrival)| {
            let weight = interval(quota).saturating_mul(tokens);
            let end = arrival.max(now).saturating_add(weight);
            end.saturating_sub(tolerance(quota)).saturating_sub(now)
        });
        waits.max().unwrap_or(0).min(MAX_REPLY)
    }

    /// Changes the quotas. Tokens that are missing stay missing, up to the new burst.
    fn set(&mut self, quotas: &[SharedQuota], now: u64) {
        let arrivals = quotas.iter().enumerate().map(|(index, quota)| {
            let Some(before) = self.quotas.get(index) else {
                return now;
            };
            let missing = u128::from(self.arrivals[index].saturating_sub(now));
            let missing = missing * u128::from(interval(quota)) / u128::from(interval(before));
            let missing = u64::try_from(missing).unwrap_or(u64::MAX);
            now + missing.min(tolerance(quota))
        });
        self.arrivals = arrivals.collect();
        self.quotas = quotas.to_vec();
    }

    fn reply(&self, taken: u64, wait: u64) -> TokensTaken {
        TokensTaken {
            taken,
            wait: Duration::from_micros(wait),
            receipt: self.arrivals.first().copied().unwrap_or(0),
            quotas: self.quotas.clone(),
        }
    }
}

fn interval(quota: &SharedQuota) -> u64 {
    micros(quota.interval).max(1)
}

/// Returns how far a quota may be in debt.
fn tolerance(quota: &SharedQuota) -> u64 {
    interval(quota).saturating_mul(u64::from(quota.burst))
}
