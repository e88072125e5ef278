use std::time::Duration;

#[cfg(feature = "http")]
use toolbooth_core::RequestHead;
use toolbooth_core::{CallContext, Name};
use tower_layer::Layer;

use super::ConcurrencyLimit;
use super::permits::{Permits, in_flight, to_u64};
use crate::middleware::{ConfigError, KeyFn, PerTool, layer_name, limit_events};
use crate::queue::{Limits, Order, QueueSetting};
use crate::shared::SharedStore;

/// Limits how many calls run at once; other calls wait in a queue. See the [module](super).
///
/// Clones share one limit, and so do all services made of one value. The `set_*` methods change
/// the limit that they share, while calls run and wait.
///
/// The `with_*` methods configure one value: call them before it is cloned or applied to a
/// service. Called later, they return a value with a limit of its own, and the others stay as
/// they are. [`with_cost`](Self::with_cost), [`with_name`](Self::with_name) and
/// [`with_hold_until_ended`](Self::with_hold_until_ended) keep the limit shared.
#[derive(Clone)]
pub struct ConcurrencyLimitLayer {
    pub(super) limits: Limits<Permits>,
    until_ended: bool,
}

// === impl ConcurrencyLimitLayer ===

impl ConcurrencyLimitLayer {
    /// Limits how many calls of all tools together run at once.
    ///
    /// `None` is no limit. 0 is a closed limit: every call is rejected.
    #[must_use]
    pub fn new(limit: impl Into<Option<usize>>) -> Self {
        let limits = limit.into().map(Limits::single);
        Self::of(limits.unwrap_or_else(Limits::unlimited))
    }

    /// As [`new`](Self::new), for a limit that comes from a configuration.
    ///
    /// # Errors
    /// [`ConfigError::ZeroLimit`] for 0.
    pub fn try_new(limit: impl Into<Option<usize>>) -> Result<Self, ConfigError> {
        match limit.into() {
            Some(0) => Err(ConfigError::ZeroLimit),
            limit => Ok(Self::new(limit)),
        }
    }

    /// Limits each tool on its own, each with its own queue.
    ///
    /// A tool at its limit delays no other tool.
    ///
    /// ```
    /// use toolbooth::{ConcurrencyLimitLayer, PerTool};
    ///
    /// let limits = PerTool::new(10).with("browser", 2).with("echo", None);
    /// let limit = ConcurrencyLimitLayer::per_tool(limits);
    /// assert_eq!(limit.available_for("browser"), 2);
    /// assert_eq!(limit.available_for("search"), 10);
    /// assert_eq!(limit.available_for("echo"), usize::MAX);
    /// ```
    #[must_use]
    pub fn per_tool(limits: impl Into<PerTool<usize>>) -> Self {
        Self::of(Limits::per_tool(limits.into()))
    }

    /// Limits each key on its own, such as each tenant, each with its own queue.
    ///
    /// Keys that [`PerTool::with`] names have their own limit, or none.
    ///
    /// The key function is called in `call`, once for each call, without a lock.
    /// [`with_key_bounds`](Self::with_key_bounds) bounds the number of keys.
    ///
    /// ```
    /// use toolbooth::{ConcurrencyLimitLayer, PerTool};
    ///
    /// let by_tenant = ConcurrencyLimitLayer::by(PerTool::new(2).with("internal", 20), |call| {
    ///     call.tenant().unwrap_or("none").into()
    /// });
    /// assert_eq!(by_tenant.available_for("internal"), 20);
    /// assert_eq!(by_tenant.available_for("acme"), 2);
    /// ```
    #[must_use]
    pub fn by(
        limits: impl Into<PerTool<usize>>,
        key: impl Fn(&CallContext) -> Name + Send + Sync + 'static,
    ) -> Self {
        Self::of(Limits::by_key(limits.into(), KeyFn::of_call(key)))
    }

