//! The wait before the next attempt. Pure: no clock, no timer.
//!
//! tower's `ExponentialBackoff` adds its jitter to the exponential wait. So calls that failed
//! together are retried together, only later. Also, each of its clones draws the same numbers.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Exponential backoff with full jitter. Clones draw from one sequence.
#[derive(Debug, Clone)]
pub(super) struct Backoff {
    base: Duration,
    max: Duration,
    random: Arc<SplitMix>,
}

/// `SplitMix64`: Steele, Lea, Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
///
/// Its state is a counter, so threads share it without a lock.
#[derive(Debug)]
struct SplitMix(AtomicU64);

// === impl Backoff ===

impl Backoff {
    /// Makes a backoff with a random seed.
    pub(super) fn new(base: Duration, max: Duration) -> Self {
        Self {
            base,
            max,
            random: Arc::new(SplitMix::new(RandomState::new().hash_one(0))),
        }
    }

    pub(super) const fn set_range(&mut self, base: Duration, max: Duration) {
        (self.base, self.max) = (base, max);
    }

    pub(super) fn set_seed(&mut self, seed: u64) {
        self.random = Arc::new(SplitMix::new(seed));
    }

    /// Returns the wait after `failed` attempts: uniformly random from zero to the ceiling.
    pub(super) fn after(&self, failed: u32) -> Duration {
        Duration::from_nanos(self.random.up_to(self.ceiling(failed)))
    }

    /// `min(max, base * 2^(failed - 1))`, in nanoseconds.
    fn ceiling(&self, failed: u32) -> u64 {
        let doubled = 1_u64.checked_shl(failed.saturating_sub(1));
        nanos(self.base)
            .saturating_mul(doubled.unwrap_or(u64::MAX))
            .min(nanos(self.max))
    }
}

// === impl SplitMix ===

impl SplitMix {
    const fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    fn next(&self) -> u64 {
        const GAMMA: u64 = 0x9e37_79b9_7f4a_7c15;
        let counted = self.0.fetch_add(GAMMA, Ordering::Relaxed);
        let mixed = counted.wrapping_add(GAMMA);
        let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Returns a random number from 0 to `most`.
    fn up_to(&self, most: u64) -> u64 {
        ((u128::from(self.next()) * (u128::from(most) + 1)) >> 64) as u64
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn backoff(base: Duration, max: Duration, seed: u64) -> Backoff {
        let mut backoff = Backoff::new(base, max);
        backoff.set_seed(seed);
        backoff
    }

    /// The first numbers of Vigna's `splitmix64.c` for the seed 1234567:
    /// <https://prng.di.unimi.it/splitmix64.c>
    #[test]
    fn sequence_equals_the_reference() {
        let random = SplitMix::new(1_234_567);
        let drawn: Vec<u64> = (0..5).map(|_| random.next()).collect();
        assert_eq!(
            drawn,
            [
                6_457_827_717_110_365_317,
                3_203_168_211_198_807_973,
                9_817_491_932_198_370_423,
                4_593_380_528_125_082_431,
                16_408_922_859_458_223_821,
            ]
        );
    }

    #[test]
    fn ceiling_doubles_up_to_the_maximum() {
        let backoff = backoff(Duration::from_millis(100), Duration::from_secs(1), 1);
        let ceilings: Vec<u64> = (1..=6).map(|n| backoff.ceiling(n) / 1_000_000).collect();
        assert_eq!(ceilings, [100, 200, 400, 800, 1_000, 1_000]);
        assert_eq!(backoff.ceiling(u32::MAX), nanos(Duration::from_secs(1)));
    }

    #[test]
    fn whole_range_is_drawn_from() {
        let backoff = backoff(Duration::from_nanos(9), Duration::MAX, 7);
        let mut drawn = [0_u32; 10];
        for _ in 0..10_000 {
            let nanos = usize::try_from(backoff.after(1).as_nanos()).unwrap();
            drawn[nanos] += 1;
        }
        // A thousand each, give or take four standard deviations of 30.
        assert!(drawn.iter().all(|n| (880..=1_120).contains(n)), "{drawn:?}");
    }

    proptest! {
        #[test]
        fn every_wait_is_within_its_bounds(base: Duration, max: Duration, seed: u64, failed: u32) {
            let backoff = backoff(base, max, seed);
            let wait = backoff.after(failed);
            prop_assert!(wait <= max);
            if let Some(factor) = 1_u32.checked_shl(failed.saturating_sub(1)) {
                prop_assert!(wait <= base.saturating_mul(factor));
            }
        }

        #[test]
        fn one_seed_is_one_sequence(
            seed: u64,
            failed in proptest::collection::vec(1_u32..40, 1..50),
        ) {
            let (base, max) = (Duration::from_millis(100), Duration::from_secs(10));
            let draw = |seed| {
                let backoff = backoff(base, max, seed);
                failed.iter().map(|n| backoff.clone().after(*n)).collect::<Vec<_>>()
            };
            prop_assert_eq!(draw(seed), draw(seed));
            prop_assert_ne!(draw(seed), draw(seed ^ 1));
        }
    }
}
