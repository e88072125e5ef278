//! The identity of a limit.

use std::num::NonZeroU64;
use std::sync::atomic::{AtomicU64, Ordering};

/// Identifies a limit, or one key of a limit by key, to the calls that pass it.
///
/// A layer with a limit creates one id together with the state of the limit. By the id a call
/// finds out whether an outer layer, or a call above, holds a permit of the same limit. Unlike the
/// address of the state, an id is never reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LimitId(NonZeroU64);

// === impl LimitId ===

impl LimitId {
    /// The bits of an id. Creating a limit each nanosecond uses them up in three days; a limit with
    /// its state takes hundreds of nanoseconds.
    pub(super) const BITS: u32 = 48;

    /// Creates an id that no other limit of this process has.
    #[must_use]
    pub fn unique() -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let last = LAST.fetch_add(1, Ordering::Relaxed) % ((1 << Self::BITS) - 1);
        Self(NonZeroU64::MIN.saturating_add(last))
    }

    pub(super) const fn get(self) -> u64 {
        self.0.get()
    }

    /// Returns the id of these bits, which are those of an id.
    pub(super) fn from_bits(bits: u64) -> Self {
        Self(NonZeroU64::new(bits).expect("no id is 0"))
    }
}
