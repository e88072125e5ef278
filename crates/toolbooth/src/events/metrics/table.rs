use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use toolbooth_core::Name;

use super::names::OTHER;
use crate::middleware::sync::{RwLock, read, write};

/// The handles of each name, bounded: names beyond the bound share those of `other`.
#[derive(Debug)]
pub(super) struct Table<T> {
    max: usize,
    entries: RwLock<HashMap<Name, Arc<T>>>,
    other: OnceLock<Arc<T>>,
}

// === impl Table ===

impl<T> Table<T> {
    pub(super) fn new(max: usize) -> Self {
        Self {
            max,
            entries: RwLock::default(),
            other: OnceLock::new(),
        }
    }

    pub(super) fn get(&self, name: &str) -> Option<Arc<T>> {
        read(&self.entries).get(name).cloned()
    }

    /// Returns the handles of `name`. `make` registers them for a label value, outside of the lock.
    pub(super) fn get_or_insert(&self, name: &str, make: impl FnOnce(&str) -> T) -> Arc<T> {
        if let Some(known) = self.get(name) {
            return known;
        }
        if name == OTHER || self.len() >= self.max {
            return self.other(make);
        }
        let made = Arc::new(make(name));
        let mut entries = write(&self.entries);
        Arc::clone(entries.entry(name.into()).or_insert(made))
    }

    /// Returns the handles of all names that have none of their own.
    pub(super) fn other(&self, make: impl FnOnce(&str) -> T) -> Arc<T> {
        Arc::clone(self.other.get_or_init(|| Arc::new(make(OTHER))))
    }

    pub(super) fn len(&self) -> usize {
        read(&self.entries).len()
    }
}
