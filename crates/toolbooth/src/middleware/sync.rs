//! Atomics and locks of shared state. The model checks replace them with those of `shuttle`.

#[cfg(all(test, shuttle))]
pub(crate) use shuttle::sync::{Arc, Mutex, MutexGuard, RwLock, Weak, atomic};
#[cfg(not(all(test, shuttle)))]
pub(crate) use std::sync::{Arc, Mutex, MutexGuard, RwLock, Weak, atomic};

use std::sync::PoisonError;

#[cfg(all(test, shuttle))]
use shuttle::sync::{RwLockReadGuard, RwLockWriteGuard};
#[cfg(not(all(test, shuttle)))]
use std::sync::{RwLockReadGuard, RwLockWriteGuard};

/// Locks a mutex. Ignores poison: no holder of a lock leaves its state half changed.
#[inline]
pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Locks for reading. Ignores poison, as [`lock`].
#[inline]
pub(crate) fn read<T: ?Sized>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

/// Locks for writing. Ignores poison, as [`lock`].
#[inline]
pub(crate) fn write<T: ?Sized>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}
