use std::time::Duration;

use toolbooth_core::{CallContext, Name};
use tower_layer::Layer;

use super::ConcurrencyLimit;
use super::permits::{Permits, count};
use crate::middleware::{ConfigError, PerTool};
use crate::queue::{Cost, Key, Limits, Order};

/// Lets so many calls run at once; the others wait in line. See the [module](super).
///
/// Clones share one limit, and so do all services that one value was applied to. Settings by `with_*` are for all clones, unless they say otherwise.
#[derive(Debug, Clone)]
pub struct ConcurrencyLimitLayer {
    limits: Option<Limits<Permits>>,
}

// === impl ConcurrencyLimitLayer ===

impl ConcurrencyLimitLayer {
    /// At most `limit` calls at once, of all tools together; `None` is no limit; 0 is closed: every call is refused.
    #[must_use]
    pub fn new(limit: impl Into<Option<usize>>) -> Self {
        Self {
            limits: limit.into().map(Limits::one),
        }
    }

    /// As [`new`](Self::new), for limits that come from a configuration.
    ///
    /// # Errors
    /// [`ConfigError::ZeroLimit`] for 0.
    pub fn try_new(limit: impl Into<Option<usize>>) -> Result<Self, ConfigError> {
        match limit.into() {
            Some(0) => Err(ConfigError::ZeroLimit),
            limit => Ok(Self::new(limit)),
        }
    }

    /// A limit for each tool, with a line of its own: a tool whose limit is reached delays no other.
    ///
    /// ```
    /// use toolbooth::{ConcurrencyLimitLayer, PerTool};
    ///
    /// let limit = ConcurrencyLimitLayer::per_tool(PerTool::new(10).with("browser", 2).with("echo", None));
    /// assert_eq!(limit.available_for("browser"), 2);
    /// assert_eq!(limit.available_for("search"), 10);
    /// assert_eq!(limit.available_for("echo"), usize::MAX);
    /// ```
    #[must_use]
    pub fn per_tool(limits: impl Into<PerTool<usize>>) -> Self {
        Self {
            limits: Some(Limits::keyed(limits.into(), None)),
        }
    }

    /// A limit for each key, such as each tenant, with a line of its own. Keys that [`PerTool::with`] names have their own limit, or none.
    ///
    /// The key is asked for in `call`, once for a call, and not under a lock. See [`with_key_bounds`](Self::with_key_bounds) for how many keys there may be.
    ///
    /// ```
    /// use toolbooth::{ConcurrencyLimitLayer, PerTool};
    ///
    /// let by_tenant = ConcurrencyLimitLayer::by(PerTool::new(2).with("internal", 20), |call| {
    ///     call.tenant().unwrap_or("nobody").into()
    /// });
    /// assert_eq!(by_tenant.available_for("internal"), 20);
    /// assert_eq!(by_tenant.available_for("somebody"), 2);
    /// ```
    #[must_use]
    pub fn by(
        limits: impl Into<PerTool<usize>>,
        key: impl Fn(&CallContext) -> Name + Send + Sync + 'static,
    ) -> Self {
        Self {
            limits: Some(Limits::keyed(limits.into(), Some(Key::new(key)))),
        }
    }

    /// How many permits a call takes: 1 where nothing is said, for this value and those that are cloned from it. A call that takes 0 does not wait.
    ///
    /// A call that takes several starts when as many are free together, and nobody behind it in line starts before. One that takes more
    /// than the limit is refused at once, as `Overloaded`.
    ///
    /// ```
    /// use toolbooth::ConcurrencyLimitLayer;
    ///
    /// /// What a call will need, sent along as an extension.
    /// struct Kilobytes(usize);
    ///
    /// let memory = ConcurrencyLimitLayer::new(4_096)
    ///     .with_cost(|call| call.extension::<Kilobytes>().map_or(1, |size| size.0));
    /// # drop(memory);
    /// ```
    #[must_use]
    pub fn with_cost(
        mut self,
        permits: impl Fn(&CallContext) -> usize + Send + Sync + 'static,
    ) -> Self {
        let cost = move |context: &CallContext| count(permits(context));
        self.limits = self.limits.map(|limits| limits.with_cost(Cost::new(cost)));
        self
    }

    /// How many calls may wait in each line: 1,024 where nothing is said, and with 0 a call that finds no
    /// permit is refused at once. One more is refused as `Overloaded`.
    #[must_use]
    pub fn with_queue_capacity(self, calls: usize) -> Self {
        if let Some(limits) = &self.limits {
            limits.configure(|line| line.capacity = calls);
        }
        self
    }

