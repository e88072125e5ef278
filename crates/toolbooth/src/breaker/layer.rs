use std::sync::Arc;

use toolbooth_core::{CallContext, Moment, ToolError};
use tower_layer::Layer;

use super::CircuitBreaker;
use super::policy::BreakerPolicy;
use super::rule::BreakerState;
use super::shared::{Breaker, StateChange};

/// Does not call a tool while it fails. See the [module](super).
///
/// Clones share one breaker, and so do all services that one value was applied to.
#[derive(Debug, Clone)]
pub struct CircuitBreakerLayer {
    breakers: Breakers,
}

#[derive(Debug, Clone)]
enum Breakers {
    None,
    One(Arc<Breaker>),
}

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
        let breaker = Breaker::new(policy, None, Arc::default());
        Self {
            breakers: Breakers::One(Arc::new(breaker)),
        }
    }

    /// No breaker at all: the off value.
    #[must_use]
    pub fn off() -> Self {
        Self {
            breakers: Breakers::None,
        }
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
        }
    }

    /// Where the breaker is now. A breaker has no timer: its open time is over once somebody asks, a call or this.
    #[must_use]
    pub fn state(&self) -> BreakerState {
        match &self.breakers {
            Breakers::None => BreakerState::Disabled,
            Breakers::One(breaker) => breaker.state(Moment::now()),
        }
    }

    /// Opens the breaker, for its open time; then it probes. What is under way counts no more.
    pub fn trip(&self) {
        self.each(|breaker| breaker.trip(Moment::now()));
    }

    /// Closes the breaker, and enables it again. What is under way counts no more.
    pub fn reset(&self) {
        self.each(Breaker::reset);
    }

    /// Lets all calls through and counts none, until it is reset or tripped.
    pub fn disable(&self) {
        self.each(Breaker::disable);
    }

    fn each(&self, act: impl Fn(&Breaker)) {
        match &self.breakers {
            Breakers::None => {}
            Breakers::One(breaker) => act(breaker),
        }
    }

    /// The breaker of a call, if it has one.
    pub(super) fn breaker_of(&self, _: &CallContext) -> Result<Option<Arc<Breaker>>, ToolError> {
        Ok(match &self.breakers {
            Breakers::None => None,
            Breakers::One(breaker) => Some(Arc::clone(breaker)),
        })
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
