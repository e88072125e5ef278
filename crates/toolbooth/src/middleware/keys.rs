//! A bounded map of values by key, for keys that a request chooses, such as tenants.
//!
//! Looking up a known key takes the read lock of one shard. Adding a key takes the lock of the
//! registry, which holds all keys in the order in which they were added.
//!
//! A full map evicts by SIEVE (Zhang et al., "SIEVE is Simpler than LRU: an Efficient Turn-Key
//! Eviction Algorithm for Web Caches", NSDI 2024): a hand goes through the registry from the oldest
//! key to the newest. It clears the visited bit of a key that has one, and evicts a key without.
//! Here it skips keys that are not at rest: evicting those would give a key a second limit.
//!
//! Invariants:
//! 1. Keys are added and removed under the lock of the registry, so each key has one value.
//! 2. A value is evicted only at rest: it has no other strong handle, and it equals a new value.
//!    Both are checked under the write lock of the shard, where only a weak handle can make a
//!    strong one.
//! 3. Lock order: registry, then shard. Values are dropped without either.

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use hashbrown::HashTable;
use toolbooth_core::{Moment, Name};

use super::KeyRejection;
use super::sync::atomic::{AtomicBool, Ordering, fence};
use super::sync::{Arc, Mutex, RwLock, lock, read, write};

/// The most bytes of a key. A longer key is rejected: truncated, two keys could become one.
pub(crate) const MAX_KEY_BYTES: usize = 1_024;

/// The default for the most keys.
pub(crate) const DEFAULT_MAX_KEYS: usize = 10_000;

/// The default for how long an unused key stays.
pub(crate) const DEFAULT_IDLE: Duration = Duration::from_secs(600);

/// How many keys an insertion into a full map probes at least.
pub(super) const MIN_PROBES: usize = 16;

/// For how long after a scan of all keys no other one starts, for each key scanned. So rejected new
/// keys cost [`MIN_PROBES`] each, however many keys there are.
pub(super) const SCAN_PAUSE_PER_KEY: Duration = Duration::from_micros(1);

/// How many keys an insertion into a map with room checks for having been idle. Of keys that are
/// used once, the map holds 4/3 of those that arrive in the idle time.
pub(super) const IDLE_CHECKS: usize = 4;

const SHARDS: usize = 64;

/// A value of which unused keys may lose theirs.
pub(crate) trait Idle {
    /// Returns the moment from which the value equals a new one, if it is not used until then.
    fn idle_from(&self) -> Moment;

    /// Called once the key has lost the value, without a lock.
    fn forgotten(&self) {}
}

/// A bounded map of shared values by key. A handle to a value keeps its key in the map.
#[derive(Debug)]
pub(crate) struct KeyMap<V> {
    shards: Box<[Shard<V>]>,
    hasher: RandomState,
    registry: Mutex<Registry>,
}

/// Aligned to a cache line: threads that use different shards do not share one.
#[derive(Debug)]
#[repr(align(64))]
struct Shard<V>(RwLock<HashTable<Entry<V>>>);

#[derive(Debug)]
struct Entry<V> {
    key: Name,
    value: Arc<V>,
    /// Whether the key was looked up since the hand passed it.
    visited: AtomicBool,
}

/// All keys of a map.
#[derive(Debug)]
struct Registry {
    max_keys: usize,
    idle: Duration,
    /// By age, the oldest first.
    keys: BTreeMap<u64, Registered>,
    added: u64,
    /// The age of the key that is probed next.
    hand: u64,
    /// When all keys may be scanned again.
    next_scan: Moment,
}

#[derive(Debug)]
struct Registered {
    key: Name,
    /// The key was not looked up since, unless it is visited.
    unused_since: Moment,
}

/// What the hand does with a key.
enum Probe<V> {
    /// It is in use or does not equal a new value.
    Busy,
    /// It is at rest, and was visited or is not idle for long enough.
    Spared,
    Evicted(Arc<V>),
}

// === impl KeyMap ===

impl<V: Idle> KeyMap<V> {
    pub(crate) fn new() -> Self {
        Self::with_bounds(DEFAULT_MAX_KEYS, DEFAULT_IDLE)
    }

    fn with_bounds(max_keys: usize, idle: Duration) -> Self {
        let shard = || Shard(RwLock::new(HashTable::new()));
        Self {
            shards: std::iter::repeat_with(shard).take(SHARDS).collect(),
            hasher: RandomState::new(),
            registry: Mutex::new(Registry {
                max_keys,
                idle,
                keys: BTreeMap::new(),
                added: 0,
                hand: 0,
                next_scan: Moment::from_nanos(0),
            }),
        }
    }

