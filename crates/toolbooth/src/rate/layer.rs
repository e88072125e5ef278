use std::time::Duration;

use governor::Quota;
use toolbooth_core::{CallContext, Moment, Name};
use tower_layer::Layer;

use super::RateLimit;
use super::gcra::Gcra;
use crate::middleware::{ConfigError, PerTool};
use crate::queue::{Cost, Key, Limits, Order};

/// Lets so many calls start in a time; the others wait for their turn, or are refused. See the [module](super).
///
/// Clones share one bucket, and so do all services that one value was applied to. Settings by `with_*` are for all clones, unless they say otherwise.
#[derive(Debug, Clone)]
pub struct RateLimitLayer {
    limits: Option<Limits<Gcra>>,
    reject: bool,
}

// === impl RateLimitLayer ===

impl RateLimitLayer {
    /// Calls start by `quota`, those of all tools together; `None` is no limit. A call that finds no token waits for one.
    #[must_use]
    pub fn new(quota: impl Into<Option<Quota>>) -> Self {
        Self {
            limits: quota.into().map(Limits::one),
            reject: false,
        }
    }

    /// A quota for each tool, with a bucket and a line of its own.
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
        Self {
            limits: Some(Limits::keyed(quotas.into(), None)),
            reject: false,
        }
    }

    /// A quota for each key, such as each tenant, with a bucket and a line of its own. Keys that [`PerTool::with`] names have their own quota, or none.
    ///
    /// The key is asked for in `call`, once for a call, and not under a lock. See [`with_key_bounds`](Self::with_key_bounds) for how many keys there may be.
    ///
    /// ```
    /// use std::num::NonZeroU32;
    /// use toolbooth::{Quota, RateLimitLayer};
    ///
    /// let hourly = Quota::per_hour(NonZeroU32::MIN);
    /// let by_tenant = RateLimitLayer::by(hourly, |call| call.tenant().unwrap_or("nobody").into());
    /// assert_eq!(by_tenant.remaining_for("somebody"), 1);
    /// ```
    #[must_use]
    pub fn by(
        quotas: impl Into<PerTool<Quota>>,
        key: impl Fn(&CallContext) -> Name + Send + Sync + 'static,
    ) -> Self {
        Self {
            limits: Some(Limits::keyed(quotas.into(), Some(Key::new(key)))),
            reject: false,
        }
    }

    /// Of a limit by tool or by key: these tools, or keys, share one bucket and one line, instead of each having its own. It changes nothing of a limit that is one for all.
    #[must_use]
    pub fn with_group<N: Into<Name>>(
        self,
        quota: Quota,
        members: impl IntoIterator<Item = N>,
    ) -> Self {
        if let Some(limits) = &self.limits {
            limits.add_group(quota, members.into_iter().map(Into::into));
        }
        self
    }

    /// How many tokens a call takes: 1 where nothing is said, for this value and those that are cloned from it. A call that takes 0 does not wait.
    ///
    /// A call that takes more than the burst is refused at once, as `Overloaded`.
    ///
    /// ```
    /// use std::num::NonZeroU32;
    /// use toolbooth::{Quota, RateLimitLayer};
    ///
    /// /// Of a language model, as the caller estimates them, sent along as an extension.
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
        self.limits = self.limits.map(|limits| limits.with_cost(Cost::new(cost)));
        self
    }

    /// Refuses a call that finds no token, as `RateLimited`, with the time after which there is one. For this value and those that are cloned from it.
    #[must_use]
    pub const fn reject(mut self) -> Self {
        self.reject = true;
        self
    }

    /// Lets a call that finds no token wait for one. This is the default.
    #[must_use]
    pub const fn wait(mut self) -> Self {
        self.reject = false;
        self
    }

    /// How many calls may wait in each line: 1,024 where nothing is said. One more is refused as `Overloaded`.
    #[must_use]
    pub fn with_queue_capacity(self, calls: usize) -> Self {
        if let Some(limits) = &self.limits {
            limits.configure(|line| line.capacity = calls);
        }
        self
    }

    /// How long a call may wait. One whose token would come later is refused at once, as
    /// `RateLimited`; as long as its deadline allows where nothing is said.
    #[must_use]
    pub fn with_max_wait(self, max_wait: Duration) -> Self {
        if let Some(limits) = &self.limits {
            limits.configure(|line| line.max_wait = Some(max_wait));
        }
        self
    }

    /// Who of those who wait goes first: [`Order::fifo`] where nothing is said.
    ///
    /// In any other order a call may be overtaken by one that comes later, so that it may wait longer than could be told when it came: then it ends
    /// at its deadline, or at [`with_max_wait`](Self::with_max_wait).
    #[must_use]
    pub fn with_order(self, order: Order) -> Self {
        if let Some(limits) = &self.limits {
            limits.set_order(order);
        }
        self
    }

    /// Of a limit by tool or by key: how many keys there may be, 10,000 where nothing is said, and after how long without a call one is forgotten, 10 minutes.
    ///
    /// A key whose bucket is not full, or of which a call waits, is never forgotten: no call gets a token too many. A call with a new
    /// key that finds as many as may be, none of them idle, is refused as `Overloaded`. Of more than 16, one that became idle less than a
    /// microsecond a key before may be overlooked, 10 ms before where there are 10,000.
    #[must_use]
    pub fn with_key_bounds(self, keys: usize, idle: Duration) -> Self {
        if let Some(limits) = &self.limits {
            limits.set_bounds(keys, idle);
        }
        self
    }

    /// Changes the quota while calls wait; of a limit by tool or by key the one of all those that have none of their own and are in no group.
    ///
    /// Calls stay in line, and start by the new quota from now on, some of them at once where
    /// it is higher. As many tokens as were taken and have not come back by now are so still, at most the whole burst.
    ///
    /// # Errors
    /// [`ConfigError::NoLimit`] where this layer was made without a limit.
    pub fn set_quota(&self, quota: Quota) -> Result<(), ConfigError> {
        let limits = self.limits.as_ref().ok_or(ConfigError::NoLimit)?;
        limits.change(quota);
        Ok(())
    }

    /// As [`set_quota`](Self::set_quota), for one tool or key, or for the group that it is in.
    ///
    /// # Errors
    /// Those, and [`ConfigError::NotByKey`] where one quota is for all calls.
    pub fn set_quota_for(&self, key: impl Into<Name>, quota: Quota) -> Result<(), ConfigError> {
        let limits = self.limits.as_ref().ok_or(ConfigError::NoLimit)?;
        limits.change_for(&key.into(), quota)
    }

    /// How many tokens there are at this moment, of a limit by tool or by key where there are fewest; `u32::MAX` without a limit.
    #[must_use]
    pub fn remaining(&self) -> u32 {
        let now = Moment::now();
        let lines = self.limits.as_ref().map(Limits::all).unwrap_or_default();
        let remaining = lines.iter().map(|line| line.rule().remaining(now));
        remaining.min().unwrap_or(u32::MAX)
    }

    /// How many tokens there are for a tool or a key at this moment; `u32::MAX` where it has no limit.
    #[must_use]
    pub fn remaining_for(&self, key: &str) -> u32 {
        let Some(limits) = &self.limits else {
            return u32::MAX;
        };
        match limits.line_of(key) {
            Some(line) => line.rule().remaining(Moment::now()),
            None => limits
                .setting_of(key)
                .map_or(u32::MAX, |quota| quota.burst_size().get()),
        }
    }

    /// How long until all tokens are back, if no call takes one meanwhile; of a limit by tool or by key where that takes longest. Zero without a limit.
    #[must_use]
    pub fn reset_after(&self) -> Duration {
        let now = Moment::now();
        let lines = self.limits.as_ref().map(Limits::all).unwrap_or_default();
        let reset = lines.iter().map(|line| line.rule().full_at().since(now));
        reset.max().unwrap_or_default()
    }

    /// How long until all tokens of a tool or a key are back, if no call takes one meanwhile.
    #[must_use]
    pub fn reset_after_for(&self, key: &str) -> Duration {
        let line = self.limits.as_ref().and_then(|limits| limits.line_of(key));
        line.map_or(Duration::ZERO, |line| {
            line.rule().full_at().since(Moment::now())
        })
    }

    /// How many calls wait for a token.
    #[must_use]
    pub fn queued(&self) -> usize {
        let lines = self.limits.as_ref().map(Limits::all).unwrap_or_default();
        lines.iter().map(|line| line.queued()).sum()
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimit<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimit::new(inner, self.limits.clone(), self.reject)
    }
}
