//! What settings mean for the layers: their defaults, and the values that layers take.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::Quota;
use toolbooth_core::Name;

use super::pattern::is_pattern;
use super::plan::{AttemptLimits, Queue};
use super::values::{BreakerSettings, Keep, PartialSettings, Rate, RateSettings, RetrySettings};
use crate::middleware::{ConfigError, PerTool};
use crate::queue::Order;
use crate::{BreakerPolicy, PartialResultLayer, RetryBudget, RetryPolicy, TimeoutLayer};

/// The retries in a second that are allowed beside those that calls deposit, as by default.
const MIN_RETRIES_PER_SECOND: u32 = 10;

// === impl RateSettings ===

impl RateSettings {
    /// Returns the quotas, the first one first.
    pub(super) fn quotas(&self) -> impl Iterator<Item = Quota> + '_ {
        self.rates.iter().filter_map(Rate::quota)
    }
}

impl Rate {
    /// Returns the quota; `None` for a rate that is not in range.
    fn quota(&self) -> Option<Quota> {
        let interval = self.per.checked_div(self.calls)?;
        let burst = NonZeroU32::new(self.burst.unwrap_or(self.calls))?;
        Some(Quota::with_period(interval)?.allow_burst(burst))
    }
}

// === impl BreakerSettings ===

impl BreakerSettings {
    pub(super) const WINDOW: Duration = Duration::from_secs(60);
    pub(super) const OPEN: Duration = Duration::from_secs(30);
    const FAILURES: u32 = 5;

    pub(super) fn failures_in_a_row(&self) -> Option<u32> {
        match (self.failures, self.failure_rate, self.slow) {
            (None, None, None) => Some(Self::FAILURES),
            (given, ..) => given,
        }
    }

    pub(super) fn slow_rate(&self) -> f64 {
        self.slow_rate.unwrap_or(0.5)
    }

    /// Returns the rules of the breaker.
    pub(super) fn policy(&self) -> Result<BreakerPolicy, ConfigError> {
        let window = self.window.unwrap_or(Self::WINDOW);
        let mut policy = BreakerPolicy::new()
            .with_open_time(self.open.unwrap_or(Self::OPEN))
            .with_probes(self.probes.unwrap_or(1))?;
        if let Some(failures) = self.failures_in_a_row() {
            policy = policy.with_consecutive_failures(failures)?;
        }
        if let Some(rate) = self.failure_rate {
            policy = policy.with_failure_rate(rate, window)?;
        }
        if let Some(slow) = self.slow {
            policy = policy.with_slow_calls(slow, self.slow_rate(), window)?;
        }
        if let Some(calls) = self.min_calls {
            policy = policy.with_minimum_calls(calls);
        }
        Ok(policy)
    }
}

// === impl RetrySettings ===

impl RetrySettings {
    pub(super) fn attempts(&self) -> u32 {
        self.attempts.unwrap_or(3)
    }

    pub(super) fn backoff(&self) -> Duration {
        self.backoff.unwrap_or(Duration::from_millis(100))
    }

    pub(super) fn max_backoff(&self) -> Duration {
        self.max_backoff.unwrap_or(Duration::from_secs(10))
    }

    pub(super) fn budget(&self) -> f64 {
        self.budget.unwrap_or(0.2)
    }

    /// Returns a full budget.
    pub(super) fn new_budget(&self) -> Result<RetryBudget, ConfigError> {
        RetryBudget::new(self.budget(), MIN_RETRIES_PER_SECOND)
    }

    /// Returns the policy of a tool.
    pub(super) fn policy(&self, budget: RetryBudget, idempotent: Option<bool>) -> RetryPolicy {
        let mut policy = RetryPolicy::new(self.attempts())
            .with_backoff(self.backoff(), self.max_backoff())
            .with_budget(budget);
        if let Some(max) = self.max_retry_after {
            policy = policy.with_max_retry_after(max);
        }
        if let Some(idempotent) = idempotent {
            policy = policy.with_idempotent(idempotent);
        }
        policy
    }
}

// === impl PartialSettings ===

impl PartialSettings {
    pub(super) fn items(&self) -> u32 {
        self.items.unwrap_or(1_024)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes.unwrap_or(1 << 20)
    }

    pub(super) fn layer(&self) -> PartialResultLayer {
        let (items, bytes) = (to_usize(self.items().into()), to_usize(self.bytes()));
        let layer = PartialResultLayer::new()
            .with_max_items(items)
            .with_max_bytes(bytes);
        match self.keep {
            Some(Keep::Last) => layer.with_drop_oldest(),
            Some(Keep::First) | None => layer,
        }
    }
}

// === impl AttemptLimits ===

impl AttemptLimits {
    /// Returns the layer; `None` if there is no limit.
    pub(super) fn layer(&self) -> Option<TimeoutLayer> {
        let limits = [self.timeout, self.idle, self.first_item];
        limits.iter().any(Option::is_some).then(|| {
            TimeoutLayer::new(self.timeout)
                .with_idle(self.idle)
                .with_first_item(self.first_item)
                .with_grace(self.grace.unwrap_or_default())
        })
    }
}

// === impl Queue ===

impl Queue {
    /// Returns how many calls wait at most.
    pub(super) fn calls(&self) -> usize {
        to_usize(self.capacity.unwrap_or(0).into())
    }

    pub(super) fn order(&self) -> Order {
        let order = match &self.priorities {
            None if self.fair => {
                Order::fair_by(|call| call.tenant().map_or(Name::from_static(""), Name::from))
            }
            None => Order::fifo(),
            Some(priorities) => {
                let tools = priorities.iter();
                // The priority of all members that a pattern names.
                let of_pattern = tools.clone().find(|(name, _)| is_pattern(name));
                let rest = of_pattern.map_or_else(PerTool::none, |(_, rest)| PerTool::new(*rest));
                let tools = tools.fold(rest, |tools, (name, priority)| {
                    tools.with(Name::clone(name), *priority)
                });
                Order::priority().with_tool_priorities(tools)
            }
        };
        match self.aging {
            Some(aging) => order.with_aging(aging),
            None => order,
        }
    }
}

fn to_usize(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
