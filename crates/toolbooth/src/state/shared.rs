//! The values. All writes go through [`SharedState::store`].
//!
//! Invariants:
//! 1. A version is used once in a state, and the versions of a key grow with each write.
//! 2. `keys` is never less than the number of keys in the map, and never more than the maximum.
//! 3. No foreign code runs while the map changes a key: it runs before, and again after a conflict.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use papaya::{Compute, HashMap, Operation};
use toolbooth_core::Name;

use super::StateError;
use super::lock::Locks;

/// Typed values by key, shared by all clones. See the [module](super).
#[derive(Clone)]
pub struct SharedState {
    shared: Arc<Shared>,
}

pub(super) struct Shared {
    values: HashMap<Name, Entry>,
    keys: AtomicUsize,
    versions: AtomicU64,
    pub(super) locks: Locks,
    pub(super) max_keys: usize,
    max_key_bytes: usize,
}

/// A value with its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Versioned<T> {
    /// The value.
    pub value: T,
    /// The version, which every write of the key replaces by a higher one. Never 0.
    pub version: u64,
}

#[derive(Clone)]
struct Entry {
    value: Value,
    version: u64,
}

type Value = Arc<dyn Any + Send + Sync>;

/// Room for one more key, which is returned unless the key is inserted.
struct Room<'a> {
    keys: &'a AtomicUsize,
    is_used: bool,
}

const DEFAULT_MAX_KEYS: usize = 10_000;
const DEFAULT_MAX_KEY_BYTES: usize = 256;

// === impl SharedState ===

impl SharedState {
    /// Creates an empty state for at most 10,000 keys of 256 bytes.
    #[must_use]
    pub fn new() -> Self {
        Self::with_limits(DEFAULT_MAX_KEYS, DEFAULT_MAX_KEY_BYTES)
    }

    /// Creates an empty state for at most `max_keys` keys of `max_key_bytes` bytes.
    #[must_use]
    pub fn with_limits(max_keys: usize, max_key_bytes: usize) -> Self {
        Self {
            shared: Arc::new(Shared {
                values: HashMap::new(),
                keys: AtomicUsize::new(0),
                versions: AtomicU64::new(0),
                locks: Locks::default(),
                max_keys,
                max_key_bytes,
            }),
        }
    }

