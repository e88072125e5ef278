//! The key map against a model of its keys and their handles.

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use toolbooth_core::{Moment, Name};

use super::KeyRejection;
use super::keys::{
    DEFAULT_MAX_KEYS, IDLE_CHECKS, Idle, KeyMap, MAX_KEY_BYTES, MIN_PROBES, SCAN_PAUSE_PER_KEY,
};

thread_local! {
    /// How many keys without a handle were probed.
    static PROBES: Cell<usize> = const { Cell::new(0) };
}

/// A value that is idle from this time on.
#[derive(Debug)]
struct Until(u64);

impl Idle for Until {
    fn idle_from(&self) -> Moment {
        PROBES.set(PROBES.get() + 1);
        Moment::from_nanos(self.0)
    }
}

fn keys(max_keys: usize, idle: u64) -> KeyMap<Until> {
    let mut keys = KeyMap::new();
    keys.set_bounds(max_keys, Duration::from_nanos(idle));
    keys
}

fn name(key: u64) -> Name {
    Name::from(format!("key {key}"))
}

/// Looks a key up as a call does, and creates its value at `now` if it is new.
fn find(keys: &KeyMap<Until>, key: u64, now: u64, until: u64) -> Result<Arc<Until>, KeyRejection> {
    let key = name(key);
    keys.get_or_insert_with(&key, Moment::from_nanos(now), || Until(until))
}

/// The keys in the map, in the order in which they were added.
fn names(keys: &KeyMap<Until>) -> Vec<Name> {
    keys.entries().into_iter().map(|(key, _)| key).collect()
}

#[test]
fn keys_without_end_leave_memory_flat() {
    let keys = keys(DEFAULT_MAX_KEYS, 600_000);
    let mut most = 0;
    for key in 0..200_000 {
        find(&keys, key, 1 + 100 * key, 0).unwrap();
        if key % 10_000 == 9_999 {
            most = keys.entries().len().max(most);
        }
    }
    // The 6,000 of the last 600 us, and those that the hand has not passed since they were idle.
    assert!(most <= 8_000, "{most}");
    assert!(keys.capacity() <= 4 * most, "{}", keys.capacity());
}

#[test]
fn a_key_is_evicted_only_at_rest_and_without_a_handle() {
    let keys = keys(2, 1_000);
    let used = find(&keys, 1, 1, 0).unwrap();
    drop(find(&keys, 2, 1, 50).unwrap());
    let rejected = find(&keys, 3, 49, 0).unwrap_err();
    assert_eq!(rejected, KeyRejection::TooMany(2));
    // The second one is at rest again; the first one still has a handle.
    drop(find(&keys, 3, 50, 0).unwrap());
    assert_eq!(names(&keys), [name(1), name(3)]);
    drop(used);
    drop(find(&keys, 4, 50, 0).unwrap());
    drop(find(&keys, 5, 50, 0).unwrap());
    assert_eq!(names(&keys), [name(4), name(5)]);
}

/// As in the paper, for a map of 5: visited keys survive in place, and the hand stays where it
/// evicted.
#[test]
fn a_full_map_evicts_by_sieve() {
    let keys = keys(5, 1_000);
    let visit = |key| drop(find(&keys, key, 1, 0).unwrap());
    (0..5).for_each(visit);
    [0, 1, 3].into_iter().for_each(visit);
    // The hand clears 0 and 1, and evicts 2.
    visit(5);
    assert_eq!(names(&keys), [0, 1, 3, 4, 5].map(name));
    // From there it clears 3 and evicts 4, although 0 and 1 are older and not visited since.
    visit(6);
    assert_eq!(names(&keys), [0, 1, 3, 5, 6].map(name));
    // 5 is the next one, and visited now: 6 goes. Then the hand starts again at the oldest.
    visit(5);
    visit(7);
    assert_eq!(names(&keys), [0, 1, 3, 5, 7].map(name));
    visit(0);
    visit(8);
    assert_eq!(names(&keys), [0, 3, 5, 7, 8].map(name));
    visit(9);
    assert_eq!(names(&keys), [0, 5, 7, 8, 9].map(name));
}

/// All keys are visited: the first one that the hand cleared goes, on its second lap.
#[test]
fn a_new_key_finds_room_among_visited_ones() {
    for count in [1, 3, MIN_PROBES, 100] {
        let keys = keys(count, 1_000);
        for key in (0..count).chain(0..count) {
            drop(find(&keys, key as u64, 1, 0).unwrap());
        }
        for new in 1_000..1_005 {
            drop(find(&keys, new, 1, 0).unwrap());
            for key in keys.entries() {
                drop(keys.get(&key.0));
            }
        }
    }
}

