use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use toolbooth_core::{CallContext, EventKind, LayerName, LimitChange, Name, Part, ToolRequest};

use super::keyed::KeyedQueues;
use super::limit_queue::Settings;
use super::{LimitQueue, Limiter, QueueSetting, Rejection};
use crate::middleware::sync::Arc;
use crate::middleware::{ConfigError, KeyFn, LayerEvents, PerTool};
use crate::shared::{Place, SharedStore};

/// The limits of one layer: which queue a call uses, and what it costs there.
///
/// Clones share the queues. The `with_*` methods return limits with queues of their own.
#[derive(Debug)]
pub(crate) struct Limits<L: Limiter> {
    queues: Queues<L>,
    /// `None`: every call costs 1.
    cost: Option<CostFn>,
    pub(crate) name: LayerName,
    pub(crate) events: LayerEvents,
}

#[derive(Debug)]
enum Queues<L: Limiter> {
    Unlimited,
    Single(Arc<LimitQueue<L>>),
    Keyed(Arc<KeyedQueues<L>>),
}

/// What a call must acquire, and from which queue.
#[derive(Debug)]
pub(crate) struct Demand<'a, L> {
    pub(crate) queue: Cow<'a, Arc<LimitQueue<L>>>,
    pub(crate) cost: u64,
}

#[derive(Clone)]
struct CostFn(Arc<dyn Fn(&CallContext) -> u64 + Send + Sync>);

// === impl Limits ===

impl<L: Limiter> Limits<L> {
    pub(crate) const fn unlimited() -> Self {
        Self::of(Queues::Unlimited)
    }

    /// Creates one limit for all calls.
    pub(crate) fn single(setting: L::Setting) -> Self {
        let queue = LimitQueue::new(L::new(Some(setting)), Settings::default());
        Self::of(Queues::Single(Arc::new(queue)))
    }

    /// Creates a limit for each tool.
    pub(crate) fn per_tool(limits: PerTool<L::Setting>) -> Self {
        Self::of(Queues::Keyed(Arc::new(KeyedQueues::per_tool(limits))))
    }

    /// Creates a limit for each key.
    pub(crate) fn by_key(limits: PerTool<L::Setting>, key: KeyFn) -> Self {
        Self::of(Queues::Keyed(Arc::new(KeyedQueues::by_key(limits, key))))
    }

    const fn of(queues: Queues<L>) -> Self {
        Self {
            queues,
            cost: None,
            name: LayerName::new(L::KIND),
            events: LayerEvents::none(),
        }
    }

    /// Sets the cost of a call. The queues stay shared.
    pub(crate) fn with_cost(
        mut self,
        cost: impl Fn(&CallContext) -> u64 + Send + Sync + 'static,
    ) -> Self {
        self.cost = Some(CostFn(Arc::new(cost)));
        self
    }

    pub(crate) fn with_setting(mut self, setting: &QueueSetting) -> Self {
        self.queues = match &self.queues {
            Queues::Unlimited => Queues::Unlimited,
            Queues::Single(queue) => {
                let mut settings = queue.settings();
                setting.apply(&mut settings);
                let queue = LimitQueue::new(queue.limiter().fresh(), settings);
                Queues::Single(Arc::new(queue))
            }
            Queues::Keyed(keyed) => {
                let keyed = keyed.fresh();
                keyed.configure(setting);
                Queues::Keyed(Arc::new(keyed))
            }
        };
        self
    }

    /// Moves the state of the limits to a store.
    pub(crate) fn with_store(self, store: &SharedStore, layer: Name) -> Self {
        let place = Place::new(store.clone(), layer);
        match &self.queues {
            Queues::Unlimited => self,
            _ => self.with_limiters(|limiter| limiter.at(place.clone())),
        }
    }

