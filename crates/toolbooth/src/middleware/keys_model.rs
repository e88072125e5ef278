//! What is kept by key, and what is forgotten, beside what a user of it knows.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use toolbooth_core::{Moment, Name};

use super::keys::{DEFAULT_KEYS, FEW, Idle, KeyRejection, Keys, MAX_KEY, REST};

thread_local! {
    /// How often a key was looked at that nobody uses.
    static LOOKS: Cell<usize> = const { Cell::new(0) };
}

/// Idle from then on.
#[derive(Debug)]
struct Until(u64);

impl Idle for Until {
    fn idle_from(&self) -> Moment {
        LOOKS.set(LOOKS.get() + 1);
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
    assert_eq!(refused, KeyRejection::TooMany(2));
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
    assert_eq!(refused.unwrap_err(), KeyRejection::TooLong(1_000_000));
    let longest = Name::from("x".repeat(MAX_KEY));
    assert!(
        keys.find(longest, Moment::from_nanos(1), || Until(0))
            .is_ok()
    );
}

/// Who is refused looks at a few, or at one for each microsecond that has gone by: not all look at all.
#[test]
fn a_new_key_that_finds_no_room_looks_at_few() {
    let mut keys = keys(DEFAULT_KEYS, 0);
    let mut now = 1;
    let mut attempt = |key: usize, now: u64| {
        let before = LOOKS.get();
        let found = keys.find(name(key as u64), Moment::from_nanos(now), || {
            Until(u64::MAX)
        });
        (found.is_ok(), LOOKS.get() - before)
    };
    for key in 0..DEFAULT_KEYS {
        assert_eq!(attempt(key, now), (true, key.min(2)));
    }
    for _ in 0..3 {
        assert_eq!(attempt(DEFAULT_KEYS, now), (false, 2 + DEFAULT_KEYS));
        for _ in 0..1_000 {
            assert_eq!(attempt(DEFAULT_KEYS, now), (false, 2 + FEW));
        }
        // 10 ms later.
        now += 10_000_000;
        assert_eq!(attempt(DEFAULT_KEYS, now - 1), (false, 2 + FEW));
    }
}

/// Wherever in the ring it is.
#[test]
fn a_key_that_goes_idle_is_found_a_microsecond_for_each_key_later() {
    for place in 0..100 {
        let mut keys = keys(100, 0);
        let mut now = Moment::from_nanos(1);
        let find = |keys: &mut Keys<Until>, key, now| {
            let found = keys.find(name(key), now, || Until(0));
            found.map(|(used, _)| used)
        };
        let mut used: Vec<_> = (0..100)
            .map(|key| find(&mut keys, key, now).unwrap())
            .collect();
        assert!(find(&mut keys, 100, now).is_err());
        drop(used.swap_remove(place));
        now = now.after(100 * REST).unwrap();
        assert!(find(&mut keys, 100, now).is_ok());
    }
}

proptest! {
    /// Never more than may be; a key that is used or not idle is never forgotten; refused only where none could go, or many
    /// were looked at shortly before.
    #[test]
    fn bounded_and_nothing_is_lost(
        most in prop_oneof![1_usize..6, FEW..FEW + 10],
        steps in prop::collection::vec((0_u64..40, prop_oneof![0_u64..40, 0_u64..40_000], any::<bool>()), 1..200),
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
                (0..40).any(|one| name(one) == *key && !busy(one))
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
                    let rests = most > FEW && Moment::from_nanos(now) < keys.rested;
                    prop_assert!(!room || rests);
                    prop_assert_eq!(refusal, KeyRejection::TooMany(most));
                }
            }
            prop_assert!(keys.entries.len() <= most);
            prop_assert!(keys.rested.as_nanos() <= now + 1_000 * most as u64);
            prop_assert_eq!(keys.entries.len(), keys.ring.len());
            for key in held.keys() {
                prop_assert!(keys.get(&name(*key)).is_some());
            }
        }
    }
}
