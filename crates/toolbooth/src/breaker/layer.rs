use std::sync::Arc;
use std::time::Duration;

use toolbooth_core::{CallContext, Moment, Name, Part, ToolError};
use tower_layer::Layer;

use super::CircuitBreaker;
use super::keyed::{Key, Keyed};
use super::policy::BreakerPolicy;
use super::rule::BreakerState;
use super::shared::{Act, Breaker, StateChange};
use crate::middleware::PerTool;

/// Does not call a tool while it fails. See the [module](super).
///
/// Clones share one breaker, or one for each tool or key, and so do all services that one value was applied to.
#[derive(Debug, Clone)]
pub struct CircuitBreakerLayer {
    breakers: Breakers,
}

#[derive(Debug, Clone)]
enum Breakers {
    None,
    One(Arc<Breaker>),
    Keyed(Arc<Keyed>),
}

pub(super) type Found = Result<Option<Arc<Breaker>>, ToolError>;

// === impl CircuitBreakerLayer ===

impl CircuitBreakerLayer {
    /// One breaker for all calls, which opens after 5 failures in a row, for 30 s.
    #[must_use]
    pub fn new() -> Self {
        Self::with_policy(BreakerPolicy::new())
    }

    /// One breaker for all calls.
    #[must_use]
    pub fn with_policy(policy: BreakerPolicy) -> Self {
        let breaker = Breaker::new(policy, None, Arc::default(), false);
        Self {
            breakers: Breakers::One(Arc::new(breaker)),
        }
    }

    /// A breaker for each tool: one that fails is left alone, and the others are not.
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
        Self {
            breakers: Breakers::Keyed(Arc::new(Keyed::new(policies.into(), None))),
        }
    }

    /// A breaker for each key, such as each host that a tool asks. Keys that [`PerTool::with`] names have their own policy, or no breaker.
    ///
    /// The key is asked for in `call`, once for a call, and not under a lock. See [`with_key_bounds`](Self::with_key_bounds) for how many keys there may be.
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
        let keyed = Keyed::new(policies.into(), Some(Key::new(key)));
        Self {
            breakers: Breakers::Keyed(Arc::new(keyed)),
        }
    }

    /// No breaker at all: the off value.
    #[must_use]
    pub fn off() -> Self {
        Self {
            breakers: Breakers::None,
        }
    }

    /// Of breakers by tool or by key: how many keys there may be, 10,000 where nothing is said, and after how long without a call one is forgotten, 10 minutes.
    ///
    /// A key of which a call runs, or whose breaker is open, is never forgotten; with another one goes what was counted, or done by hand. A call with a
    /// new key that finds as many as may be, none of which can go, is refused as `Overloaded`; one whose key has more than 1,024 bytes as `InvalidArguments`.
    /// Of more than 16, one that could go for less than a microsecond a key may be overlooked, for less than 10 ms where there are 10,000.
    #[must_use]
    pub fn with_key_bounds(self, keys: usize, idle: Duration) -> Self {
        if let Breakers::Keyed(keyed) = &self.breakers {
            keyed.set_bounds(keys, idle);
        }
        self
    }

    /// The breaker of one tool or key, to read it and to act on it alone, made if it is new. It is not forgotten while this value lives. `None` where the key has none, or there
    /// is no room for it. Of one breaker for all calls, that one.
    #[must_use]
    pub fn breaker_for(&self, key: impl Into<Name>) -> Option<Self> {
        let breaker = match &self.breakers {
            Breakers::None => None,
            Breakers::One(breaker) => Some(Arc::clone(breaker)),
            Breakers::Keyed(keyed) => keyed.find(key.into(), Moment::now()).ok()?,
        };
        let breakers = Breakers::One(breaker?);
        Some(Self { breakers })
    }

    /// Has `listener` told of every change of the state from now on, in order, for all clones of this value.
    ///
    /// It is called where the change came about, in the middle of a call: it should be quick, for instance put the change into a
    /// channel. No lock is held, so it may use this layer. If it panics, the breaker goes on.
    pub fn on_state_change<F>(&self, listener: F)
    where
        F: Fn(&StateChange) + Send + Sync + 'static,
    {
        match &self.breakers {
            Breakers::None => {}
            Breakers::One(breaker) => breaker.listeners().add(listener),
            Breakers::Keyed(keyed) => keyed.listeners().add(listener),
        }
    }

    /// Where the breaker is now; of several, open if one is, or else half-open if one is. A breaker has no timer: its open time is over once somebody
    /// asks, a call or this.
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

    /// Opens the breaker, for its open time; then it probes. What is under way counts no more. Of several, all that there are by now.
    pub fn trip(&self) {
        self.act(Act::Trip);
    }

    /// Closes the breaker, and enables it again. What is under way counts no more. Of several, all.
    pub fn reset(&self) {
        self.act(Act::Reset);
    }

    /// Lets all calls through and counts none, until it is reset or tripped. Of several, all, those of keys to come as well.
    pub fn disable(&self) {
        self.act(Act::Disable);
    }

    fn act(&self, act: Act) {
        let now = Moment::now();
        match &self.breakers {
            Breakers::None => {}
            Breakers::One(breaker) => breaker.act(act, now),
            Breakers::Keyed(keyed) => keyed.act(act, now),
        }
    }

    /// The breaker of the call whose part this is, if it has one. What the user gave may panic, which ends the part.
    #[inline]
    pub(super) fn find(&self, part: &Part) -> Found {
        match &self.breakers {
            Breakers::None => Ok(None),
            Breakers::One(breaker) => Ok(Some(Arc::clone(breaker))),
            Breakers::Keyed(keyed) => keyed.breaker_of(part),
        }
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
