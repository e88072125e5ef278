use std::fmt;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "http")]
use toolbooth_core::RequestHead;
use toolbooth_core::{
    CallContext, EventSink, LayerName, Moment, Name, Part, ToolError, ToolRequest,
};
use tower_layer::Layer;

use super::CircuitBreaker;
use super::change::BreakerState;
use super::keyed::KeyedBreakers;
use super::listeners::{Listeners, NAME, StateChange};
use super::policy::BreakerPolicy;
use super::shared::{Act, Acts, Breaker};
use crate::middleware::{KeyFn, PerTool};

/// Rejects calls while the breaker is open. See the [module](super).
///
/// Clones of a value, and services made of it, share one breaker, or one for each tool or key.
#[derive(Clone)]
pub struct CircuitBreakerLayer {
    breakers: Breakers,
    pub(super) name: LayerName,
}

#[derive(Clone)]
enum Breakers {
    None,
    One(Arc<Breaker>),
    Keyed(Arc<KeyedBreakers>),
}

pub(super) type Found = Result<Option<Arc<Breaker>>, ToolError>;

// === impl CircuitBreakerLayer ===

impl CircuitBreakerLayer {
    /// Makes one breaker for all calls, which opens after 5 failures in a row for 30 s.
    #[must_use]
    pub fn new() -> Self {
        Self::with_policy(BreakerPolicy::new())
    }

    /// Makes one breaker for all calls.
    #[must_use]
    pub fn with_policy(policy: BreakerPolicy) -> Self {
        let breaker = Breaker::new(policy, None, Arc::default(), Acts::default());
        Self::of(Breakers::One(Arc::new(breaker)))
    }

    /// Makes a breaker for each tool.
    ///
    /// ```
    /// use toolbooth::breaker::BreakerState;
    /// use toolbooth::{BreakerPolicy, CircuitBreakerLayer, PerTool};
    ///
    /// let breaker = CircuitBreakerLayer::per_tool(PerTool::new(BreakerPolicy::new()).with("echo", None));
    /// if let Some(search) = breaker.breaker_for("search") {
    ///     search.trip();
    ///     assert_eq!(search.state(), BreakerState::Open);
    /// }
    /// assert!(breaker.breaker_for("echo").is_none());
    /// ```
    #[must_use]
    pub fn per_tool(policies: impl Into<PerTool<BreakerPolicy>>) -> Self {
        let keyed = KeyedBreakers::new(policies.into(), None);
        Self::of(Breakers::Keyed(Arc::new(keyed)))
    }

    /// Makes a breaker for each key, such as the host that a tool calls.
    ///
    /// Keys named by [`PerTool::with`] have their own policy, or no breaker. `call` evaluates `key`
    /// once, not under a lock. [`with_key_bounds`](Self::with_key_bounds) sets the number of keys.
    ///
    /// ```
    /// use toolbooth::{BreakerPolicy, CircuitBreakerLayer};
    ///
    /// struct Host(&'static str);
    ///
    /// let by_host = CircuitBreakerLayer::by(BreakerPolicy::new(), |call| {
    ///     call.extension::<Host>().map_or("unknown", |host| host.0).into()
    /// });
    /// # drop(by_host);
    /// ```
    #[must_use]
    pub fn by(
        policies: impl Into<PerTool<BreakerPolicy>>,
        key: impl Fn(&CallContext) -> Name + Send + Sync + 'static,
    ) -> Self {
        let keyed = KeyedBreakers::new(policies.into(), Some(KeyFn::of_call(key)));
        Self::of(Breakers::Keyed(Arc::new(keyed)))
    }