    /// As [`by`](Self::by), with a key of the head of an `http::Request`: a header, an extension
    /// such as the address of the peer, or a segment of the path.
    ///
    /// A client chooses its headers. A key of more than 1,024 bytes is rejected as
    /// `InvalidArguments`, and [`with_key_bounds`](Self::with_key_bounds) bounds the number of
    /// keys. A request of another type has the empty key.
    ///
    /// ```
    /// use toolbooth::ConcurrencyLimitLayer;
    ///
    /// // `/tenants/{tenant}/..`
    /// let by_tenant = ConcurrencyLimitLayer::by_request(2, |request| {
    ///     request.path_segment(1).unwrap_or("none").into()
    /// });
    /// assert_eq!(by_tenant.available_for("acme"), 2);
    /// ```
    #[cfg(feature = "http")]
    #[must_use]
    pub fn by_request(
        limits: impl Into<PerTool<usize>>,
        key: impl Fn(&RequestHead<'_>) -> Name + Send + Sync + 'static,
    ) -> Self {
        Self::of(Limits::by_key(limits.into(), KeyFn::of_request(key)))
    }

    const fn of(limits: Limits<Permits>) -> Self {
        Self {
            limits,
            until_ended: false,
        }
    }

    /// Makes a call keep its permits until everything that it started has ended.
    ///
    /// That is, besides the response: its cleanup hooks, the tasks that it
    /// [spawned](CallContext::spawn), the task of a [`SpawnLayer`](crate::SpawnLayer) inside, and
    /// the processes of a `CommandTool`. So it is for calls inside of it, such as
    /// [children](CallContext::child). The caller still receives the response without waiting.
    ///
    /// Use it for an exclusive resource that hooks bring back to order: a database connection, a
    /// browser. By default the permits are released with the response, before the hooks run. So
    /// slow hooks delay no call, but the next call may start before they have ended.
    /// [Blocking tasks](CallContext::spawn_blocking) keep the permits in both cases: they cannot be
    /// stopped.
    ///
    /// The wait is bounded: by the limit of each hook, the kill grace of a process, and the end of
    /// the runtime. Not bounded is a task that blocks its thread. A call that a hook makes with
    /// [`CleanupEnd::child`](crate::CleanupEnd::child) needs no permit.
    ///
    /// If no cleanup layer is inside of this layer, the hooks run at the end of the call, outside
    /// of a retry. Later attempts of the call inherit the permits until then.
    ///
    /// It applies to this value and its clones. Values that were cloned before share the limit, and
    /// release their permits with the response.
    ///
    /// ```
    /// use std::time::Duration;
    /// use serde_json::json;
    /// use tokio::time::{Instant, sleep};
    /// use toolbooth::{CallContext, CleanupLayer, ConcurrencyLimitLayer, ToolCall, tool_fn};
    /// use tower::{ServiceBuilder, ServiceExt};
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), toolbooth::ToolError> {
    /// let query = tool_fn("query", async |call: CallContext, _: ()| {
    ///     call.on_cleanup(|_| sleep(Duration::from_millis(50))); // rolls back
    ///     Ok::<_, std::io::Error>("42 rows")
    /// });
    /// let connection = ConcurrencyLimitLayer::new(1).with_hold_until_ended();
    /// let query = ServiceBuilder::new()
    ///     .layer(connection.clone())
    ///     .layer(CleanupLayer::new())
    ///     .service(query);
    ///
    /// let start = Instant::now();
    /// query.clone().oneshot(ToolCall::new("query", json!(null))).await?;
    /// assert_eq!((start.elapsed(), connection.in_flight()), (Duration::ZERO, 1));
    /// query.oneshot(ToolCall::new("query", json!(null))).await?;
    /// assert_eq!(start.elapsed(), Duration::from_millis(50));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub const fn with_hold_until_ended(mut self) -> Self {
        self.until_ended = true;
        self
    }

