use std::time::Duration;

use governor::Quota;
use toolbooth_core::{CallContext, Moment, Name};
use tower_layer::Layer;

use super::RateLimit;
use super::gcra::Gcra;
use crate::middleware::{ConfigError, PerTool};
use crate::queue::{Limits, Order};

/// Limits how many calls start in a time; other calls wait or are rejected. See the
/// [module](super).
///
/// Clones share one bucket, and so do all services made of one value. The `set_*` methods change
/// the limit that they share, while calls wait.
///
/// The `with_*` methods configure one value: call them before it is cloned or applied to a
/// service. Called later, they return a value with a bucket of its own, and the others stay as
/// they are. [`with_cost`](Self::with_cost), [`reject`](Self::reject) and [`wait`](Self::wait) keep
/// the bucket shared.
#[derive(Debug, Clone)]
pub struct RateLimitLayer {
    limits: Limits<Gcra>,
    reject: bool,
}

// === impl RateLimitLayer ===

impl RateLimitLayer {
    /// Limits the calls of all tools together by `quota`; `None` is no limit.
    ///
    /// A call that finds no token waits for one.
    #[must_use]
    pub fn new(quota: impl Into<Option<Quota>>) -> Self {
        let limits = quota.into().map(Limits::single);
        Self::of(limits.unwrap_or_else(Limits::unlimited))
    }