    /// As [`by`](Self::by), with a key of the head of an `http::Request`: a header, an extension
    /// such as the address of the peer, or a segment of the path.
    ///
    /// A client chooses its headers. A key of more than 1,024 bytes is rejected as
    /// `InvalidArguments`. A request of another type has the empty key.
    ///
    /// ```
    /// use toolbooth::{BreakerPolicy, CircuitBreakerLayer};
    ///
    /// // `/upstreams/{upstream}/..`
    /// let by_upstream = CircuitBreakerLayer::by_request(BreakerPolicy::new(), |request| {
    ///     request.path_segment(1).unwrap_or("none").into()
    /// });
    /// assert!(by_upstream.breaker_for("search").is_some());
    /// ```
    #[cfg(feature = "http")]
    #[must_use]
    pub fn by_request(
        policies: impl Into<PerTool<BreakerPolicy>>,
        key: impl Fn(&RequestHead<'_>) -> Name + Send + Sync + 'static,
    ) -> Self {
        let keyed = KeyedBreakers::new(policies.into(), Some(KeyFn::of_request(key)));
        Self::of(Breakers::Keyed(Arc::new(keyed)))
    }

    /// Makes a layer without a breaker, for a stack whose breaker is optional.
    #[must_use]
    pub fn off() -> Self {
        Self::of(Breakers::None)
    }

    const fn of(breakers: Breakers) -> Self {
        let name = NAME;
        Self { breakers, name }
    }

    /// Bounds the keys of breakers by tool or by key.
    ///
    /// There are at most `keys` keys: 10,000 by default. A key that is unused for `idle` may be
    /// removed with its counts: 10 minutes by default.
    ///
    /// A key of which a call runs, or whose breaker is open, is never removed. A call with a new
    /// key is rejected as `Overloaded` if all keys are in use, and as `InvalidArguments` if the key
    /// has more than 1,024 bytes. With more than 16 keys, a key may be overlooked that came out of
    /// use less than a microsecond a key ago: 10 ms for 10,000 keys.
    ///
    /// A key that is removed after its open time, or while it is half-open, changes to closed, with
    /// the reason `forgotten`.
    ///
    /// Call it before the value is cloned or applied to a service. Called later, it returns a value
    /// with breakers of its own, and the others stay as they are.
    #[must_use]
    pub fn with_key_bounds(mut self, keys: usize, idle: Duration) -> Self {
        if let Breakers::Keyed(keyed) = &self.breakers {
            self.breakers = Breakers::Keyed(Arc::new(keyed.with_bounds(keys, idle)));
        }
        self
    }

    /// Returns the breaker of one tool or key, as a handle to read and change it alone.
    ///
    /// A new key gets a breaker. The key is not removed while the handle lives. `None` if the key
    /// has no breaker, or if all keys are in use. Of one breaker for all calls, that breaker.
    #[must_use]
    pub fn breaker_for(&self, key: impl Into<Name>) -> Option<Self> {
        let breaker = match &self.breakers {
            Breakers::None => None,
            Breakers::One(breaker) => Some(Arc::clone(breaker)),
            Breakers::Keyed(keyed) => keyed.find_or_create(&key.into(), Moment::now).ok()?,
        };
        Some(Self {
            breakers: Breakers::One(breaker?),
            name: self.name.clone(),
        })
    }

    /// Registers a callback for changes of the state, for all clones of this value.
    ///
    /// It is called within the call that causes the change, in order, without a lock. So it may use
    /// this layer, and should be quick: for example, send the change to a channel. A panic of the
    /// callback is caught.
    pub fn on_state_change<F>(&self, listener: F)
    where
        F: Fn(&StateChange) + Send + Sync + 'static,
    {
        if let Some(listeners) = self.listeners() {
            listeners.add(listener);
        }
    }

    /// Delivers changes of the state to `sink`, beside other sinks, as
    /// [`BreakerChanged`](crate::EventKind::BreakerChanged).
    ///
    /// The changes are those of all clones, in order, without the id of a call. The sink is called
    /// within the call that causes the change, without a lock. Of several breakers, it receives the
    /// changes of each, with the key. The events have the name that the layer had before it was
    /// cloned or applied.
    ///
    /// [`EventsLayer`](crate::EventsLayer) delivers the events of calls.
    ///
    /// ```
    /// use toolbooth::events::channel;
    /// use toolbooth::{CircuitBreakerLayer, EventKind};
    ///
    /// let (sink, mut events) = channel(1_000);
    /// let breaker = CircuitBreakerLayer::new().with_events(sink);
    /// breaker.trip();
    /// let event = events.try_recv().map(|event| event.kind);
    /// assert!(matches!(event, Some(EventKind::BreakerChanged { to: "open", .. })));
    /// ```
    #[must_use]
    pub fn with_events(self, sink: impl EventSink) -> Self {
        if let Some(listeners) = self.listeners() {
            listeners.add_sink(sink);
        }
        self
    }

    fn listeners(&self) -> Option<&Arc<Listeners>> {
        match &self.breakers {
            Breakers::None => None,
            Breakers::One(breaker) => Some(breaker.listeners()),
            Breakers::Keyed(keyed) => Some(keyed.listeners()),
        }
    }

    /// Sets the name of this layer: `breaker` by default.
    ///
    /// Its errors and logs carry the name. It applies to this value and its clones. What the clones
    /// share stays shared: the [events](Self::with_events) of a breaker that is shared already keep
    /// the earlier name.
    #[must_use]
    pub fn with_name(mut self, name: impl Into<Name>) -> Self {
        self.name = self.name.renamed(name);
        let handles = match &self.breakers {
            Breakers::None => 0,
            Breakers::One(breaker) => Arc::strong_count(breaker),
            Breakers::Keyed(keyed) => Arc::strong_count(keyed),
        };
        if let Some(listeners) = self.listeners().filter(|_| handles == 1) {
            listeners.set_name(&self.name);
        }
        self
    }

    /// Returns the name of this layer.
    #[must_use]
    pub fn name(&self) -> &str {
        self.name.as_str()
    }

    /// Returns the current state. Of several breakers, it is open if one is open, otherwise
    /// half-open if one is half-open.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        let now = Moment::now();
        match &self.breakers {
            Breakers::None => BreakerState::Disabled,
            Breakers::One(breaker) => breaker.state(now),
            Breakers::Keyed(keyed) => {
                let breakers = keyed.all();
                let states = breakers.iter().map(|breaker| breaker.state(now));
                let worst = states.max_by_key(|state| match state {
                    BreakerState::Disabled => 0,
                    BreakerState::Closed => 1,
                    BreakerState::HalfOpen => 2,
                    BreakerState::Open => 3,
                });
                worst.unwrap_or_else(|| keyed.state_of_new())
            }
        }
    }

