//! governor's rule (the generic cell rate algorithm, ITU-T I.371 annex A), with the time as an
//! argument and the state in the open, so that a wait can be foretold and a token given back.

use std::time::Duration;

use governor::Quota;
use tokio::time::Instant;

use crate::line::Rule;

/// tokio's timers are that late at most, and a waiter is charged for when it was due within it.
const TICK: u64 = 1_000_000;

/// One bucket. Times are nanoseconds since the first decision.
#[derive(Debug, Clone)]
pub(super) struct Gcra {
    /// What one token weighs: the time in which it comes back.
    interval: u64,
    /// How far ahead of the clock the bucket may run: the burst less one.
    tolerance: u64,
    burst: u32,
    epoch: Option<Instant>,
    /// The theoretical arrival time of the next call.
    arrival: Option<u64>,
}

// === impl Gcra ===

impl Gcra {
    pub(super) fn new(quota: Quota) -> Self {
        let interval = nanos(quota.replenish_interval()).max(1);
        let burst = quota.burst_size().get();
        Self {
            interval,
            tolerance: interval.saturating_mul(u64::from(burst - 1)),
            burst,
            epoch: None,
            arrival: None,
        }
    }

    /// How many calls would be admitted at once.
    pub(super) fn remaining(&self, now: Instant) -> u32 {
        let (Some(epoch), Some(arrival)) = (self.epoch, self.arrival) else {
            return self.burst;
        };
        let now = nanos(now.saturating_duration_since(epoch));
        if now >= arrival {
            return self.burst;
        }
        match now.saturating_add(self.tolerance).checked_sub(arrival) {
            Some(room) => u32::try_from(room / self.interval + 1)
                .map_or(self.burst, |free| free.min(self.burst)),
            None => 0,
        }
    }

    /// The earliest time at which the bucket has a token.
    fn earliest(&self) -> u64 {
        self.arrival.unwrap_or(0).saturating_sub(self.tolerance)
    }

    fn since_epoch(&mut self, now: Instant) -> u64 {
        nanos(now.saturating_duration_since(*self.epoch.get_or_insert(now)))
    }

    fn decide(&mut self, at: u64) -> bool {
        if at < self.earliest() {
            return false;
        }
        self.arrival = Some(
            self.arrival
                .unwrap_or(at)
                .max(at)
                .saturating_add(self.interval),
        );
        true
    }
}

impl Rule for Gcra {
    fn admit(&mut self, now: Instant) -> bool {
        let now = self.since_epoch(now);
        self.decide(now)
    }

    /// Charged for when it was due, not for when the timer came round to it: else 700 a second
    /// become 500, and nothing is faster than the timer. Beyond a tick, lateness is lost.
    fn admit_waiting(&mut self, now: Instant) -> bool {
        let now = self.since_epoch(now);
        now >= self.earliest() && self.decide(self.earliest().clamp(now.saturating_sub(TICK), now))
    }

    fn refund(&mut self) {
        self.arrival = self
            .arrival
            .map(|arrival| arrival.saturating_sub(self.interval));
    }

    fn due(&self, ahead: usize) -> Option<Instant> {
        let ahead = u64::try_from(ahead).unwrap_or(u64::MAX);
        let due = self
            .earliest()
            .saturating_add(self.interval.saturating_mul(ahead));
        let epoch = self.epoch.unwrap_or_else(Instant::now);
        // Beyond what the clock can say it is centuries.
        Some(
            epoch
                .checked_add(Duration::from_nanos(due))
                .unwrap_or_else(|| epoch + CENTURY),
        )
    }
}

const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3_600);

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
