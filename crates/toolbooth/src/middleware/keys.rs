//! Keys that a request chooses, such as tenants: their length has a bound, and so has their number.
//!
//! What is kept for a key is forgotten where nothing is lost by it: nobody uses it, and it is as it was when it was made. No task does that: each new
//! key looks at two of those that are there, in turn, and forgets the one that has not been asked for in a while; only
//! where there is no room does it look for one that can go at once. It goes all round for that, if it must; but whoever comes while that is not
//! paid for looks at a few only. So those who are refused cost what they are worth, however many keys there are: a few looks each, and one for each microsecond that goes by.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use toolbooth_core::{Moment, Name, OverloadReason, ToolError};

/// How many bytes a key may have. A longer one is refused, and not cut: two keys must not become one.
pub(crate) const MAX_KEY: usize = 1_024;

/// How many keys there may be where nothing else is said.
pub(crate) const DEFAULT_KEYS: usize = 10_000;

/// After how long without a call a key is forgotten where nothing else is said.
pub(crate) const DEFAULT_IDLE: Duration = Duration::from_secs(600);

/// At how many keys a new one looks in vain, whenever it comes.
pub(super) const FEW: usize = 16;

/// How long nobody goes all round for each look in vain of the one who did.
pub(super) const REST: Duration = Duration::from_micros(1);

/// What is kept for a key.
pub(crate) trait Idle {
    /// From when on it is as it was when it was made, if nobody uses it meanwhile.
    fn idle_from(&self) -> Moment;
}

/// Values by key, each in use for as long as somebody has it.
#[derive(Debug)]
pub(crate) struct Keys<V> {
    pub(super) most: usize,
    pub(super) idle: Duration,
    pub(super) entries: HashMap<Name, Entry<V>>,
    /// Each key once, in the order in which they are looked at.
    pub(super) ring: VecDeque<Name>,
    /// From when on a key may be looked for all round.
    pub(super) rested: Moment,
}

#[derive(Debug)]
pub(super) struct Entry<V> {
    value: Arc<V>,
    used: Moment,
}

/// Why there is no value for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyRejection {
    /// It has so many bytes.
    TooLong(usize),
    /// There are so many already, and none of them is idle.
    TooMany(usize),
}

// === impl Keys ===

impl<V: Idle> Keys<V> {
    pub(crate) fn new() -> Self {
        Self {
            most: DEFAULT_KEYS,
            idle: DEFAULT_IDLE,
            entries: HashMap::new(),
            ring: VecDeque::new(),
            rested: Moment::from_nanos(0),
        }
    }

    /// How many keys there may be, and after how long without a call one is forgotten.
    pub(crate) const fn set_bounds(&mut self, most: usize, idle: Duration) {
        self.most = most;
        self.idle = idle;
    }

    /// The value of a key that was asked for before.
    pub(crate) fn get(&self, key: &str) -> Option<&Arc<V>> {
        self.entries.get(key).map(|entry| &entry.value)
    }

    /// All values, in an order that a program which does the same again finds again: what is done to all of them has a course then, too.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Name, &Arc<V>)> {
        let value = |key| Some((key, &self.entries.get(key)?.value));
        self.ring.iter().filter_map(value)
    }

    /// The value of a key, made if it is new. What had to go for it comes back, to be dropped where no lock is held.
    pub(crate) fn find(
        &mut self,
        key: Name,
        now: Moment,
        make: impl FnOnce() -> V,
    ) -> Result<(Arc<V>, Vec<Arc<V>>), KeyRejection> {
        if let Some(entry) = self.entries.get_mut(&*key) {
            entry.used = now;
            return Ok((Arc::clone(&entry.value), Vec::new()));
        }
        if key.len() > MAX_KEY {
            return Err(KeyRejection::TooLong(key.len()));
        }
        let gone = self.make_room(now)?;
        let value = Arc::new(make());
        let entry = Entry {
            value: Arc::clone(&value),
            used: now,
        };
        self.entries.insert(key.clone(), entry);
        self.ring.push_back(key);
        Ok((value, gone))
    }

    fn make_room(&mut self, now: Moment) -> Result<Vec<Arc<V>>, KeyRejection> {
        let mut gone = Vec::new();
        for _ in 0..self.ring.len().min(2) {
            gone.extend(self.look_at_next(now, self.idle));
        }
        let most = match now >= self.rested {
            true => self.ring.len(),
            false => FEW.min(self.ring.len()),
        };
        let mut in_vain = 0;
        while self.entries.len() >= self.most && in_vain < most {
            match self.look_at_next(now, Duration::ZERO) {
                Some(value) => gone.push(value),
                None => in_vain += 1,
            }
        }
        if in_vain > FEW {
            let looks = u32::try_from(in_vain).unwrap_or(u32::MAX);
            self.rested = now.after(REST * looks).unwrap_or(now);
        }
        match self.entries.len() < self.most {
            true => Ok(gone),
            false => Err(KeyRejection::TooMany(self.most)),
        }
    }

    /// Takes out the next key of the ring if it can go, or else lets it go round again.
    fn look_at_next(&mut self, now: Moment, idle: Duration) -> Option<Arc<V>> {
        let key = self.ring.pop_front()?;
        let can_go = self.entries.get_mut(&*key).is_some_and(|entry| {
            // All handles but this one are made under the lock that is held here: where it is the only one, it stays so.
            // Unlike the count of them, this sees all that was done through the others.
            Arc::get_mut(&mut entry.value).is_some_and(|value| value.idle_from() <= now)
                && now.since(entry.used) >= idle
        });
        if can_go {
            return Some(self.entries.remove(&*key)?.value);
        }
        self.ring.push_back(key);
        None
    }
}

// === impl KeyRejection ===

impl KeyRejection {
    pub(crate) fn error(self) -> ToolError {
        match self {
            Self::TooLong(bytes) => {
                let message = format!("a key may have {MAX_KEY} bytes, and this one has {bytes}");
                ToolError::invalid_arguments("key", message)
            }
            Self::TooMany(keys) => ToolError::overloaded(OverloadReason::too_many_keys(keys)),
        }
    }
}