    /// Creates an empty map with the same bounds.
    pub(crate) fn fresh(&self) -> Self {
        let registry = lock(&self.registry);
        Self::with_bounds(registry.max_keys, registry.idle)
    }

    /// Sets the most keys, and how long an unused key stays.
    pub(crate) fn set_bounds(&mut self, max_keys: usize, idle: Duration) {
        let mut registry = lock(&self.registry);
        registry.max_keys = max_keys;
        registry.idle = idle;
    }

    /// Returns the value of a key, and marks the key as visited.
    pub(crate) fn get(&self, key: &str) -> Option<Arc<V>> {
        self.find(self.hash(key), key)
    }

    fn find(&self, hash: u64, key: &str) -> Option<Arc<V>> {
        let shard = read(self.shard(hash));
        let entry = shard.find(hash, |entry| entry.key == *key)?;
        // Mostly it is set: a store would take the cache line from all other cores.
        if !entry.visited.load(Ordering::Relaxed) {
            entry.visited.store(true, Ordering::Relaxed);
        }
        Some(Arc::clone(&entry.value))
    }

    /// Returns the value of a key without marking it as visited.
    pub(crate) fn peek(&self, key: &str) -> Option<Arc<V>> {
        let hash = self.hash(key);
        let shard = read(self.shard(hash));
        let entry = shard.find(hash, |entry| entry.key == *key)?;
        Some(Arc::clone(&entry.value))
    }

    /// As [`peek`](Self::peek), after an insertion that is under way.
    pub(crate) fn peek_registered(&self, key: &str) -> Option<Arc<V>> {
        let _registry = lock(&self.registry);
        self.peek(key)
    }

    /// Returns all keys and values in the order in which they were added.
    pub(crate) fn entries(&self) -> Vec<(Name, Arc<V>)> {
        let registry = lock(&self.registry);
        let keys = registry.keys.values().map(|registered| &registered.key);
        keys.filter_map(|key| Some((key.clone(), self.peek(key)?)))
            .collect()
    }

    /// Returns the value of a key. Creates it for a new key, under the lock of the registry.
    pub(crate) fn get_or_insert_with(
        &self,
        key: &str,
        now: Moment,
        create: impl FnOnce() -> V,
    ) -> Result<Arc<V>, KeyRejection> {
        self.get_or_insert(key, now, false, create)
    }

    /// As [`get_or_insert_with`](Self::get_or_insert_with), also beyond the bound. For keys that
    /// the configuration names.
    pub(crate) fn get_or_insert_always(
        &self,
        key: &str,
        now: Moment,
        create: impl FnOnce() -> V,
    ) -> Result<Arc<V>, KeyRejection> {
        self.get_or_insert(key, now, true, create)
    }

    fn get_or_insert(
        &self,
        key: &str,
        now: Moment,
        always: bool,
        create: impl FnOnce() -> V,
    ) -> Result<Arc<V>, KeyRejection> {
        let hash = self.hash(key);
        if let Some(value) = self.find(hash, key) {
            return Ok(value);
        }
        if key.len() > MAX_KEY_BYTES {
            return Err(KeyRejection::TooLong(key.len()));
        }
        let mut registry = lock(&self.registry);
        // Another thread may have added it meanwhile.
        if let Some(value) = self.find(hash, key) {
            return Ok(value);
        }
        let evicted = self.make_room(&mut registry, now);
        let max_keys = registry.max_keys;
        if registry.keys.len() >= max_keys && !always {
            drop(registry);
            forget(evicted);
            return Err(KeyRejection::TooMany(max_keys));
        }
        let value = Arc::new(create());
        let entry = Entry {
            key: Name::from(key),
            value: Arc::clone(&value),
            visited: AtomicBool::new(false),
        };
        registry.add(entry.key.clone(), now);
        let mut shard = write(self.shard(hash));
        shard.insert_unique(hash, entry, |entry| self.hash(&entry.key));
        drop(shard);
        drop(registry);
        forget(evicted);
        Ok(value)
    }

    /// Evicts one key of a full map. Of another one, evicts keys that have been idle.
    fn make_room(&self, registry: &mut Registry, now: Moment) -> Vec<Arc<V>> {
        let keys = registry.keys.len();
        if keys >= registry.max_keys {
            return self.evict(registry, now).into_iter().collect();
        }
        let idle = registry.idle;
        let mut check = || match self.probe(registry, now, idle) {
            Some(Probe::Evicted(value)) => Some(value),
            _ => None,
        };
        (0..IDLE_CHECKS.min(keys)).filter_map(|_| check()).collect()
    }

