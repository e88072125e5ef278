use std::fmt;
use std::sync::Arc;

use toolbooth_core::Moment;

use crate::middleware::ConfigError;
use crate::middleware::sync::{Mutex, lock};

/// The number of slots of the window. A slot is a second long.
const SLOTS: usize = 10;

const SLOT_NANOS: u64 = 1_000_000_000;

/// A retry in the unit of the balance: millionths of a retry.
const RETRY: i64 = 1_000_000;

/// The maximum ratio, as in Finagle and tower.
const MAX_RATIO: f64 = 1_000.0;

/// Bounds how many retries all calls of a policy make together.
///
/// A call that succeeds deposits `ratio` retries, and a retry withdraws one. A reserve of
/// `min_per_second` retries for each second of the window is always there. What was deposited and
/// withdrawn counts for a window of 10 s. So in the window there are at most `ratio` retries for
/// each success, and the reserve.
///
/// The rule is that of Finagle's `RetryBudget` and of tower's `TpsBudget`, which deposits whole
/// numbers only: with a ratio of 0.6, it allows as many retries as with 1.
///
/// Clones share the balance. By default the ratio is 0.2, and the reserve 10 retries per second.
///
/// ```
/// use toolbooth::{RetryBudget, RetryPolicy};
///
/// # fn main() -> Result<(), toolbooth::ConfigError> {
/// // One budget for the tools of one backend.
/// let budget = RetryBudget::new(0.1, 5)?;
/// let search = RetryPolicy::new(3).with_budget(budget.clone());
/// let fetch = RetryPolicy::new(5).with_budget(budget);
/// # drop((search, fetch));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct RetryBudget(Arc<Mutex<Balance>>);

/// The rule. Pure: the time is an argument.
struct Balance {
    /// What a success deposits.
    deposit: i64,
    reserve: i64,
    /// Deposits less withdrawals for each second of the window, by the second modulo 10.
    slots: [i64; SLOTS],
    /// The time of the first use, at which the first second begins.
    start: Option<u64>,
    /// The current second.
    second: u64,
}

// === impl RetryBudget ===

impl RetryBudget {
    /// Creates a budget of `ratio` retries for each call that succeeds, rounded to a millionth, and
    /// of a reserve of `min_per_second` retries per second.
    ///
    /// The reserve may be used at once: it is `10 * min_per_second` retries in 10 s.
    ///
    /// # Errors
    /// [`ConfigError::RetryRatio`] for a ratio that is not from 0 to 1,000.
    pub fn new(ratio: f64, min_per_second: u32) -> Result<Self, ConfigError> {
        Ok(Self::of(deposit_of(ratio)?, min_per_second))
    }

    /// Changes the ratio. The balance stays.
    #[cfg(feature = "policy")]
    pub(crate) fn set_ratio(&self, ratio: f64) -> Result<(), ConfigError> {
        lock(&self.0).deposit = deposit_of(ratio)?;
        Ok(())
    }

    fn of(deposit: i64, min_per_second: u32) -> Self {
        Self(Arc::new(Mutex::new(Balance::new(deposit, min_per_second))))
    }

    /// Deposits for a call that succeeded.
    pub(super) fn deposit(&self) {
        let now = Moment::now();
        lock(&self.0).deposit(now.as_nanos());
    }

    /// Withdraws a retry. Returns false if there is none.
    pub(super) fn withdraw(&self) -> bool {
        let now = Moment::now();
        lock(&self.0).withdraw(now.as_nanos())
    }
}

/// Returns what a success deposits.
fn deposit_of(ratio: f64) -> Result<i64, ConfigError> {
    if !(0.0..=MAX_RATIO).contains(&ratio) {
        return Err(ConfigError::RetryRatio);
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "from 0 to 1,000 millions"
    )]
    Ok((ratio * RETRY as f64).round() as i64)
}

impl Default for RetryBudget {
    /// A retry for every five calls that succeed, and 10 retries per second.
    fn default() -> Self {
        Self::of(RETRY / 5, 10)
    }
}

/// Shows the settings.
impl fmt::Debug for RetryBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Balance {
            deposit, reserve, ..
        } = *lock(&self.0);
        #[expect(clippy::cast_precision_loss, reason = "at most 1,000 millions")]
        let ratio = deposit as f64 / RETRY as f64;
        f.debug_struct("RetryBudget")
            .field("ratio", &ratio)
            .field("min_per_second", &(reserve / RETRY / SLOTS as i64))
            .finish_non_exhaustive()
    }
}

// === impl Balance ===

impl Balance {
    fn new(deposit: i64, min_per_second: u32) -> Self {
        Self {
            deposit,
            // At most 4.3e9 * 10 * 1e6, which fits.
            reserve: i64::from(min_per_second) * SLOTS as i64 * RETRY,
            slots: [0; SLOTS],
            start: None,
            second: 0,
        }
    }