    /// Returns the number of keys that have a value.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.values.len()
    }

    /// Returns whether no key has a value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns a clone of the value of a key.
    ///
    /// # Errors
    /// `KeyTooLong`, `WrongType`.
    pub fn get<T: Clone + Send + Sync + 'static>(
        &self,
        key: &str,
    ) -> Result<Option<T>, StateError> {
        let found = self.get_versioned(key)?;
        Ok(found.map(|Versioned { value, .. }| value))
    }

    /// Returns a clone of the value of a key with its version.
    ///
    /// # Errors
    /// `KeyTooLong`, `WrongType`.
    pub fn get_versioned<T: Clone + Send + Sync + 'static>(
        &self,
        key: &str,
    ) -> Result<Option<Versioned<T>>, StateError> {
        let Some(Entry { value, version }) = self.entry(key)? else {
            return Ok(None);
        };
        let value = typed::<T>(&value)?.clone();
        Ok(Some(Versioned { value, version }))
    }

    /// Sets the value of a key. Returns the new version.
    ///
    /// The type of the value is that of the key. A number without a suffix is an `i32`: write
    /// `1_i64` for a counter of [`increment`](Self::increment).
    ///
    /// # Errors
    /// `KeyTooLong`, `Full`, `WrongType` if the value so far has another type.
    pub fn set<T: Send + Sync + 'static>(&self, key: &str, value: T) -> Result<u64, StateError> {
        self.store(key, &Arc::new(value), is_typed::<T>)
    }

    /// Removes the value of a key, of any type. Returns whether there was one.
    #[expect(
        clippy::must_use_candidate,
        reason = "called for its effect; the result is optional"
    )]
    pub fn remove(&self, key: &str) -> bool {
        let is_removed = self.shared.values.pin().remove(key).is_some();
        if is_removed {
            self.shared.keys.fetch_sub(1, Ordering::AcqRel);
        }
        is_removed
    }

    /// Adds `by` to a counter, which starts with 0. Returns the new value.
    ///
    /// # Errors
    /// `KeyTooLong`, `Full`, `WrongType` if the value is not an `i64`, `Overflow`.
    pub fn increment(&self, key: &str, by: i64) -> Result<i64, StateError> {
        self.try_update(key, |counter: Option<&i64>| {
            let counter = counter.copied().unwrap_or(0);
            counter.checked_add(by).ok_or(StateError::Overflow)
        })
    }

    /// Replaces the value of a key by what `update` returns for it. Returns the new value.
    ///
    /// If another operation changes the key meanwhile, `update` is called again with the value of
    /// that one. It runs without a lock, so that it may use the state.
    ///
    /// # Errors
    /// `KeyTooLong`, `Full`, `WrongType`.
    ///
    /// ```
    /// use toolbooth::SharedState;
    ///
    /// # fn main() -> Result<(), toolbooth::StateError> {
    /// let state = SharedState::new();
    /// let add = |name: &'static str| {
    ///     state.update("names", move |names: Option<&Vec<&'static str>>| {
    ///         let mut names = names.cloned().unwrap_or_default();
    ///         names.push(name);
    ///         names
    ///     })
    /// };
    /// add("ada")?;
    /// assert_eq!(add("grace")?, ["ada", "grace"]);
    /// # Ok(()) }
    /// ```
    pub fn update<T: Clone + Send + Sync + 'static>(
        &self,
        key: &str,
        mut update: impl FnMut(Option<&T>) -> T,
    ) -> Result<T, StateError> {
        self.try_update(key, |value| Ok(update(value)))
    }

    fn try_update<T: Clone + Send + Sync + 'static>(
        &self,
        key: &str,
        mut update: impl FnMut(Option<&T>) -> Result<T, StateError>,
    ) -> Result<T, StateError> {
        loop {
            let found = self.entry(key)?;
            let value = match &found {
                Some(entry) => Some(typed::<T>(&entry.value)?),
                None => None,
            };
            let value = Arc::new(update(value)?);
            let version = found.map_or(0, |entry| entry.version);
            match self.store(key, &value, |found| is_version(found, version)) {
                Ok(_) => return Ok(T::clone(&value)),
                Err(StateError::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Sets the value of a key if its version is `version`, 0 for a key without a value. Returns
    /// the new version. Of several calls with one version, exactly one succeeds.
    ///
    /// # Errors
    /// `Conflict` with the current version, `KeyTooLong`, `Full`, `WrongType` if the value so far
    /// has another type.
    ///
    /// ```
    /// use toolbooth::{SharedState, StateError};
    ///
    /// # fn main() -> Result<(), StateError> {
    /// let state = SharedState::new();
    /// let first = state.compare_and_swap("leader", 0, "node 1")?;
    /// let late = state.compare_and_swap("leader", 0, "node 2");
    /// assert!(matches!(late, Err(StateError::Conflict { version, .. }) if version == first));
    /// state.compare_and_swap("leader", first, "node 2")?;
    /// # Ok(()) }
    /// ```
    pub fn compare_and_swap<T: Send + Sync + 'static>(
        &self,
        key: &str,
        version: u64,
        value: T,
    ) -> Result<u64, StateError> {
        self.store(key, &Arc::new(value), |found| {
            is_version(found, version)?;
            is_typed::<T>(found)
        })
    }

    /// Returns a clone of the value of a key. Creates the value if there is none.
    ///
    /// Of several values that are created at the same time, the first one stays, and all callers
    /// receive that one. `create` runs without a lock.
    ///
    /// # Errors
    /// `KeyTooLong`, `Full`, `WrongType`.
    pub fn get_or_insert_with<T: Clone + Send + Sync + 'static>(
        &self,
        key: &str,
        create: impl FnOnce() -> T,
    ) -> Result<T, StateError> {
        if let Some(value) = self.get(key)? {
            return Ok(value);
        }
        let created = Arc::new(create());
        loop {
            match self.store(key, &created, |found| is_version(found, 0)) {
                Ok(_) => return Ok(T::clone(&created)),
                Err(StateError::Conflict { .. }) => {}
                Err(error) => return Err(error),
            }
            if let Some(value) = self.get(key)? {
                return Ok(value);
            }
        }
    }

    pub(super) const fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Returns the version of a key, 0 if it has no value.
    pub(super) fn version(&self, key: &str) -> Result<u64, StateError> {
        Ok(self.entry(key)?.map_or(0, |entry| entry.version))
    }

    fn entry(&self, key: &str) -> Result<Option<Entry>, StateError> {
        self.shared.check(key)?;
        Ok(self.shared.values.pin().get(key).cloned())
    }

    /// Stores a value if `check` passes the current one. The check may run several times. Returns
    /// the new version.
    fn store<T: Send + Sync + 'static>(
        &self,
        key: &str,
        value: &Arc<T>,
        check: impl Fn(Option<&Entry>) -> Result<(), StateError>,
    ) -> Result<u64, StateError> {
        let shared = &*self.shared;
        shared.check(key)?;
        let mut room = None;
        let mut stored = 0;
        let values = shared.values.pin();
        let computed = values.compute(Name::from(key), |found| {
            let found = found.map(|(_, entry)| entry);
            if let Err(error) = check(found) {
                return Operation::Abort(error);
            }
            if found.is_none() && room.is_none() {
                match shared.room() {
                    Ok(new) => room = Some(new),
                    Err(error) => return Operation::Abort(error),
                }
            }
            stored = shared.versions.fetch_add(1, Ordering::Relaxed) + 1;
            Operation::Insert(Entry {
                value: Arc::clone(value) as Value,
                version: stored,
            })
        });
        match computed {
            Compute::Aborted(error) => return Err(error),
            Compute::Inserted(..) => {
                if let Some(room) = &mut room {
                    room.is_used = true;
                }
            }
            Compute::Updated { .. } | Compute::Removed(..) => {}
        }
        Ok(stored)
    }
}