    /// Replaces the limiters by those that `change` makes of them. Without a limit, of one that has
    /// none.
    pub(crate) fn with_limiters(mut self, change: impl Fn(&L) -> L) -> Self {
        self.queues = match &self.queues {
            Queues::Unlimited => {
                let limiter = change(&L::new(None));
                Queues::Single(Arc::new(LimitQueue::new(limiter, Settings::default())))
            }
            Queues::Single(queue) => {
                let limiter = change(queue.limiter());
                Queues::Single(Arc::new(LimitQueue::new(limiter, queue.settings())))
            }
            Queues::Keyed(keyed) => Queues::Keyed(Arc::new(keyed.fresh_with(change))),
        };
        self
    }

    /// Has no effect unless the limit is by tool or by key.
    pub(crate) fn with_key_bounds(self, max_keys: usize, idle: Duration) -> Self {
        self.with_keyed(|keyed| keyed.set_bounds(max_keys, idle))
    }

    /// Makes keys share one queue. Has no effect unless the limit is by tool or by key.
    #[cfg(feature = "rate")]
    pub(crate) fn with_group(
        self,
        setting: L::Setting,
        keys: impl IntoIterator<Item = Name>,
    ) -> Self {
        self.with_keyed(|keyed| keyed.add_group(setting, keys))
    }

    fn with_keyed(mut self, change: impl FnOnce(&mut KeyedQueues<L>)) -> Self {
        if let Queues::Keyed(keyed) = &self.queues {
            let mut keyed = keyed.fresh();
            change(&mut keyed);
            self.queues = Queues::Keyed(Arc::new(keyed));
        }
        self
    }

    pub(crate) const fn is_unlimited(&self) -> bool {
        matches!(self.queues, Queues::Unlimited)
    }