    fn deposit(&mut self, now: u64) {
        let deposit = self.deposit;
        self.add(deposit, now);
    }

    fn withdraw(&mut self, now: u64) -> bool {
        self.expire(now);
        let slots = self.slots.iter();
        let balance = slots.fold(self.reserve, |sum, slot| sum.saturating_add(*slot));
        let is_enough = balance >= RETRY;
        if is_enough {
            self.add(-RETRY, now);
        }
        is_enough
    }

    fn add(&mut self, amount: i64, now: u64) {
        self.expire(now);
        self.slots[0] = self.slots[0].saturating_add(amount);
    }

    /// Clears the slots of the seconds that have left the window.
    fn expire(&mut self, now: u64) {
        let start = *self.start.get_or_insert(now);
        let second = now.saturating_sub(start) / SLOT_NANOS;
        let passed = second.saturating_sub(self.second);
        let passed = usize::try_from(passed).map_or(SLOTS, |passed| passed.min(SLOTS));
        self.slots.rotate_right(passed);
        self.slots[..passed].fill(0);
        self.second = self.second.max(second);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// All deposits and withdrawals, with their seconds since the first.
    struct Model {
        deposit: i64,
        reserve: i64,
        start: Option<u64>,
        all: Vec<(u64, i64)>,
    }

    impl Model {
        fn second(&mut self, now: u64) -> u64 {
            (now - *self.start.get_or_insert(now)) / SLOT_NANOS
        }

        fn deposit(&mut self, now: u64) {
            let entry = (self.second(now), self.deposit);
            self.all.push(entry);
        }

        fn withdraw(&mut self, now: u64) -> bool {
            let second = self.second(now);
            let recent = self.all.iter().filter(|(at, _)| at + 10 > second);
            let balance = self.reserve + recent.map(|(_, amount)| amount).sum::<i64>();
            if balance < RETRY {
                return false;
            }
            self.all.push((second, -RETRY));
            true
        }
    }

    fn deposit_in_new(ratio: f64) -> Option<i64> {
        let budget = RetryBudget::new(ratio, 0).ok()?;
        let deposit = lock(&budget.0).deposit;
        Some(deposit)
    }

    #[test]
    fn ratio_is_exact_to_a_millionth() {
        assert_eq!(deposit_in_new(0.0), Some(0));
        assert_eq!(deposit_in_new(0.6), Some(600_000));
        assert_eq!(deposit_in_new(0.2), Some(200_000));
        assert_eq!(deposit_in_new(0.000_001_4), Some(1));
        assert_eq!(deposit_in_new(1_000.0), Some(1_000_000_000));
    }

    #[test]
    fn ratio_out_of_range_is_a_configuration_error() {
        for ratio in [f64::NAN, -0.1, 1_000.1, f64::INFINITY, f64::NEG_INFINITY] {
            let rejected = RetryBudget::new(ratio, 1).unwrap_err();
            assert_eq!(rejected, ConfigError::RetryRatio, "{ratio}");
        }
    }

    #[test]
    fn second_leaves_the_window_after_ten() {
        let mut balance = Balance::new(RETRY, 0);
        let second = |n: u64| 7 + n * SLOT_NANOS;
        balance.deposit(second(0));
        balance.deposit(second(1) - 1);
        assert!(balance.withdraw(second(10) - 1));
        assert!(!balance.withdraw(second(10)));
        // The withdrawal leaves it, too.
        balance.deposit(second(11));
        assert!(!balance.withdraw(second(19) - 1));
        assert!(balance.withdraw(second(19)));
    }

    #[test]
    fn extreme_settings_do_not_overflow() {
        let mut balance = Balance::new(1_000 * RETRY, u32::MAX);
        balance.slots = [i64::MAX; SLOTS];
        balance.deposit(0);
        assert!(balance.withdraw(u64::MAX));
        assert_eq!(balance.slots[0], -RETRY);
    }

    proptest! {
        /// The rule against a list of all deposits and withdrawals.
        #[test]
        fn rule_equals_the_model(
            deposit in 0..=3 * RETRY,
            min_per_second in 0_u32..3,
            steps in proptest::collection::vec((any::<bool>(), 0_u64..3_000), 1..200),
        ) {
            let mut balance = Balance::new(deposit, min_per_second);
            let reserve = i64::from(min_per_second) * 10 * RETRY;
            let mut model = Model { deposit, reserve, start: None, all: Vec::new() };
            let mut now = 0;
            for (is_deposit, passed) in steps {
                // Mostly short pauses, some longer than the window.
                now += passed * passed * 2_000;
                match is_deposit {
                    true => {
                        balance.deposit(now);
                        model.deposit(now);
                    }
                    false => prop_assert_eq!(balance.withdraw(now), model.withdraw(now)),
                }
            }
        }
    }
}
