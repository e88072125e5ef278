//! Keys that a request chooses, such as tenants: their length has a bound, and so has their number.
//!
//! What is kept for a key is forgotten where nothing is lost by it: nobody uses it, and it is as it was when it was made. No task does that: each new
//! key looks at two of those that are there, in turn, and forgets the one that has not been asked for in a while; only
//! where there is no room does it look for one that can go at once.

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

/// What is kept for a key.
pub(crate) trait Idle {
    /// From when on it is as it was when it was made, if nobody uses it meanwhile.
    fn idle_from(&self) -> Moment;
}

/// Values by key, each in use for as long as somebody has it.
#[derive(Debug)]
pub(crate) struct Keys<V> {
    most: usize,
    idle: Duration,
    entries: HashMap<Name, Entry<V>>,
    /// Each key once, in the order in which they are looked at.
    ring: VecDeque<Name>,
}

#[derive(Debug)]
struct Entry<V> {
    value: Arc<V>,
    used: Moment,
}

/// Why there is no value for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyRefusal {
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
        }
    }

    /// How many keys there may be, and after how long without a call one is forgotten.
    pub(crate) const fn set_bounds(&mut self, most: usize, idle: Duration) {
        self.most = most;
        self.idle = idle;
    }

    /// The value of a key that was asked for before.
    #[cfg(any(feature = "concurrency", feature = "rate"))]
    pub(crate) fn get(&self, key: &str) -> Option<&Arc<V>> {
        self.entries.get(key).map(|entry| &entry.value)
    }

    /// All values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Name, &Arc<V>)> {
        self.entries.iter().map(|(key, entry)| (key, &entry.value))
    }

    /// The value of a key, made if it is new. What had to go for it comes back, to be dropped where no lock is held.
    pub(crate) fn find(
        &mut self,
        key: Name,
        now: Moment,
        make: impl FnOnce() -> V,
    ) -> Result<(Arc<V>, Vec<Arc<V>>), KeyRefusal> {
        if let Some(entry) = self.entries.get_mut(&*key) {
            entry.used = now;
            return Ok((Arc::clone(&entry.value), Vec::new()));
        }
        if key.len() > MAX_KEY {
            return Err(KeyRefusal::TooLong(key.len()));
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

    fn make_room(&mut self, now: Moment) -> Result<Vec<Arc<V>>, KeyRefusal> {
        let mut gone = Vec::new();
        for _ in 0..self.ring.len().min(2) {
            gone.extend(self.look_at_next(now, self.idle));
        }
        let mut unseen = self.ring.len();
        while self.entries.len() >= self.most {
            if unseen == 0 {
                return Err(KeyRefusal::TooMany(self.most));
            }
            unseen -= 1;
            gone.extend(self.look_at_next(now, Duration::ZERO));
        }
        Ok(gone)
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

// === impl KeyRefusal ===

impl KeyRefusal {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Idle from then on.
    #[derive(Debug)]
    struct Until(u64);

    impl Idle for Until {
        fn idle_from(&self) -> Moment {
            Moment::from_nanos(self.0)
        }
    }

    fn keys(most: usize, idle: u64) -> Keys<Until> {
        let mut keys = Keys::new();
        keys.set_bounds(most, Duration::from_nanos(idle));
        keys
    }

    fn name(key: u64) -> Name {
        Name::from(format!("key {key}"))
    }

    #[test]
    fn a_million_keys_one_after_the_other_leave_memory_flat() {
        let mut keys = keys(DEFAULT_KEYS, 600_000);
        let mut most = 0;
        let mut room = Vec::new();
        for key in 0..1_000_000 {
            let now = Moment::from_nanos(1 + 100 * key);
            keys.find(name(key), now, || Until(0)).unwrap();
            most = keys.entries.len().max(most);
            if key % 200_000 == 199_999 {
                room.push(keys.ring.capacity());
                assert!(keys.entries.capacity() <= 4 * most);
            }
        }
        // The 6,000 of the last 600 us, and those that have gone round since they were idle.
        assert!(most <= 9_000, "{most}");
        assert_eq!(room, [room[0]; 5]);
    }

    #[test]
    fn a_key_goes_only_when_it_is_idle_and_nobody_uses_it() {
        let mut keys = keys(2, 1_000);
        let at = Moment::from_nanos;
        let (used, _) = keys.find(name(1), at(1), || Until(0)).unwrap();
        drop(keys.find(name(2), at(1), || Until(50)).unwrap());
        let refused = keys.find(name(3), at(49), || Until(0)).unwrap_err();
        assert_eq!(refused, KeyRefusal::TooMany(2));
        // The second is full again; the first is still in use.
        drop(keys.find(name(3), at(50), || Until(0)).unwrap());
        assert!(keys.get("key 1").is_some() && keys.get("key 2").is_none());
        drop(used);
        drop(keys.find(name(4), at(50), || Until(0)).unwrap());
        drop(keys.find(name(5), at(50), || Until(0)).unwrap());
        assert!(keys.get("key 1").is_none() && keys.get("key 3").is_none());
    }

    #[test]
    fn a_key_of_a_megabyte_is_refused() {
        let mut keys = keys(2, 0);
        let long = Name::from("x".repeat(1_000_000));
        let refused = keys.find(long, Moment::from_nanos(1), || Until(0));
        assert_eq!(refused.unwrap_err(), KeyRefusal::TooLong(1_000_000));
        let longest = Name::from("x".repeat(MAX_KEY));
        assert!(
            keys.find(longest, Moment::from_nanos(1), || Until(0))
                .is_ok()
        );
    }

    proptest! {
        /// Never more than may be; a key that is used or not idle is never forgotten; refused only where none could go.
        #[test]
        fn bounded_and_nothing_is_lost(
            most in 1_usize..6,
            steps in prop::collection::vec((0_u64..10, 0_u64..40, any::<bool>()), 1..200),
        ) {
            let mut keys = keys(most, 100);
            let mut held: HashMap<u64, Arc<Until>> = HashMap::new();
            let mut until: HashMap<u64, u64> = HashMap::new();
            let mut now = 1;
            for (key, time, hold) in steps {
                now += time;
                let busy = |key: u64| held.contains_key(&key) || until.get(&key).is_some_and(|until| *until > now);
                let known = keys.get(&name(key)).is_some();
                let room = known || keys.entries.len() < most || keys.iter().any(|(key, _)| {
                    (0..10).any(|one| name(one) == *key && !busy(one))
                });
                match keys.find(name(key), Moment::from_nanos(now), || Until(now + 30)) {
                    Ok((value, _)) => {
                        prop_assert!(room);
                        until.insert(key, value.0);
                        if hold {
                            held.insert(key, value);
                        } else {
                            held.remove(&key);
                        }
                    }
                    Err(refusal) => {
                        prop_assert!(!room);
                        prop_assert_eq!(refusal, KeyRefusal::TooMany(most));
                    }
                }
                prop_assert!(keys.entries.len() <= most);
                prop_assert_eq!(keys.entries.len(), keys.ring.len());
                for key in held.keys() {
                    prop_assert!(keys.get(&name(*key)).is_some());
                }
            }
        }
    }
}
