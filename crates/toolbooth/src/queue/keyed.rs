//! A queue for each tool or key.
//!
//! Lock order: the registry of the key map or the lock of a queue first, then `config`.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use toolbooth_core::{Moment, Name, Part, ToolRequest};

use super::limit_queue::Settings;
use super::overflow::Overflow;
use super::{LimitQueue, Limiter, QueueSetting, Rejection};
use crate::middleware::KeyRejection;
use crate::middleware::keys::{Idle, KeyMap};
use crate::middleware::sync::{Arc, RwLock, read, write};
use crate::middleware::{KeyFn, PerTool};

/// The queues of a limit by tool or by key, created when their keys are first used.
#[derive(Debug)]
pub(super) struct KeyedQueues<L: Limiter> {
    /// `None`: the name of the tool.
    key: Option<KeyFn>,
    /// Keys that share a queue, which is never evicted.
    groups: HashMap<Name, Arc<LimitQueue<L>>>,
    queues: KeyMap<LimitQueue<L>>,
    /// What the limiter of each key has besides its limit. Nothing is taken of it.
    template: L,
    overflow: Overflow<L>,
    config: RwLock<Config<L::Setting>>,
}

#[derive(Debug, Clone)]
struct Config<T> {
    limits: PerTool<T>,
    changed: Changed,
    settings: Settings,
}

/// Which limits were changed since they were configured.
#[derive(Debug, Clone, Default)]
struct Changed {
    default: bool,
    keys: HashSet<Name>,
}

// === impl KeyedQueues ===

impl<L: Limiter> KeyedQueues<L> {
    pub(super) fn per_tool(limits: PerTool<L::Setting>) -> Self {
        let settings = Settings::default();
        let template = L::new(None);
        Self {
            key: None,
            groups: HashMap::new(),
            queues: KeyMap::new(),
            overflow: Overflow::new(limiter_of_unnamed(&template, &limits), settings.clone()),
            template,
            config: RwLock::new(Config {
                limits,
                changed: Changed::default(),
                settings,
            }),
        }
    }

    pub(super) fn by_key(limits: PerTool<L::Setting>, key: KeyFn) -> Self {
        Self {
            key: Some(key),
            ..Self::per_tool(limits)
        }
    }

    /// Creates limits of the same configuration, without any queue of a key.
    pub(super) fn fresh(&self) -> Self {
        self.fresh_with(L::fresh)
    }

    /// As [`fresh`](Self::fresh), with limiters that `change` makes of the template and of the
    /// groups.
    pub(super) fn fresh_with(&self, change: impl Fn(&L) -> L) -> Self {
        let mut config = read(&self.config).clone();
        // They are the configuration of the copy.
        config.changed = Changed::default();
        let mut copies: Vec<(_, Arc<LimitQueue<L>>)> = Vec::new();
        let mut copy_of = |group: &Arc<LimitQueue<L>>| {
            let known = copies.iter().find(|(of, _)| *of == Arc::as_ptr(group));
            if let Some((_, copy)) = known {
                return Arc::clone(copy);
            }
            let limiter = in_group(change(group.limiter()), self.members(group));
            let copy = Arc::new(LimitQueue::new(limiter, config.settings.clone()));
            copies.push((Arc::as_ptr(group), Arc::clone(&copy)));
            copy
        };
        let groups = self.groups.iter();
        let template = change(&self.template);
        Self {
            key: self.key.clone(),
            groups: groups
                .map(|(key, group)| (key.clone(), copy_of(group)))
                .collect(),
            queues: self.queues.fresh(),
            overflow: Overflow::new(
                limiter_of_unnamed(&template, &config.limits),
                config.settings.clone(),
            ),
            template,
            config: RwLock::new(config),
        }
    }

    pub(super) fn set_bounds(&mut self, max_keys: usize, idle: Duration) {
        self.queues.set_bounds(max_keys, idle);
    }