    /// Evicts one key at rest.
    fn evict(&self, registry: &mut Registry, now: Moment) -> Option<Arc<V>> {
        let keys = registry.keys.len();
        let probes = match now >= registry.next_scan {
            true => keys,
            false => MIN_PROBES.min(keys),
        };
        let mut in_vain = 0;
        let evicted = self.evict_within(registry, now, probes, &mut in_vain);
        if in_vain > MIN_PROBES {
            let pause = u32::try_from(in_vain).unwrap_or(u32::MAX);
            let pause = SCAN_PAUSE_PER_KEY.saturating_mul(pause);
            registry.next_scan = now.after(pause).unwrap_or(now);
        }
        evicted
    }

    fn evict_within(
        &self,
        registry: &mut Registry,
        now: Moment,
        probes: usize,
        in_vain: &mut usize,
    ) -> Option<Arc<V>> {
        let mut first_spared = None;
        for _ in 0..probes {
            let probed = registry.hand;
            match self.probe(registry, now, Duration::ZERO)? {
                Probe::Evicted(value) => return Some(value),
                Probe::Spared => first_spared = first_spared.or(Some(probed)),
                Probe::Busy => {}
            }
            *in_vain += 1;
        }
        // The second lap starts at the first key whose visited bit the first one cleared.
        registry.hand = first_spared?;
        for _ in 0..probes {
            if let Probe::Evicted(value) = self.probe(registry, now, Duration::ZERO)? {
                return Some(value);
            }
            *in_vain += 1;
        }
        None
    }

    /// Probes the key at the hand and moves the hand to the next one.
    fn probe(&self, registry: &mut Registry, now: Moment, idle: Duration) -> Option<Probe<V>> {
        let (age, registered) = registry.at_hand()?;
        let probe = self.probe_key(registered, now, idle);
        if let Probe::Evicted(_) = probe {
            registry.keys.remove(&age);
        }
        registry.move_hand(age);
        Some(probe)
    }

    fn probe_key(&self, registered: &mut Registered, now: Moment, idle: Duration) -> Probe<V> {
        let hash = self.hash(&registered.key);
        let mut shard = write(self.shard(hash));
        let found = shard.find_entry(hash, |entry| entry.key == *registered.key);
        let Ok(mut found) = found else {
            return Probe::Busy;
        };
        let entry = found.get_mut();
        let visited = entry.visited.swap(false, Ordering::Relaxed);
        if visited {
            registered.unused_since = now;
        }
        // A weak handle, such as that of the task of a shared limit, does not keep the key.
        if Arc::strong_count(&entry.value) > 1 {
            return Probe::Busy;
        }
        // The count alone does not synchronize with the handles that were dropped.
        fence(Ordering::Acquire);
        if entry.value.idle_from() > now {
            return Probe::Busy;
        }
        if visited || now.since(registered.unused_since) < idle {
            return Probe::Spared;
        }
        let (entry, _) = found.remove();
        Probe::Evicted(entry.value)
    }

    fn hash(&self, key: &str) -> u64 {
        self.hasher.hash_one(key)
    }

    fn shard(&self, hash: u64) -> &RwLock<HashTable<Entry<V>>> {
        // The table uses the low and the highest bits.
        let shard = (hash >> 32) % SHARDS as u64;
        let Shard(shard) = &self.shards[shard as usize];
        shard
    }
}

fn forget<V: Idle>(evicted: Vec<Arc<V>>) {
    for value in evicted {
        value.forgotten();
    }
}

/// What the model of the map looks at.
#[cfg(test)]
impl<V> KeyMap<V> {
    /// Returns how many values all shards hold.
    pub(super) fn len(&self) -> usize {
        let shards = self.shards.iter();
        shards.map(|Shard(shard)| read(shard).len()).sum()
    }

    /// Returns how many values all shards have room for.
    pub(super) fn capacity(&self) -> usize {
        let shards = self.shards.iter();
        shards.map(|Shard(shard)| read(shard).capacity()).sum()
    }

    pub(super) fn next_scan(&self) -> Moment {
        lock(&self.registry).next_scan
    }
}

// === impl Registry ===

impl Registry {
    fn add(&mut self, key: Name, now: Moment) {
        let registered = Registered {
            key,
            unused_since: now,
        };
        self.keys.insert(self.added, registered);
        self.added += 1;
    }

    fn at_hand(&mut self) -> Option<(u64, &mut Registered)> {
        let (age, registered) = self.keys.range_mut(self.hand..).next()?;
        Some((*age, registered))
    }

    /// Moves the hand to the key after `age`, or to the oldest one.
    fn move_hand(&mut self, age: u64) {
        let next = self.keys.range(age + 1..).next();
        let next = next.or_else(|| self.keys.first_key_value());
        self.hand = next.map_or(self.added, |(age, _)| *age);
    }
}
