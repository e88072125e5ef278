use std::time::Duration;

use governor::Quota;
#[cfg(feature = "http")]
use toolbooth_core::RequestHead;
use toolbooth_core::{CallContext, Name};
use tower_layer::Layer;

use super::RateLimit;
use super::rates::Rates;
use super::service::Options;
use super::window::{MAX_CALLS, WindowTerms};
use crate::middleware::{ConfigError, KeyFn, PerTool, layer_name, limit_events};
use crate::queue::{Limits, Order, QueueSetting};
use crate::shared::SharedStore;

/// Limits how many calls start in a time; other calls wait or are rejected. See the
/// [module](super).
///
/// Clones share one bucket, and so do all services made of one value. The `set_*` methods change
/// the limit that they share, while calls wait.
///
/// The `with_*` methods configure one value: call them before it is cloned or applied to a
/// service. Called later, they return a value with a bucket of its own, and the others stay as
/// they are. [`with_cost`](Self::with_cost), [`with_name`](Self::with_name), [`reject`](Self::reject)
/// and [`wait`](Self::wait) keep the bucket shared.
#[derive(Clone)]
pub struct RateLimitLayer {
    pub(super) limits: Limits<Rates>,
    options: Options,
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
        Self::of(Limits::by_key(quotas.into(), KeyFn::of_call(key)))
    }

    /// As [`by`](Self::by), with a key of the head of an `http::Request`: a header, an extension
    /// such as the address of the peer, or a segment of the path.
    ///
    /// A client chooses its headers. A key of more than 1,024 bytes is rejected as
    /// `InvalidArguments`, and [`with_key_bounds`](Self::with_key_bounds) bounds the number of
    /// keys. A request of another type has the empty key.
    ///
    /// ```
    /// use std::net::SocketAddr;
    /// use std::num::NonZeroU32;
    /// use axum::extract::ConnectInfo;
    /// use toolbooth::{Quota, RateLimitLayer};
    ///
    /// // The API key, otherwise the address of the peer.
    /// let by_client = RateLimitLayer::by_request(Quota::per_second(NonZeroU32::MIN), |request| {
    ///     if let Some(key) = request.header("x-api-key") {
    ///         return key.into();
    ///     }
    ///     let peer = request.extension::<ConnectInfo<SocketAddr>>();
    ///     peer.map_or("unknown".into(), |ConnectInfo(peer)| peer.ip().to_string().into())
    /// });
    /// assert_eq!(by_client.remaining_for("10.0.0.7"), 1);
    /// ```
    #[cfg(feature = "http")]
    #[must_use]
    pub fn by_request(
        quotas: impl Into<PerTool<Quota>>,
        key: impl Fn(&RequestHead<'_>) -> Name + Send + Sync + 'static,
    ) -> Self {
        Self::of(Limits::by_key(quotas.into(), KeyFn::of_request(key)))
    }

    /// Limits the calls of all tools together to `calls` in any `period`, by a log of the calls.
    ///
    /// A quota admits its burst and then one call each interval: after a pause, nearly twice as
    /// many in one period. A window never admits more than `calls`. It is charged for the moment
    /// at which a call is admitted, never for an earlier one. Its log has up to `calls` entries of
    /// 16 bytes, for each key of a limit by key.
    ///
    /// [`with_window`](Self::with_window) adds a window to other limits.
    ///
    /// ```
    /// use std::time::Duration;
    /// use toolbooth::RateLimitLayer;
    ///
    /// # fn main() -> Result<(), toolbooth::ConfigError> {
    /// let rate = RateLimitLayer::window(100, Duration::from_secs(60))?;
    /// assert_eq!(rate.remaining(), 100);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`ConfigError::RateWindow`] unless there are 1 to 10,000 calls and a period above 0.
    pub fn window(calls: u32, period: Duration) -> Result<Self, ConfigError> {
        Self::new(None).with_window(calls, period)
    }

    fn of(limits: Limits<Rates>) -> Self {
        let options = Options::default();
        Self { limits, options }
    }

    /// Adds a quota. A call takes its tokens of all quotas and windows together, or of none.
    ///
    /// It waits for the one that lets it start last.
    ///
    /// Each tool or key of a limit by tool or by key has a bucket of the added quota, too, which
    /// [`PerTool::with`] changes for a key. A key has no limit if each of the quotas names it with
    /// `None`. A group has the default of the added quota.
    ///
    /// [`set_quota`](Self::set_quota) does not change added quotas.
    ///
    /// ```
    /// use std::num::NonZeroU32;
    /// use std::time::Duration;
    /// use toolbooth::{Quota, RateLimitLayer};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let [ten, thousand] = [10, 1_000].map(NonZeroU32::new).map(|n| n.ok_or("not 0"));
    /// let (ten, thousand) = (ten?, thousand?);
    /// let day = Duration::from_secs(86_400);
    /// let daily = Quota::with_period(day / thousand.get()).ok_or("not 0")?.allow_burst(thousand);
    /// let rate = RateLimitLayer::new(Quota::per_second(ten)).with_quota(daily);
    /// assert_eq!(rate.remaining(), 10);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn with_quota(mut self, quotas: impl Into<PerTool<Quota>>) -> Self {
        let quotas = quotas.into();
        self.limits = self.limits.with_limiters(|rates| rates.with_quota(&quotas));
        self
    }

    /// Adds an exact window, as of [`window`](Self::window). A call takes its tokens of all quotas
    /// and windows together, or of none.
    ///
    /// Each tool or key of a limit by tool or by key has a window of its own, also one whose quota
    /// is `None`. With `PerTool::none()` as the quotas, a key has only the window.
    ///
    /// # Errors
    /// [`ConfigError::RateWindow`] unless there are 1 to 10,000 calls and a period above 0.
    pub fn with_window(mut self, calls: u32, period: Duration) -> Result<Self, ConfigError> {
        let calls = u64::from(calls);
        if calls == 0 || calls > MAX_CALLS || period.is_zero() {
            return Err(ConfigError::RateWindow);
        }
        let window = WindowTerms { calls, period };
        self.limits = self.limits.with_limiters(|rates| rates.with_window(window));
        Ok(self)
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

    /// Lets a tool adjust the cost of its call when the actual one is known, by
    /// [`CallContext::adjust_cost`] with the [name](Self::name) of this layer: `rate`, or the one
    /// that [`with_name`](Self::with_name) sets. By default it cannot.
    ///
    /// It applies to this value and its clones. A call that takes 0 tokens is not adjusted. Each
    /// call costs two allocations more.
    ///
    /// ```
    /// use std::num::NonZeroU32;
    /// use serde_json::json;
    /// use toolbooth::{CallContext, Quota, RateLimitLayer, ToolCall, tool_fn};
    /// use tower::{Layer, ServiceExt};
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let minute = Quota::per_minute(NonZeroU32::new(90_000).ok_or("not 0")?);
    /// // An estimate of the model's tokens, and what it reports at its end.
    /// let rate = RateLimitLayer::new(minute).with_cost(|_| 1_000).with_adjustable_cost();
    /// let model = rate.layer(tool_fn("model", async |call: CallContext, _: ()| {
    ///     call.adjust_cost("rate", 2_500);
    ///     Ok::<_, std::io::Error>("a text")
    /// }));
    /// model.oneshot(ToolCall::new("model", json!(null))).await?;
    /// assert_eq!(rate.remaining(), 87_500);
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub const fn with_adjustable_cost(mut self) -> Self {
        self.options.adjusts = true;
        self
    }

    /// Rejects a call that finds no token, as `RateLimited` with the time until there is one.
    ///
    /// It applies to this value and its clones.
    #[must_use]
    pub const fn reject(mut self) -> Self {
        self.options.reject = true;
        self
    }

    /// Makes a call that finds no token wait for one. This is the default.
    #[must_use]
    pub const fn wait(mut self) -> Self {
        self.options.reject = false;
        self
    }

    /// Pauses the limit after a `rate_limited` of the tool. By default, or with `None`, it goes on.
    ///
    /// A call that started and fails with
    /// [`ToolError::rate_limited`](crate::ToolError::rate_limited) has met the limit of an upstream
    /// service. No call of its bucket starts for the time of the error, up to `max`, so that others
    /// do not meet it, too. They wait or are rejected as without a token. The same holds for a
    /// response of HTTP with the status 429 or 503 and a `Retry-After` in seconds. A pause never
    /// ends earlier because of a later one.
    ///
    /// Rejections by limits inside do not pause this one, and neither does a call that takes 0
    /// tokens.
    ///
    /// ```
    /// use std::num::NonZeroU32;
    /// use std::time::Duration;
    /// use serde_json::json;
    /// use toolbooth::{Quota, RateLimitLayer, ToolCall, ToolError, tool_fn};
    /// use tower::{Layer, ServiceExt};
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let quota = Quota::per_second(NonZeroU32::new(100).ok_or("not 0")?);
    /// let rate = RateLimitLayer::new(quota).with_cool_down(Duration::from_secs(60)).reject();
    /// let upstream = tool_fn("upstream", async |_: ()| {
    ///     Err::<String, _>(ToolError::rate_limited(Duration::from_secs(5)))
    /// });
    /// let tool = rate.layer(upstream);
    ///
    /// let call = ToolCall::new("upstream", json!(null));
    /// assert!(tool.clone().oneshot(call.clone()).await.is_err());
    /// // This one does not reach the tool.
    /// let rejected = tool.oneshot(call).await.err().ok_or("the limit is paused")?;
    /// assert_eq!(rejected.retry_after(), Some(Duration::from_secs(5)));
    /// # Ok(()) }
    /// ```
    #[must_use]
    pub fn with_cool_down(mut self, max: impl Into<Option<Duration>>) -> Self {
        self.options.cool_down = max.into();
        if self.options.cool_down.is_some() {
            self.limits = self.limits.with_limiters(Rates::with_pauses);
        }
        self
    }

    /// Sets how many calls may wait in each queue: 1,024 by default.
    ///
    /// One more is rejected as `Overloaded`.
    #[must_use]
    pub fn with_queue_capacity(mut self, calls: usize) -> Self {
        self.limits = self.limits.with_setting(&QueueSetting::Capacity(calls));
        self
    }

    /// Sets how long a call may wait. By default, or with `None`, it waits until its deadline.
    ///
    /// A call whose token would come later is rejected at once, as `RateLimited`.
    #[must_use]
    pub fn with_max_wait(mut self, max_wait: impl Into<Option<Duration>>) -> Self {
        let max_wait = max_wait.into();
        self.limits = self.limits.with_setting(&QueueSetting::MaxWait(max_wait));
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
        self.limits = self.limits.with_setting(&QueueSetting::Order(order));
        self
    }

    /// Keeps the bucket in a store that several processes share, under a name.
    ///
    /// All processes that use the store and the name share one quota, or one for each tool or key.
    /// Each has a queue of its own, in which its calls wait as without a store. See
    /// [`shared`](crate::shared). A layer without a quota stays without one.
    ///
    /// The time for a reply of the store counts as a wait, also for a call that finds a token: with
    /// [`with_max_wait`](Self::with_max_wait) of zero no call starts. [`reject`](Self::reject)
    /// waits for the reply alone. Tokens of a reply that comes after the
    /// [command timeout](crate::shared::SharedOptions::with_command_timeout) are returned. Those of
    /// a reply that never comes are lost, and refill in time.
    ///
    /// The store counts whole microseconds: an interval is rounded up, to 1,000,000 tokens a second
    /// at most. Quotas that were [added](Self::with_quota) are in the store, too, and
    /// [`set_quota`](Self::set_quota) with `None` ends all of them in this process. Windows and
    /// the pauses of a cool-down hold in each process alone. [`remaining`](Self::remaining) is what
    /// this process has [taken in advance](SharedStore::with_prefetch).
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
    /// A key whose bucket is not full, or of which a call waits, is never removed: no call gets a
    /// token too many. If all keys are in use, new keys share one bucket and queue, with the quotas
    /// of one key, and a warning is logged at most once a minute. Keys that a quota names always
    /// have their own. With more than 16 keys, a key may be overlooked that came out of use less
    /// than a microsecond a key ago: 10 ms for 10,000 keys.
    #[must_use]
    pub fn with_key_bounds(mut self, keys: usize, idle: Duration) -> Self {
        self.limits = self.limits.with_key_bounds(keys, idle);
        self
    }
}

layer_name!(RateLimitLayer, limits.name, "rate");
limit_events!(RateLimitLayer, limits.events);

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimit<S>;

    fn layer(&self, inner: S) -> Self::Service {
        RateLimit::new(inner, self.limits.clone(), self.options)
    }
}