    /// Limits each tool by a quota of its own, each with its own bucket and queue.
    ///
    /// ```
    /// use std::num::NonZeroU32;
    /// use toolbooth::{PerTool, Quota, RateLimitLayer};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let [two, ten] = [2, 10].map(NonZeroU32::new).map(|n| n.ok_or("not 0"));
    /// let (two, ten) = (Quota::per_second(two?), Quota::per_second(ten?));
    /// // `search` and `read` call the same API; `echo` has no limit.
    /// let rate = RateLimitLayer::per_tool(PerTool::new(ten).with("echo", None))
    ///     .with_group(two, ["search", "read"]);
    /// assert_eq!(rate.remaining_for("read"), 2);
    /// assert_eq!(rate.remaining_for("write"), 10);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn per_tool(quotas: impl Into<PerTool<Quota>>) -> Self {
        Self::of(Limits::per_tool(quotas.into()))
    }

    /// Limits each key by a quota of its own, such as each tenant, each with its own bucket and
    /// queue.
    ///
    /// Keys that [`PerTool::with`] names have their own quota, or none.
    ///
    /// The key function is called in `call`, once for each call, without a lock.
    /// [`with_key_bounds`](Self::with_key_bounds) bounds the number of keys.
    ///
    /// ```
    /// use std::num::NonZeroU32;
    /// use toolbooth::{Quota, RateLimitLayer};
    ///
    /// let hourly = Quota::per_hour(NonZeroU32::MIN);
    /// let by_tenant = RateLimitLayer::by(hourly, |call| call.tenant().unwrap_or("none").into());
    /// assert_eq!(by_tenant.remaining_for("acme"), 1);
    /// ```
    #[must_use]
    pub fn by(
        quotas: impl Into<PerTool<Quota>>,
        key: impl Fn(&CallContext) -> Name + Send + Sync + 'static,
    ) -> Self {
        Self::of(Limits::by_key(quotas.into(), key))
    }

    const fn of(limits: Limits<Gcra>) -> Self {
        let reject = false;
        Self { limits, reject }
    }

    /// Makes tools or keys share one bucket and one queue.
    ///
    /// It has no effect unless the limit is by tool or by key.
    #[must_use]
    pub fn with_group<N: Into<Name>>(
        mut self,
        quota: Quota,
        members: impl IntoIterator<Item = N>,
    ) -> Self {
        let members = members.into_iter().map(Into::into);
        self.limits = self.limits.with_group(quota, members);
        self
    }

    /// Sets how many tokens a call takes: 1 by default.
    ///
    /// It applies to this value and its clones. Values that were cloned before share the bucket,
    /// and keep their own cost. A call that takes 0 tokens does not wait. A call that takes more
    /// than the burst is rejected as `Overloaded`.
    ///
    /// ```
    /// use std::num::NonZeroU32;
    /// use toolbooth::{Quota, RateLimitLayer};
    ///
    /// /// Tokens of a language model, as the caller estimates them, sent along as an extension.
    /// struct Tokens(u32);
    ///
    /// # fn main() -> Result<(), &'static str> {
    /// let minute = Quota::per_minute(NonZeroU32::new(90_000).ok_or("not 0")?);
    /// let rate = RateLimitLayer::new(minute)
    ///     .with_cost(|call| call.extension::<Tokens>().map_or(1, |tokens| tokens.0));
    /// # drop(rate);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn with_cost(
        mut self,
        tokens: impl Fn(&CallContext) -> u32 + Send + Sync + 'static,
    ) -> Self {
        let cost = move |context: &CallContext| u64::from(tokens(context));
        self.limits = self.limits.with_cost(cost);
        self
    }

    /// Rejects a call that finds no token, as `RateLimited` with the time until there is one.
    ///
    /// It applies to this value and its clones.
    #[must_use]
    pub const fn reject(mut self) -> Self {
        self.reject = true;
        self
    }

    /// Makes a call that finds no token wait for one. This is the default.
    #[must_use]
    pub const fn wait(mut self) -> Self {
        self.reject = false;
        self
    }

    /// Sets how many calls may wait in each queue: 1,024 by default.
    ///
    /// One more is rejected as `Overloaded`.
    #[must_use]
    pub fn with_queue_capacity(mut self, calls: usize) -> Self {
        self.limits = self.limits.with_settings(|queue| queue.capacity = calls);
        self
    }

    /// Sets how long a call may wait. By default, or with `None`, it waits until its deadline.
    ///
    /// A call whose token would come later is rejected at once, as `RateLimited`.
    #[must_use]
    pub fn with_max_wait(mut self, max_wait: impl Into<Option<Duration>>) -> Self {
        let max_wait = max_wait.into();
        self.limits = self.limits.with_settings(|queue| queue.max_wait = max_wait);
        self
    }

    /// Sets the order in which waiting calls start: [`Order::fifo`] by default.
    ///
    /// In any other order a later call may overtake, so that a call may wait longer than predicted
    /// when it arrived. Then its wait ends at its deadline, or at
    /// [`with_max_wait`](Self::with_max_wait).
    #[must_use]
    pub fn with_order(mut self, order: Order) -> Self {
        let order = order.into_setting();
        self.limits = self
            .limits
            .with_settings(|queue| queue.order.clone_from(&order));
        self
    }

    /// Bounds the keys of a limit by tool or by key.
    ///
    /// There are at most `keys` keys: 10,000 by default. A key that is unused for `idle` may be
    /// removed: 10 minutes by default.
    ///
    /// A key whose bucket is not full, or of which a call waits, is never removed: no call gets a
    /// token too many. A call with a new key is rejected as `Overloaded` if all keys are in use.
    /// With more than 16 keys, a key may be overlooked that came out of use less than a microsecond
    /// a key ago: 10 ms for 10,000 keys.
    #[must_use]
    pub fn with_key_bounds(mut self, keys: usize, idle: Duration) -> Self {
        self.limits = self.limits.with_key_bounds(keys, idle);
        self
    }

    /// Changes the quota while calls wait.
    ///
    /// Of a limit by tool or by key, it changes that of each key which has none of its own and is
    /// in no group.
    ///
    /// Waiting calls stay in the queue and start by the new quota from now on; if it is higher,
    /// some start at once. Tokens that are missing by now stay missing, up to the new burst.
    ///
    /// # Errors
    /// [`ConfigError::NoLimit`] for a layer that was created without a limit.
    pub fn set_quota(&self, quota: Quota) -> Result<(), ConfigError> {
        self.limits.set_limit(quota)
    }

    /// As [`set_quota`](Self::set_quota), for one tool or key, or for its group.
    ///
    /// # Errors
    /// As `set_quota`, and [`ConfigError::NotByKey`] if one quota is for all calls.
    pub fn set_quota_for(&self, key: impl Into<Name>, quota: Quota) -> Result<(), ConfigError> {
        self.limits.set_limit_for(&key.into(), quota)
    }

    /// Changes how many calls may wait in each queue. Calls that wait already stay.
    pub fn set_queue_capacity(&self, calls: usize) {
        self.limits.configure(|queue| queue.capacity = calls);
    }

    /// Changes how long a call may wait, also for calls that wait already. `None` is no limit.
    pub fn set_max_wait(&self, max_wait: impl Into<Option<Duration>>) {
        let max_wait = max_wait.into();
        self.limits.configure(|queue| queue.max_wait = max_wait);
    }

    /// Changes the order in which waiting calls start, also for calls that wait already.
    ///
    /// The priority and the key of a call are read when it is enqueued, if the order then uses
    /// them. A call that waits already has priority 0 and no key otherwise.
    pub fn set_order(&self, order: Order) {
        let order = order.into_setting();
        self.limits
            .configure(|queue| queue.order.clone_from(&order));
    }

    /// Returns how many tokens there are now: `u32::MAX` without a limit.
    ///
    /// Of a limit by tool or by key, it is that of the key with the fewest.
    #[must_use]
    pub fn remaining(&self) -> u32 {
        let now = Moment::now();
        let queues = self.limits.queues();
        let remaining = queues.iter().map(|queue| queue.limiter().remaining(now));
        remaining.min().unwrap_or(u32::MAX)
    }

    /// Returns how many tokens there are now for a tool or a key: `u32::MAX` if it has no limit.
    #[must_use]
    pub fn remaining_for(&self, key: &str) -> u32 {
        match self.limits.queue_of(key) {
            Some(queue) => queue.limiter().remaining(Moment::now()),
            None => {
                let quota = self.limits.limit_of(key);
                quota.map_or(u32::MAX, |quota| quota.burst_size().get())
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

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimit<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimit::new(inner, self.limits.clone(), self.reject)
    }
}