    /// Makes keys share one queue.
    #[cfg(feature = "rate")]
    pub(super) fn add_group(&mut self, setting: L::Setting, keys: impl IntoIterator<Item = Name>) {
        let settings = read(&self.config).settings.clone();
        let limiter = self.template.fresh_for(None, Some(setting), false);
        let limiter = limiter.unwrap_or_else(|| L::new(Some(setting)));
        let keys: Vec<Name> = keys.into_iter().collect();
        let limiter = in_group(limiter, keys.iter());
        let group = Arc::new(LimitQueue::new(limiter, settings));
        let members = keys.into_iter().map(|key| (key, Arc::clone(&group)));
        self.groups.extend(members);
    }

    /// Returns the keys that share a queue.
    fn members<'a>(&'a self, group: &'a Arc<LimitQueue<L>>) -> impl Iterator<Item = &'a Name> {
        let members = self.groups.iter();
        members.filter_map(move |(key, of)| Arc::ptr_eq(of, group).then_some(key))
    }

    /// Returns the queue of a call; `None` if there is no limit for its key.
    ///
    /// `overflows` is called, without a lock, when new keys begin to share one queue. It is passed
    /// the maximum number of keys.
    pub(super) fn queue_for(
        &self,
        part: &Part,
        request: &impl ToolRequest,
        overflows: impl FnOnce(usize),
    ) -> Result<Option<Arc<LimitQueue<L>>>, Rejection> {
        let context = part.context();
        match &self.key {
            Some(key) => self.find_or_create(&key.key(context, request), part, overflows),
            None => self.find_or_create(context.tool(), part, overflows),
        }
    }

    fn find_or_create(
        &self,
        key: &str,
        part: &Part,
        overflows: impl FnOnce(usize),
    ) -> Result<Option<Arc<LimitQueue<L>>>, Rejection> {
        if let Some(group) = self.groups.get(key) {
            return Ok(Some(Arc::clone(group)));
        }
        match self.queues.get(key) {
            Some(queue) => Ok(Some(queue)),
            None => self.create(key, part, overflows),
        }
    }

    #[cold]
    fn create(
        &self,
        key: &str,
        part: &Part,
        overflows: impl FnOnce(usize),
    ) -> Result<Option<Arc<LimitQueue<L>>>, Rejection> {
        let Some(limiter) = self.limiter_of_new(key) else {
            return Ok(None);
        };
        // Reads the configuration again, under the lock of the map's registry. A concurrent change
        // is either seen here, or made before it collects the queues and then finds this one.
        let create = || {
            let limiter = self.limiter_of_new(key).unwrap_or(limiter);
            LimitQueue::new(limiter, read(&self.config).settings.clone())
        };
        let now = part.now();
        let is_named = self.names(key);
        let queue = match is_named {
            // The limit names a bounded number of keys.
            true => self.queues.get_or_insert_always(key, now, create),
            false => self.queues.get_or_insert_with(key, now, create),
        };
        match queue {
            Ok(queue) => {
                if !is_named {
                    self.overflow.end();
                }
                Ok(Some(queue))
            }
            Err(KeyRejection::TooMany(keys)) => {
                if self.overflow.begin() {
                    overflows(keys);
                }
                let queue = self.overflow.enter(part.context(), keys, now);
                Ok(Some(queue))
            }
            Err(rejection) => Err(Rejection::Key(rejection)),
        }
    }

    /// Changes a setting of all queues, also of those created later.
    pub(super) fn configure(&self, setting: &QueueSetting) {
        let mut config = write(&self.config);
        let mut settings = config.settings.clone();
        setting.apply(&mut settings);
        let previous = std::mem::replace(&mut config.settings, settings);
        drop(config);
        // The closures of an order are the user's, and dropped without a lock.
        drop(previous);
        let overflow = [Arc::clone(self.overflow.queue())];
        for queue in self.key_queues().into_iter().chain(overflow) {
            queue.configure(|settings| *settings = read(&self.config).settings.clone());
        }
    }