    /// Sets how many permits a call takes: 1 by default.
    ///
    /// It applies to this value and its clones. Values that were cloned before share the limit, and
    /// keep their own cost. A call that takes 0 permits does not wait.
    ///
    /// A call that takes several permits starts when all of them are free together, and no call
    /// behind it in the queue starts before. A call that takes more than the limit is rejected as
    /// `Overloaded`.
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
        let cost = move |context: &CallContext| to_u64(permits(context));
        self.limits = self.limits.with_cost(cost);
        self
    }

    /// Sets how many calls may wait in each queue: 1,024 by default.
    ///
    /// One more is rejected as `Overloaded`. With 0, a call that finds no permit is rejected at
    /// once.
    #[must_use]
    pub fn with_queue_capacity(mut self, calls: usize) -> Self {
        self.limits = self.limits.with_setting(&QueueSetting::Capacity(calls));
        self
    }

    /// Sets how long a call may wait before it is rejected as `Overloaded`.
    ///
    /// By default, or with `None`, a call waits until its deadline.
    #[must_use]
    pub fn with_max_wait(mut self, max_wait: impl Into<Option<Duration>>) -> Self {
        let max_wait = max_wait.into();
        self.limits = self.limits.with_setting(&QueueSetting::MaxWait(max_wait));
        self
    }

    /// Sets the order in which waiting calls start: [`Order::fifo`] by default.
    #[must_use]
    pub fn with_order(mut self, order: Order) -> Self {
        let order = order.into_setting();
        self.limits = self.limits.with_setting(&QueueSetting::Order(order));
        self
    }

    /// Sets about how long a call takes. By default, or with `None`, that is unknown.
    ///
    /// If set, a call is rejected at once, as `Overloaded`, if the calls ahead of it keep it from
    /// starting before its deadline or within [`with_max_wait`](Self::with_max_wait). Otherwise
    /// such a call waits until then.
    ///
    /// Set it rather too low: if it is too high, calls are rejected that could have started.
    #[must_use]
    pub fn with_service_time(mut self, about: impl Into<Option<Duration>>) -> Self {
        let about = about.into();
        self.limits = self.limits.with_setting(&QueueSetting::ServiceTime(about));
        self
    }

    /// Keeps the permits in a store that several processes share, under a name.
    ///
    /// All processes that use the store and the name share one limit, or one for each tool or key.
    /// Each has a queue of its own, in which its calls wait as without a store. See
    /// [`shared`](crate::shared). A layer without a limit stays without one.
    ///
    /// The time for a reply of the store counts as a wait, also for a call that finds a permit. So
    /// with a [queue capacity](Self::with_queue_capacity) or a [wait](Self::with_max_wait) of zero
    /// no call starts.
    ///
    /// [`in_flight`](Self::in_flight), [`available`](Self::available) and
    /// [`queued`](Self::queued) are those of this process.
    #[must_use]
    pub fn with_store(mut self, store: &SharedStore, name: impl Into<Name>) -> Self {
        self.limits = self.limits.with_store(store, name.into());
        self
    }

    /// Bounds the keys of a limit by tool or by key.
    ///
    /// There are at most `keys` keys: 10,000 by default. A key that is unused for `idle` may be
    /// removed: 10 minutes by default.
    ///
    /// A key of which a call runs or waits is never removed. If all keys are in use, new keys share
    /// one limit and queue, of the size of one key, and a warning is logged at most once a minute.
    /// Keys that the limit names always have their own. With more than 16 keys, a key may be
    /// overlooked that came out of use less than a microsecond a key ago: 10 ms for 10,000 keys.
    #[must_use]
    pub fn with_key_bounds(mut self, keys: usize, idle: Duration) -> Self {
        self.limits = self.limits.with_key_bounds(keys, idle);
        self
    }

    /// Changes the limit while calls run and wait. `None` is no limit.
    ///
    /// Of a limit by tool or by key, it changes that of each key which has none of its own.
    ///
    /// Waiting calls stay in the queue. If the limit is raised, those that may run now start at
    /// once. If it is lowered, running calls go on, and the next call starts when there is room
    /// under the new limit. Only a call that takes more permits than the new limit is rejected.
    ///
    /// # Errors
    /// [`ConfigError::ZeroLimit`] for 0, and [`ConfigError::NoLimit`] for a layer that was created
    /// without a limit.
    pub fn set_limit(&self, limit: impl Into<Option<usize>>) -> Result<(), ConfigError> {
        self.limits.set_limit(Some(setting(limit.into())?))
    }

    /// As [`set_limit`](Self::set_limit), for one tool or key.
    ///
    /// # Errors
    /// As `set_limit`, and [`ConfigError::NotByKey`] if one limit is for all calls.
    pub fn set_limit_for(
        &self,
        key: impl Into<Name>,
        limit: impl Into<Option<usize>>,
    ) -> Result<(), ConfigError> {
        let limit = setting(limit.into())?;
        self.limits.set_limit_for(&key.into(), Some(limit))
    }

    /// Changes how many calls may wait in each queue. Calls that wait already stay.
    pub fn set_queue_capacity(&self, calls: usize) {
        self.limits.configure(&QueueSetting::Capacity(calls));
    }

    /// Changes how long a call may wait, also for calls that wait already. `None` is no limit.
    pub fn set_max_wait(&self, max_wait: impl Into<Option<Duration>>) {
        let max_wait = max_wait.into();
        self.limits.configure(&QueueSetting::MaxWait(max_wait));
    }

    /// Changes the order in which waiting calls start, also for calls that wait already.
    ///
    /// The priority and the key of a call are read when it is enqueued, if the order then uses
    /// them. A call that waits already has priority 0 and no key otherwise.
    pub fn set_order(&self, order: Order) {
        let order = order.into_setting();
        self.limits.configure(&QueueSetting::Order(order));
    }

    /// Changes about how long a call takes, for calls from now on. `None` is unknown.
    pub fn set_service_time(&self, about: impl Into<Option<Duration>>) {
        let about = about.into();
        self.limits.configure(&QueueSetting::ServiceTime(about));
    }

    /// Returns how many permits are free: `usize::MAX` without a limit.
    ///
    /// Of a limit by tool or by key, it is that of the key with the fewest.
    #[must_use]
    pub fn available(&self) -> usize {
        let queues = self.limits.queues();
        let available = queues.iter().map(|queue| queue.limiter().available());
        available.min().unwrap_or(usize::MAX)
    }

    /// Returns how many permits are free for a tool or a key: `usize::MAX` if it has no limit.
    #[must_use]
    pub fn available_for(&self, key: &str) -> usize {
        match self.limits.queue_of(key) {
            Some(queue) => queue.limiter().available(),
            None => self.limits.limit_of(key).unwrap_or(usize::MAX),
        }
    }

    /// Returns how many permits are held. They are not counted without a limit.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        in_flight(&self.limits)
    }

    /// Returns how many calls wait for a permit.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.limits.queued()
    }
}

layer_name!(ConcurrencyLimitLayer, limits.name, "concurrency");
limit_events!(ConcurrencyLimitLayer, limits.events);

impl<S> Layer<S> for ConcurrencyLimitLayer {
    type Service = ConcurrencyLimit<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ConcurrencyLimit::new(inner, self.limits.clone(), self.until_ended)
    }
}

/// Returns the setting of a limit that exists: no limit is the largest one.
fn setting(limit: Option<usize>) -> Result<usize, ConfigError> {
    match limit {
        Some(0) => Err(ConfigError::ZeroLimit),
        limit => Ok(limit.unwrap_or(usize::MAX)),
    }
}