    /// Returns what a call must acquire; `None` if nothing. Calls the user's functions.
    #[inline]
    pub(crate) fn demand(
        &self,
        part: &Part,
        request: &impl ToolRequest,
    ) -> Result<Option<Demand<'_, L>>, Rejection> {
        let cost = match &self.cost {
            Some(cost) => (cost.0)(part.context()),
            None => 1,
        };
        if cost == 0 {
            return Ok(None);
        }
        let queue = match &self.queues {
            Queues::Unlimited => None,
            Queues::Single(queue) => Some(Cow::Borrowed(queue)),
            Queues::Keyed(keyed) => {
                let overflows = |keys| self.report(|| LimitChange::Overflow { keys });
                keyed.queue_for(part, request, overflows)?.map(Cow::Owned)
            }
        };
        Ok(queue.map(|queue| Demand { queue, cost }))
    }

    /// Changes a setting of all queues, also of those created later.
    pub(crate) fn configure(&self, setting: &QueueSetting) {
        match &self.queues {
            Queues::Unlimited => return,
            Queues::Single(queue) => queue.configure(|settings| setting.apply(settings)),
            Queues::Keyed(keyed) => keyed.configure(setting),
        }
        self.report(|| setting.to_change());
    }

    /// Changes the limit; that of each key that has none of its own.
    pub(crate) fn set_limit(&self, setting: Option<L::Setting>) -> Result<(), ConfigError> {
        match &self.queues {
            Queues::Unlimited => return Err(ConfigError::NoLimit),
            Queues::Single(queue) => queue.set_limit(|limiter| limiter.set(setting)),
            Queues::Keyed(keyed) => keyed.set_default_limit(setting),
        }
        self.report(|| set_to(None, L::describe_setting(setting)));
        Ok(())
    }

    /// Changes the limiter of one limit for all calls. It must not be one by tool or by key.
    #[cfg(feature = "policy")]
    pub(crate) fn change(&self, change: impl FnOnce(&L)) -> Result<(), ConfigError> {
        match &self.queues {
            Queues::Single(queue) => {
                queue.set_limit(change);
                let limit = || Some(queue.limiter().describe()).filter(|text| !text.is_empty());
                self.report(|| set_to(None, limit()));
                Ok(())
            }
            Queues::Unlimited | Queues::Keyed(_) => Err(ConfigError::NoLimit),
        }
    }

    /// Changes the limit of one key, or of its group.
    pub(crate) fn set_limit_for(
        &self,
        key: &Name,
        setting: Option<L::Setting>,
    ) -> Result<(), ConfigError> {
        match &self.queues {
            Queues::Unlimited => Err(ConfigError::NoLimit),
            Queues::Single(_) => Err(ConfigError::NotByKey),
            Queues::Keyed(keyed) => {
                keyed.set_limit_for(key, setting);
                self.report(|| set_to(Some(key.clone()), L::describe_setting(setting)));
                Ok(())
            }
        }
    }

    /// Returns the queue of a key that has one; the only queue of a single limit.
    pub(crate) fn queue_of(&self, key: &str) -> Option<Arc<LimitQueue<L>>> {
        match &self.queues {
            Queues::Unlimited => None,
            Queues::Single(queue) => Some(Arc::clone(queue)),
            Queues::Keyed(keyed) => keyed.queue_of(key),
        }
    }

    /// Returns the limit that a new queue of the key would have.
    pub(crate) fn limit_of(&self, key: &str) -> Option<L::Setting> {
        match &self.queues {
            Queues::Unlimited | Queues::Single(_) => None,
            Queues::Keyed(keyed) => keyed.limit_of(key),
        }
    }

    /// Returns the limiter that a new queue of the key would have; `None` if it would have none.
    #[cfg(feature = "rate")]
    pub(crate) fn limiter_of_new(&self, key: &str) -> Option<L> {
        match &self.queues {
            Queues::Unlimited | Queues::Single(_) => None,
            Queues::Keyed(keyed) => keyed.limiter_of_new(key),
        }
    }

    /// Returns all queues that exist.
    pub(crate) fn queues(&self) -> Vec<Arc<LimitQueue<L>>> {
        match &self.queues {
            Queues::Unlimited => Vec::new(),
            Queues::Single(queue) => vec![Arc::clone(queue)],
            Queues::Keyed(keyed) => keyed.queues(),
        }
    }

    /// Returns the limiter of all calls, or that of which those of the keys are made.
    pub(crate) fn limiter(&self) -> Option<&L> {
        match &self.queues {
            Queues::Unlimited => None,
            Queues::Single(queue) => Some(queue.limiter()),
            Queues::Keyed(keyed) => Some(keyed.template()),
        }
    }

    /// Returns the limits by tool or by key; `None` if one limit is for all calls.
    pub(crate) fn limits_of_keys(&self) -> Option<PerTool<L::Setting>> {
        match &self.queues {
            Queues::Unlimited | Queues::Single(_) => None,
            Queues::Keyed(keyed) => Some(keyed.limits()),
        }
    }

    /// Returns how many calls wait in all queues.
    pub(crate) fn queued(&self) -> usize {
        self.queues().iter().map(|queue| queue.queued()).sum()
    }

    /// Reports a change to the sinks of this value.
    fn report(&self, change: impl FnOnce() -> LimitChange) {
        self.events.report(|| EventKind::LimitChanged {
            layer: self.name.clone(),
            change: change(),
        });
    }
}

fn set_to(key: Option<Name>, limit: Option<String>) -> LimitChange {
    let limit = limit.map(Name::from);
    LimitChange::Set { key, limit }
}

impl<L: Limiter> Clone for Limits<L> {
    fn clone(&self) -> Self {
        let queues = match &self.queues {
            Queues::Unlimited => Queues::Unlimited,
            Queues::Single(queue) => Queues::Single(Arc::clone(queue)),
            Queues::Keyed(keyed) => Queues::Keyed(Arc::clone(keyed)),
        };
        Self {
            queues,
            cost: self.cost.clone(),
            name: self.name.clone(),
            events: self.events.clone(),
        }
    }
}

// === impl CostFn ===

impl fmt::Debug for CostFn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CostFn")
    }
}