#[test]
fn a_key_that_is_looked_up_again_is_not_idle() {
    let keys = keys(10, 1_000);
    drop(find(&keys, 1, 1, 0).unwrap());
    for step in 1..100 {
        drop(find(&keys, 1, 500 * step, 0).unwrap());
        drop(find(&keys, 100 + step, 500 * step, 0).unwrap());
        assert_eq!(names(&keys)[0], name(1));
        assert!(names(&keys).len() < 10);
    }
}

#[test]
fn a_key_of_a_megabyte_is_rejected() {
    let keys = keys(2, 0);
    let insert = |bytes| {
        let key = "x".repeat(bytes);
        keys.get_or_insert_with(&key, Moment::from_nanos(1), || Until(0))
    };
    let rejected = insert(1_000_000).unwrap_err();
    assert_eq!(rejected, KeyRejection::TooLong(1_000_000));
    assert!(insert(MAX_KEY_BYTES).is_ok());
}

/// A rejected key probes few, or one for each microsecond that has passed: not each probes all.
#[test]
fn a_new_key_that_finds_no_room_probes_few() {
    let keys = keys(DEFAULT_MAX_KEYS, 0);
    let mut now = 1;
    let attempt = |key: usize, now: u64| {
        let before = PROBES.get();
        let found = find(&keys, key as u64, now, u64::MAX);
        (found.is_ok(), PROBES.get() - before)
    };
    for key in 0..DEFAULT_MAX_KEYS {
        assert_eq!(attempt(key, now), (true, key.min(IDLE_CHECKS)));
    }
    for _ in 0..3 {
        assert_eq!(attempt(DEFAULT_MAX_KEYS, now), (false, DEFAULT_MAX_KEYS));
        for _ in 0..1_000 {
            assert_eq!(attempt(DEFAULT_MAX_KEYS, now), (false, MIN_PROBES));
        }
        // 10 ms later.
        now += 10_000_000;
        assert_eq!(attempt(DEFAULT_MAX_KEYS, now - 1), (false, MIN_PROBES));
    }
}

/// Wherever in the registry it is.
#[test]
fn a_key_that_comes_to_rest_is_found_a_microsecond_for_each_key_later() {
    for place in 0..100 {
        let keys = keys(100, 0);
        let mut used: Vec<_> = (0..100)
            .map(|key| find(&keys, key, 1, 0).unwrap())
            .collect();
        assert!(find(&keys, 100, 1, 0).is_err());
        drop(used.swap_remove(place));
        let later = Moment::from_nanos(1).after(100 * SCAN_PAUSE_PER_KEY);
        assert!(find(&keys, 100, later.unwrap().as_nanos(), 0).is_ok());
    }
}

fn pause() -> impl Strategy<Value = u64> {
    prop_oneof![0_u64..40, 0_u64..40_000]
}

proptest! {
    /// There are never too many keys. A key that has a handle or is not at rest is never evicted. A
    /// new key is rejected only if none could go, or many were probed shortly before.
    #[test]
    fn bounded_and_no_used_key_is_lost(
        max_keys in prop_oneof![1_usize..6, MIN_PROBES..MIN_PROBES + 10],
        steps in prop::collection::vec((0_u64..40, pause(), any::<bool>()), 1..200),
    ) {
        let keys = keys(max_keys, 100);
        let mut handles: HashMap<u64, Arc<Until>> = HashMap::new();
        let mut until: HashMap<u64, u64> = HashMap::new();
        let mut now = 1;
        for (key, time, hold) in steps {
            now += time;
            let busy = |key: u64| {
                handles.contains_key(&key) || until.get(&key).is_some_and(|until| *until > now)
            };
            let before = names(&keys);
            let known = before.contains(&name(key));
            let room = known || before.len() < max_keys || before.iter().any(|key| {
                (0..40).any(|one| name(one) == *key && !busy(one))
            });
            match find(&keys, key, now, now + 30) {
                Ok(value) => {
                    prop_assert!(room);
                    until.insert(key, value.0);
                    if hold {
                        handles.insert(key, value);
                    } else {
                        handles.remove(&key);
                    }
                }
                Err(rejection) => {
                    let now = Moment::from_nanos(now);
                    let pauses = max_keys > MIN_PROBES && now < keys.next_scan();
                    prop_assert!(!room || pauses);
                    prop_assert_eq!(rejection, KeyRejection::TooMany(max_keys));
                }
            }
            let after = names(&keys);
            prop_assert!(after.len() <= max_keys);
            prop_assert_eq!(keys.len(), after.len());
            prop_assert!(keys.next_scan().as_nanos() <= now + 2 * 1_000 * max_keys as u64);
            for key in handles.keys() {
                prop_assert!(after.contains(&name(*key)));
            }
        }
    }
}