    /// How long a call may wait before it is refused as `Overloaded`; as long as its deadline allows where nothing is said.
    #[must_use]
    pub fn with_max_wait(self, max_wait: Duration) -> Self {
        if let Some(limits) = &self.limits {
            limits.configure(|line| line.max_wait = Some(max_wait));
        }
        self
    }

    /// Who of those who wait goes first: [`Order::fifo`] where nothing is said.
    #[must_use]
    pub fn with_order(self, order: Order) -> Self {
        if let Some(limits) = &self.limits {
            limits.set_order(order);
        }
        self
    }

    /// About how long a call takes. With it a call that cannot start before its deadline, or
    /// within [`with_max_wait`](Self::with_max_wait), since so many are ahead of it, is refused at once, as `Overloaded`; without it such a call waits until then.
    ///
    /// Say rather too little: a call that could have started is refused else.
    #[must_use]
    pub fn with_service_time(self, about: Duration) -> Self {
        if let Some(limits) = &self.limits {
            limits.configure(|line| line.service_time = Some(about));
        }
        self
    }

    /// Of a limit by tool or by key: how many keys there may be, 10,000 where nothing is said, and after how long without a call one is forgotten, 10 minutes.
    ///
    /// A key of which a call runs or waits is never forgotten. A call with a new key that finds as many as may be, all of them in use, is refused as `Overloaded`.
    /// Of more than 16, one that became idle less than a microsecond a key before may be overlooked, 10 ms before where there are 10,000.
    #[must_use]
    pub fn with_key_bounds(self, keys: usize, idle: Duration) -> Self {
        if let Some(limits) = &self.limits {
            limits.set_bounds(keys, idle);
        }
        self
    }

    /// Changes the limit while calls run and wait; of a limit by tool or by key the one of all those that have none of their own.
    ///
    /// Calls that wait stay in line. Where the limit is raised, those that may run by now do at once; where it is lowered, those that run are not cut, and the
    /// next one starts when there is room under the new limit. Only a call that takes more permits than there ever are now is refused.
    ///
    /// # Errors
    /// [`ConfigError::ZeroLimit`] for 0, and [`ConfigError::NoLimit`] where this layer was made without a limit.
    pub fn set_limit(&self, limit: usize) -> Result<(), ConfigError> {
        let limits = self.changeable(limit)?;
        limits.change(limit);
        Ok(())
    }

    /// As [`set_limit`](Self::set_limit), for one tool or key.
    ///
    /// # Errors
    /// Those, and [`ConfigError::NotByKey`] where one limit is for all calls.
    pub fn set_limit_for(&self, key: impl Into<Name>, limit: usize) -> Result<(), ConfigError> {
        self.changeable(limit)?.change_for(&key.into(), limit)
    }

    fn changeable(&self, limit: usize) -> Result<&Limits<Permits>, ConfigError> {
        match (&self.limits, limit) {
            (_, 0) => Err(ConfigError::ZeroLimit),
            (None, _) => Err(ConfigError::NoLimit),
            (Some(limits), _) => Ok(limits),
        }
    }

    /// How many permits are free, of a limit by tool or by key where there are fewest; `usize::MAX` without a limit.
    #[must_use]
    pub fn available(&self) -> usize {
        let lines = self.limits.as_ref().map(Limits::all).unwrap_or_default();
        let available = lines.iter().map(|line| line.rule().available());
        available.min().unwrap_or(usize::MAX)
    }

    /// How many permits are free for a tool or a key; `usize::MAX` where it has no limit.
    #[must_use]
    pub fn available_for(&self, key: &str) -> usize {
        let Some(limits) = &self.limits else {
            return usize::MAX;
        };
        match limits.line_of(key) {
            Some(line) => line.rule().available(),
            None => limits.setting_of(key).unwrap_or(usize::MAX),
        }
    }

    /// How many permits are held. Not counted without a limit.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        let lines = self.limits.as_ref().map(Limits::all).unwrap_or_default();
        lines.iter().map(|line| line.rule().in_flight()).sum()
    }

    /// How many calls wait for a permit.
    #[must_use]
    pub fn queued(&self) -> usize {
        let lines = self.limits.as_ref().map(Limits::all).unwrap_or_default();
        lines.iter().map(|line| line.queued()).sum()
    }
}

impl<S> Layer<S> for ConcurrencyLimitLayer {
    type Service = ConcurrencyLimit<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ConcurrencyLimit::new(inner, self.limits.clone())
    }
}
