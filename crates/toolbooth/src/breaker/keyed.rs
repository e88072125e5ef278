//! A breaker for each tool, or for each key.
//!
//! Lock order: the registry of the key map, then `acts`.

use std::time::Duration;

use toolbooth_core::{Moment, Name, Part, ToolError, ToolRequest};

use super::change::BreakerState;
use super::listeners::Listeners;
use super::policy::BreakerPolicy;
use super::shared::{Act, Acts, Breaker};
use crate::middleware::keys::{Idle, KeyMap};
use crate::middleware::sync::{Arc, Mutex, lock};
use crate::middleware::{KeyFn, PerTool};

/// The breakers of a layer, created when their keys are first used.
#[derive(Debug)]
pub(super) struct KeyedBreakers {
    policies: PerTool<BreakerPolicy>,
    /// `None`: the name of the tool.
    key: Option<KeyFn>,
    listeners: Arc<Listeners>,
    breakers: KeyMap<Breaker>,
    /// The actions on all breakers. They also apply to breakers that are created later.
    acts: Mutex<Acts>,
}

// === impl KeyedBreakers ===

impl KeyedBreakers {
    pub(super) fn new(policies: PerTool<BreakerPolicy>, key: Option<KeyFn>) -> Self {
        Self {
            policies,
            key,
            listeners: Arc::default(),
            breakers: KeyMap::new(),
            acts: Mutex::default(),
        }
    }

    /// Creates breakers of the same configuration with other bounds, without any of a key.
    pub(super) fn with_bounds(&self, max_keys: usize, idle: Duration) -> Self {
        let mut breakers = KeyMap::new();
        breakers.set_bounds(max_keys, idle);
        Self {
            policies: self.policies.clone(),
            key: self.key.clone(),
            listeners: Arc::new(self.listeners.copy()),
            breakers,
            acts: Mutex::new(*lock(&self.acts)),
        }
    }

    pub(super) const fn listeners(&self) -> &Arc<Listeners> {
        &self.listeners
    }

    /// Returns the breaker of a call; `None` if its key has none.
    pub(super) fn breaker_of(
        &self,
        part: &Part,
        request: &impl ToolRequest,
    ) -> Result<Option<Arc<Breaker>>, ToolError> {
        let context = part.context();
        match &self.key {
            Some(key) => self.find_or_create(&key.key(context, request), || part.now()),
            None => self.find_or_create(context.tool(), || part.now()),
        }
    }

    /// Returns the breaker of a key. Creates it for a new key.
    pub(super) fn find_or_create(
        &self,
        key: &str,
        now: impl FnOnce() -> Moment,
    ) -> Result<Option<Arc<Breaker>>, ToolError> {
        if let Some(breaker) = self.breakers.get(key) {
            return Ok(Some(breaker));
        }
        let Some(policy) = self.policies.get(key) else {
            return Ok(None);
        };
        // Reads `acts` under the lock of the map's registry. A concurrent act is either seen here,
        // or made before it collects the breakers and then finds this one.
        let create = || {
            let (key, listeners) = (Some(Name::from(key)), Arc::clone(&self.listeners));
            Breaker::new(policy.clone(), key, listeners, *lock(&self.acts))
        };
        let breaker = self.breakers.get_or_insert_with(key, now(), create);
        breaker.map(Some).map_err(|rejection| rejection.error())
    }

    /// Returns the state of a breaker that is created now.
    pub(super) fn state_of_new(&self) -> BreakerState {
        match lock(&self.acts).disabled {
            true => BreakerState::Disabled,
            false => BreakerState::Closed,
        }
    }

    /// Returns all breakers that exist.
    pub(super) fn all(&self) -> Vec<Arc<Breaker>> {
        let entries = self.breakers.entries().into_iter();
        entries.map(|(_, breaker)| breaker).collect()
    }

    /// Applies `act` to all breakers that exist. Disabling, or its end, also applies to breakers
    /// that are created later.
    pub(super) fn act(&self, act: Act, now: Moment) {
        let mut acts = lock(&self.acts);
        acts.disabled = match act {
            Act::Trip => acts.disabled,
            Act::Reset => false,
            Act::Disable => true,
        };
        acts.count += 1;
        let turn = acts.count;
        drop(acts);
        for breaker in self.all() {
            breaker.act_in_turn(turn, act, now);
        }
    }
}

impl Idle for Breaker {
    fn idle_from(&self) -> Moment {
        self.forgettable_from()
    }

    fn forgotten(&self) {
        self.forget();
    }
}