    /// Opens the breaker for its open time. The results of running calls are ignored.
    ///
    /// Of several breakers, this opens all existing ones.
    pub fn trip(&self) {
        self.act(Act::Trip);
    }

    /// Closes the breaker, also a disabled one. The results of running calls are ignored.
    ///
    /// Of several breakers, this closes all.
    pub fn reset(&self) {
        self.act(Act::Reset);
    }

    /// Admits all calls without counting, until the breaker is reset or tripped.
    ///
    /// Of several breakers, this disables all, including those of future keys.
    pub fn disable(&self) {
        self.act(Act::Disable);
    }

    /// Changes the rules of one breaker for all calls, and keeps its state. What counts as a
    /// failure does not change. Has no effect on breakers by tool or by key.
    #[cfg(feature = "policy")]
    pub(crate) fn set_policy(&self, policy: BreakerPolicy) {
        if let Breakers::One(breaker) = &self.breakers {
            breaker.set_policy(policy);
        }
    }

    fn act(&self, act: Act) {
        let now = Moment::now();
        match &self.breakers {
            Breakers::None => {}
            Breakers::One(breaker) => breaker.act(act, now),
            Breakers::Keyed(keyed) => keyed.act(act, now),
        }
    }

    /// Returns the breaker of a call, if it has one. A panic of the key function ends the call.
    #[inline]
    pub(super) fn find(&self, part: &Part, request: &impl ToolRequest) -> Found {
        match &self.breakers {
            Breakers::None => Ok(None),
            Breakers::One(breaker) => Ok(Some(Arc::clone(breaker))),
            Breakers::Keyed(keyed) => keyed.breaker_of(part, request),
        }
    }
}

/// Shows the name and the state.
impl fmt::Debug for CircuitBreakerLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CircuitBreakerLayer")
            .field("name", &self.name)
            .field("state", &self.state())
            .finish_non_exhaustive()
    }
}

impl Default for CircuitBreakerLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl<S> Layer<S> for CircuitBreakerLayer {
    type Service = CircuitBreaker<S>;

    fn layer(&self, inner: S) -> Self::Service {
        CircuitBreaker::new(inner, self.clone())
    }
}