    /// Changes the limit of each key that has none of its own.
    pub(super) fn set_default_limit(&self, limit: Option<L::Setting>) {
        let mut config = write(&self.config);
        config.limits.set_default(limit);
        config.changed.default = true;
        drop(config);
        self.overflow.queue().set_limit(|limiter| {
            limiter.set(read(&self.config).limits.default().copied());
        });
        for (key, queue) in self.queues.entries() {
            if !read(&self.config).limits.names(&key) {
                self.update(&key, &queue);
            }
        }
    }

    /// Changes the limit of one key, or of its group.
    pub(super) fn set_limit_for(&self, key: &Name, limit: Option<L::Setting>) {
        if let Some(group) = self.groups.get(key) {
            group.set_limit(|limiter| limiter.set(limit));
            return;
        }
        let mut config = write(&self.config);
        config.limits.set(key.clone(), limit);
        config.changed.keys.insert(key.clone());
        drop(config);
        // Sees a queue that is created by the previous limit meanwhile.
        if let Some(queue) = self.queues.peek_registered(key) {
            self.update(key, &queue);
        }
    }

    /// Sets a queue to the limit of its key. Reads the limit under the queue's lock, so that of
    /// several concurrent changes the last one counts for every queue.
    fn update(&self, key: &str, queue: &Arc<LimitQueue<L>>) {
        queue.set_limit(|limiter| limiter.set(self.limit_of(key)));
    }

    /// Returns the queue of a key that was used before.
    pub(super) fn queue_of(&self, key: &str) -> Option<Arc<LimitQueue<L>>> {
        let group = self.groups.get(key).cloned();
        group.or_else(|| self.queues.peek(key))
    }

    /// Returns the limiter that a new queue of the key has; `None` if the key has no limit.
    pub(super) fn limiter_of_new(&self, key: &str) -> Option<L> {
        let config = read(&self.config);
        let limit = config.limits.get(key).copied();
        let is_changed = match config.limits.names(key) {
            true => config.changed.keys.contains(key),
            false => config.changed.default,
        };
        drop(config);
        self.template.fresh_for(Some(key), limit, is_changed)
    }

    pub(super) const fn template(&self) -> &L {
        &self.template
    }

    pub(super) fn limits(&self) -> PerTool<L::Setting> {
        read(&self.config).limits.clone()
    }

    pub(super) fn limit_of(&self, key: &str) -> Option<L::Setting> {
        read(&self.config).limits.get(key).copied()
    }

    /// Returns whether the limit or one that was added names the key.
    fn names(&self, key: &str) -> bool {
        read(&self.config).limits.names(key) || self.template.names(key)
    }

    /// Returns the queues of all groups and keys, and that of overflowing keys if it was used.
    pub(super) fn queues(&self) -> Vec<Arc<LimitQueue<L>>> {
        let mut queues = self.key_queues();
        queues.extend(self.overflow.used().cloned());
        queues
    }

    fn key_queues(&self) -> Vec<Arc<LimitQueue<L>>> {
        let mut queues: Vec<_> = self.groups.values().cloned().collect();
        queues.sort_by_key(Arc::as_ptr);
        queues.dedup_by_key(|queue| Arc::as_ptr(queue));
        queues.extend(self.queues.entries().into_iter().map(|(_, queue)| queue));
        queues
    }
}

/// Moves the limiter of a group to the place of its first member, so that each process finds it.
fn in_group<'a, L: Limiter>(limiter: L, members: impl Iterator<Item = &'a Name>) -> L {
    let place = limiter.place().zip(members.min());
    match place.map(|(place, first)| place.at(first)) {
        Some(place) => limiter.at(place),
        None => limiter,
    }
}

/// Creates the limiter of a key that no limit names.
fn limiter_of_unnamed<L: Limiter>(template: &L, limits: &PerTool<L::Setting>) -> L {
    let limiter = template.fresh_for(None, limits.default().copied(), false);
    limiter.unwrap_or_else(|| template.fresh())
}

impl<L: Limiter> Idle for LimitQueue<L> {
    fn idle_from(&self) -> Moment {
        self.limiter().idle_from()
    }
}
