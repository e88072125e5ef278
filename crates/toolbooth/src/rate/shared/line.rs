//! The tokens that a process has taken of the bucket in the store. Pure: the time is an argument.

use std::collections::VecDeque;
use std::time::Duration;

use toolbooth_core::Moment;

use crate::rate::gcra::nanos;

/// Tokens in the order in which they become available.
#[derive(Debug, Default)]
pub(super) struct Line {
    segments: VecDeque<Segment>,
    total: u64,
}

/// Tokens of one reservation: the last of them is available at `last_at`, and each other one
/// `spacing` before the next, but none before `since`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Segment {
    pub(super) tokens: u64,
    pub(super) since: Moment,
    pub(super) last_at: Moment,
    pub(super) spacing: Duration,
    pub(super) receipt: u64,
    /// How much earlier the receipt is without the last token.
    pub(super) interval: Duration,
}

/// Tokens to return to the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Surplus {
    /// 0 for tokens of which the reservation is not known.
    pub(super) receipt: u64,
    pub(super) tokens: u64,
    /// When the last of them was or is available.
    pub(super) at: Moment,
}

// === impl Line ===

impl Line {
    pub(super) const fn new() -> Self {
        Self {
            segments: VecDeque::new(),
            total: 0,
        }
    }

    /// Returns how many tokens there are, available or not.
    pub(super) const fn total(&self) -> u64 {
        self.total
    }

    pub(super) fn push(&mut self, segment: Segment) {
        if segment.tokens > 0 {
            self.total = self.total.saturating_add(segment.tokens);
            self.segments.push_back(segment);
        }
    }

    /// Returns when the first `tokens` are available; `None` if there are not as many.
    pub(super) fn available_at(&self, tokens: u64) -> Option<Moment> {
        let mut left = tokens;
        let mut at = None;
        for segment in &self.segments {
            let taken = left.min(segment.tokens);
            at = at.max(Some(segment.at(taken)));
            left -= taken;
            if left == 0 {
                return at;
            }
        }
        None
    }

    /// Returns when the last token is available.
    pub(super) fn last_at(&self) -> Option<Moment> {
        self.segments.back().map(|segment| segment.last_at)
    }

    /// Returns how many tokens are available at `now`.
    pub(super) fn available(&self, now: Moment) -> u64 {
        self.segments
            .iter()
            .map(|segment| segment.available(now))
            .fold(0, u64::saturating_add)
    }

    /// Takes the first tokens if they are available at `now`. Returns when they were.
    pub(super) fn take(&mut self, tokens: u64, now: Moment) -> Option<Moment> {
        let at = self.available_at(tokens).filter(|at| *at <= now)?;
        self.remove_first(tokens);
        Some(at)
    }

    /// Removes the first tokens, available or not. Returns how many were missing.
    pub(super) fn use_first(&mut self, tokens: u64) -> u64 {
        let missing = tokens.saturating_sub(self.total);
        self.remove_first(tokens);
        missing
    }

    /// Removes what was available before `until`, but for the last `keep` tokens of that. Returns
    /// whether there was any.
    pub(super) fn expire(&mut self, until: Moment, keep: u64) -> bool {
        let expired = self.available(until).saturating_sub(keep);
        self.remove_first(expired);
        expired > 0
    }

    /// Removes the last tokens of the last reservation that are more than `needed` in all.
    pub(super) fn take_surplus(&mut self, needed: u64) -> Option<Surplus> {
        let surplus = self.total.saturating_sub(needed);
        let last = self.segments.back_mut().filter(|_| surplus > 0)?;
        let tokens = surplus.min(last.tokens);
        let (receipt, at) = (last.receipt, last.last_at);
        last.drop_last(tokens);
        if last.tokens == 0 {
            self.segments.pop_back();
        }
        self.total -= tokens;
        Some(Surplus {
            receipt,
            tokens,
            at,
        })
    }

    fn remove_first(&mut self, tokens: u64) {
        let mut left = tokens.min(self.total);
        self.total -= left;
        while left > 0 {
            let Some(first) = self.segments.front_mut() else {
                return;
            };
            let removed = left.min(first.tokens);
            first.tokens -= removed;
            left -= removed;
            if first.tokens == 0 {
                self.segments.pop_front();
            }
        }
    }
}

// === impl Segment ===

impl Segment {
    /// Returns when the first `tokens` of the segment are available, which has as many.
    fn at(&self, tokens: u64) -> Moment {
        let behind = self.tokens.saturating_sub(tokens);
        let spaced = nanos(self.spacing).saturating_mul(behind);
        let at = self.last_at.as_nanos().saturating_sub(spaced);
        self.since.max(Moment::from_nanos(at))
    }

    fn available(&self, now: Moment) -> u64 {
        if now < self.since {
            return 0;
        }
        if now >= self.last_at {
            return self.tokens;
        }
        let missing = self.last_at.as_nanos() - now.as_nanos();
        let missing = missing.div_ceil(nanos(self.spacing).max(1));
        self.tokens.saturating_sub(missing)
    }

    /// Removes the last tokens. The receipt is the time in microseconds at which the store's bucket
    /// would be full again, so the rest has an earlier one.
    fn drop_last(&mut self, tokens: u64) {
        let spaced = nanos(self.spacing).saturating_mul(tokens);
        let weight = nanos(self.interval).saturating_mul(tokens);
        self.tokens -= tokens;
        self.last_at = Moment::from_nanos(self.last_at.as_nanos().saturating_sub(spaced));
        self.receipt = self.receipt.saturating_sub(weight / 1_000);
    }
}