impl Default for SharedState {
    fn default() -> Self {
        Self::new()
    }
}

/// Shows neither keys nor values, which may be secret.
impl fmt::Debug for SharedState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedState")
            .field("keys", &self.len())
            .field("max_keys", &self.shared.max_keys)
            .finish_non_exhaustive()
    }
}

// === impl Shared ===

impl Shared {
    pub(super) const fn check(&self, key: &str) -> Result<(), StateError> {
        match key.len() > self.max_key_bytes {
            true => Err(StateError::KeyTooLong {
                bytes: key.len(),
                max: self.max_key_bytes,
            }),
            false => Ok(()),
        }
    }

    fn room(&self) -> Result<Room<'_>, StateError> {
        let one_more = |keys: usize| (keys < self.max_keys).then_some(keys + 1);
        let taken = self
            .keys
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, one_more);
        let max = self.max_keys;
        taken.map_err(|_full| StateError::Full { max })?;
        Ok(Room {
            keys: &self.keys,
            is_used: false,
        })
    }
}

// === impl Room ===

impl Drop for Room<'_> {
    fn drop(&mut self) {
        if !self.is_used {
            self.keys.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

fn typed<T: 'static>(value: &Value) -> Result<&T, StateError> {
    value.downcast_ref().ok_or(StateError::WrongType)
}

fn is_typed<T: 'static>(found: Option<&Entry>) -> Result<(), StateError> {
    match found {
        Some(entry) => typed::<T>(&entry.value).map(|_| ()),
        None => Ok(()),
    }
}

fn is_version(found: Option<&Entry>, expected: u64) -> Result<(), StateError> {
    match found.map_or(0, |entry| entry.version) {
        version if version == expected => Ok(()),
        version => Err(StateError::Conflict { version }),
    }
}
