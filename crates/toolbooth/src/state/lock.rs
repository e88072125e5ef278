//! Critical sections: one holder of a key at a time.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex as SyncMutex, MutexGuard as SyncMutexGuard, PoisonError};

use tokio::sync::{Mutex, OwnedMutexGuard};
use toolbooth_core::Name;

use super::shared::Shared;
use super::{SharedState, StateError};

/// The locks of the keys that are held or waited for.
#[derive(Debug, Default)]
pub(super) struct Locks(SyncMutex<HashMap<Name, Registered>>);

/// The lock of a key. The handles of the lock are no count: a guard releases its own after it has
/// released the map.
#[derive(Debug, Default)]
struct Registered {
    lock: Arc<Mutex<()>>,
    /// The holder and the waiters.
    users: usize,
}

/// A registered lock: of the holder or a waiter. The last one removes it.
struct KeyLock {
    shared: Arc<Shared>,
    key: Name,
    lock: Arc<Mutex<()>>,
}

/// A critical section of one key, until it is dropped. Made by [`SharedState::lock`].
#[must_use = "dropping it ends the critical section"]
pub struct StateGuard {
    // First: released before the lock is removed.
    _held: OwnedMutexGuard<()>,
    lock: KeyLock,
    state: SharedState,
    /// The version that the guard has read or written last.
    version: u64,
}

// === impl SharedState ===

impl SharedState {
    /// Waits until no other guard holds the key, and returns the guard that holds it.
    ///
    /// Waiters are served in FIFO order. The key need not have a value. A call that holds a key and
    /// waits for the same one waits for itself: it is not reentrant. To hold several keys, lock
    /// them in one order everywhere.
    ///
    /// # Errors
    /// `KeyTooLong`; `Full` if as many other keys are locked as the state may have.
    ///
    /// # Cancel safety
    /// Safe: dropping the future leaves the queue. Dropping the guard, such as when the call that
    /// holds it expires, releases the key.
    ///
    /// ```
    /// use toolbooth::SharedState;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), toolbooth::StateError> {
    /// # async fn fetch(_: u64) -> u64 { 42 }
    /// let state = SharedState::new();
    /// let mut token = state.lock("token").await?;
    /// let old = token.get::<u64>()?.unwrap_or_default();
    /// let new = fetch(old).await; // other callers wait
    /// token.set(new)?;
    /// drop(token);
    /// assert_eq!(state.get("token")?, Some(42_u64));
    /// # Ok(()) }
    /// ```
    pub async fn lock(&self, key: &str) -> Result<StateGuard, StateError> {
        let lock = KeyLock::register(self.shared(), key)?;
        let held = Arc::clone(&lock.lock).lock_owned().await;
        Ok(StateGuard {
            _held: held,
            version: self.version(key)?,
            lock,
            state: self.clone(),
        })
    }
}

// === impl StateGuard ===

impl StateGuard {
    /// Returns the key.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.lock.key
    }

    /// Returns a clone of the value of the key.
    ///
    /// # Errors
    /// `WrongType`.
    pub fn get<T: Clone + Send + Sync + 'static>(&mut self) -> Result<Option<T>, StateError> {
        let found = self.state.get_versioned(&self.lock.key)?;
        self.version = found.as_ref().map_or(0, |found| found.version);
        Ok(found.map(|found| found.value))
    }

    /// Sets the value of the key, which is visible at once.
    ///
    /// # Errors
    /// `Conflict` if an operation outside of the critical section has changed the value since the
    /// guard has read it; [`get`](Self::get) reads the new one. `Full`, `WrongType`.
    pub fn set<T: Send + Sync + 'static>(&mut self, value: T) -> Result<(), StateError> {
        let state = &self.state;
        self.version = state.compare_and_swap(&self.lock.key, self.version, value)?;
        Ok(())
    }
}

impl fmt::Debug for StateGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateGuard").finish_non_exhaustive()
    }
}

// === impl Locks ===

impl Locks {
    fn map(&self) -> SyncMutexGuard<'_, HashMap<Name, Registered>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl KeyLock ===

impl KeyLock {
    fn register(shared: &Arc<Shared>, key: &str) -> Result<Self, StateError> {
        shared.check(key)?;
        let mut locks = shared.locks.map();
        if locks.len() >= shared.max_keys && !locks.contains_key(key) {
            let max = shared.max_keys;
            return Err(StateError::Full { max });
        }
        let key = Name::from(key);
        let registered = locks.entry(key.clone()).or_default();
        registered.users += 1;
        let lock = Arc::clone(&registered.lock);
        drop(locks);
        Ok(Self {
            shared: Arc::clone(shared),
            key,
            lock,
        })
    }
}

impl Drop for KeyLock {
    fn drop(&mut self) {
        let mut locks = self.shared.locks.map();
        if let Some(registered) = locks.get_mut(&self.key) {
            registered.users -= 1;
            if registered.users == 0 {
                locks.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lock_is_removed_with_its_last_user_even_if_another_thread_still_has_a_handle() {
        let state = SharedState::new();
        let register = || KeyLock::register(state.shared(), "key").unwrap();
        let locks = || state.shared().locks.map().len();
        let (one, other) = (register(), register());
        // As a user that is dropped at the same time, between its two steps.
        let _lock = Arc::clone(&one.lock);
        drop(one);
        assert_eq!(locks(), 1);
        drop(other);
        assert_eq!(locks(), 0);
    }
}
