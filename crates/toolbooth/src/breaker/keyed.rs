//! A breaker for each tool, or for each key.

use std::fmt;
use std::time::Duration;

use toolbooth_core::{CallContext, Moment, Name, Part, ToolError};

use super::policy::BreakerPolicy;
use super::rule::BreakerState;
use super::shared::{Act, Breaker, Listeners};
use crate::middleware::PerTool;
use crate::middleware::keys::{Idle, Keys};
use crate::middleware::sync::{Arc, Mutex, lock};

/// The breakers of a layer, made when their keys first come.
#[derive(Debug)]
pub(super) struct Keyed {
    policies: PerTool<BreakerPolicy>,
    /// `None`: the tool's name.
    key: Option<Key>,
    listeners: Arc<Listeners>,
    shelf: Mutex<Shelf>,
}

#[derive(Debug)]
struct Shelf {
    breakers: Keys<Breaker>,
    /// Those to come are disabled, too.
    disabled: bool,
    /// How often something was done to all.
    acts: u64,
}

/// What calls share a breaker by.
pub(super) struct Key(Box<dyn Fn(&CallContext) -> Name + Send + Sync>);

// === impl Keyed ===

impl Keyed {
    pub(super) fn new(policies: PerTool<BreakerPolicy>, key: Option<Key>) -> Self {
        Self {
            policies,
            key,
            listeners: Arc::default(),
            shelf: Mutex::new(Shelf {
                breakers: Keys::new(),
                disabled: false,
                acts: 0,
            }),
        }
    }

    pub(super) const fn listeners(&self) -> &Arc<Listeners> {
        &self.listeners
    }

    pub(super) fn set_bounds(&self, most: usize, idle: Duration) {
        lock(&self.shelf).breakers.set_bounds(most, idle);
    }

    /// The breaker of a call; `None` where its key has none.
    pub(super) fn breaker_of(&self, part: &Part) -> Result<Option<Arc<Breaker>>, ToolError> {
        let key = match &self.key {
            Some(key) => (key.0)(part.context()),
            None => Name::from(part.context().tool()),
        };
        self.find(key, part.now())
    }

    /// The breaker of a key, made if it is new.
    pub(super) fn find(&self, key: Name, now: Moment) -> Result<Option<Arc<Breaker>>, ToolError> {
        let Some(policy) = self.policies.get(&key) else {
            return Ok(None);
        };
        let name = key.clone();
        let mut shelf = lock(&self.shelf);
        let disabled = shelf.disabled;
        let found = shelf.breakers.find(key, now, || {
            let listeners = Arc::clone(&self.listeners);
            Breaker::new(policy.clone(), Some(name), listeners, disabled)
        });
        drop(shelf);
        // What had to go is dropped here, without the lock.
        let (breaker, _gone) = found.map_err(|refusal| refusal.error())?;
        Ok(Some(breaker))
    }

    /// Where a breaker is that is made now.
    pub(super) fn state_of_new(&self) -> BreakerState {
        match lock(&self.shelf).disabled {
            true => BreakerState::Disabled,
            false => BreakerState::Closed,
        }
    }

    /// All that there are by now.
    pub(super) fn all(&self) -> Vec<Arc<Breaker>> {
        lock(&self.shelf).all()
    }

    /// Does that to all that there are by now. Those to come are disabled from now on, or are so no more, where that is what is done.
    pub(super) fn act(&self, act: Act, now: Moment) {
        let mut shelf = lock(&self.shelf);
        shelf.disabled = match act {
            Act::Trip => shelf.disabled,
            Act::Reset => false,
            Act::Disable => true,
        };
        shelf.acts += 1;
        let (turn, breakers) = (shelf.acts, shelf.all());
        drop(shelf);
        for breaker in breakers {
            breaker.act_in_turn(turn, act, now);
        }
    }
}

// === impl Shelf ===

impl Shelf {
    fn all(&self) -> Vec<Arc<Breaker>> {
        let breakers = self.breakers.iter();
        breakers.map(|(_, breaker)| Arc::clone(breaker)).collect()
    }
}

// === impl Breaker ===

impl Idle for Breaker {
    fn idle_from(&self) -> Moment {
        self.forgettable_from()
    }
}

// === impl Key ===

impl Key {
    pub(super) fn new(key: impl Fn(&CallContext) -> Name + Send + Sync + 'static) -> Self {
        Self(Box::new(key))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key")
    }
}
