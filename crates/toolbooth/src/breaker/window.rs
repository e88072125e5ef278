//! The windows of rates: they count hits. Pure, with the time as an argument.
//!
//! The cost of a record does not depend on the size of the window.

use std::time::Duration;

use toolbooth_core::Moment;

use super::policy::Over;

/// The number of buckets of a window of time, which slides by one bucket at a time.
const BUCKETS: usize = 10;

/// The window of a rate.
#[derive(Debug, Clone)]
pub(super) enum Window {
    Calls(Ring),
    Time(Buckets),
}

/// The number of calls, and of hits among them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) calls: u64,
    pub(super) hits: u64,
}

/// A ring buffer of the last n calls, one bit for each.
#[derive(Debug, Clone)]
pub(super) struct Ring {
    bits: Box<[u64]>,
    size: u32,
    next: u32,
    counts: Counts,
}

/// The calls of a duration, counted in buckets.
#[derive(Debug, Clone)]
pub(super) struct Buckets {
    /// The width of a bucket in nanoseconds.
    width: u64,
    newest: u64,
    buckets: [Counts; BUCKETS],
    counts: Counts,
}

// === impl Window ===

impl Window {
    pub(super) fn new(over: Over) -> Self {
        match over {
            Over::Calls(calls) => Self::Calls(Ring::new(calls)),
            Over::Time(time) => Self::Time(Buckets::new(time)),
        }
    }

    pub(super) fn record(&mut self, hit: bool, now: impl FnOnce() -> Moment) -> Counts {
        match self {
            Self::Calls(ring) => ring.record(hit),
            Self::Time(buckets) => buckets.record(hit, now()),
        }
    }

    pub(super) fn clear(&mut self) {
        match self {
            Self::Calls(ring) => ring.clear(),
            Self::Time(buckets) => buckets.clear(),
        }
    }
}

// === impl Ring ===

impl Ring {
    fn new(size: u32) -> Self {
        Self {
            bits: vec![0; size.div_ceil(u64::BITS) as usize].into(),
            size,
            next: 0,
            counts: Counts::default(),
        }
    }

    fn record(&mut self, hit: bool) -> Counts {
        let word = &mut self.bits[(self.next / u64::BITS) as usize];
        let bit = 1_u64 << (self.next % u64::BITS);
        // The bit of the call that is replaced. It is 0 while the ring is not full.
        self.counts.hits = self.counts.hits + u64::from(hit) - u64::from(*word & bit != 0);
        self.counts.calls = (self.counts.calls + 1).min(u64::from(self.size));
        *word = if hit { *word | bit } else { *word & !bit };
        self.next = (self.next + 1) % self.size;
        self.counts
    }

    fn clear(&mut self) {
        self.bits.fill(0);
        self.next = 0;
        self.counts = Counts::default();
    }
}

// === impl Buckets ===

impl Buckets {
    fn new(time: Duration) -> Self {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        Self {
            width: nanos.div_ceil(BUCKETS as u64).max(1),
            newest: 0,
            buckets: [Counts::default(); BUCKETS],
            counts: Counts::default(),
        }
    }

    fn record(&mut self, hit: bool, now: Moment) -> Counts {
        // A thread that read the clock before others counts in the newest bucket.
        let at = (now.as_nanos() / self.width).max(self.newest);
        let passed = (at - self.newest).min(BUCKETS as u64);
        for bucket in at + 1 - passed..=at {
            let expired = std::mem::take(self.bucket(bucket));
            self.counts.calls -= expired.calls;
            self.counts.hits -= expired.hits;
        }
        self.newest = at;
        self.bucket(at).add(hit);
        self.counts.add(hit);
        self.counts
    }

    #[expect(
        clippy::cast_possible_truncation,
        reason = "the remainder is below the number of buckets"
    )]
    const fn bucket(&mut self, at: u64) -> &mut Counts {
        &mut self.buckets[(at % BUCKETS as u64) as usize]
    }

    fn clear(&mut self) {
        self.buckets = [Counts::default(); BUCKETS];
        self.counts = Counts::default();
    }
}

// === impl Counts ===

impl Counts {
    fn add(&mut self, hit: bool) {
        self.calls += 1;
        self.hits += u64::from(hit);
    }
}
