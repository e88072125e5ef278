//! `SharedState` and `StateLayer`: values that tools share, and how a tool reaches them.

#![cfg(feature = "state")]

#[path = "../support/mod.rs"]
mod support;

mod critical;
mod reach;

use support::laws::every_layer;
use support::{Recorder, ScriptedTool, call, ms};
use tokio::time::{Instant, sleep};
use toolbooth::state::{SharedState, StateError, StateLayer, Versioned};
use toolbooth::{ToolCall, ToolOutput};
use tower::{Layer, ServiceExt};

every_layer!(StateLayer::new(SharedState::new()));

#[test]
fn counter_starts_with_0_and_does_not_overflow() {
    let state = SharedState::new();
    assert_eq!(state.get::<i64>("hits"), Ok(None));
    assert_eq!(state.increment("hits", 1), Ok(1));
    assert_eq!(state.increment("hits", -3), Ok(-2));
    assert_eq!(state.get("hits"), Ok(Some(-2_i64)));
    state.set("full", i64::MAX).unwrap();
    assert_eq!(state.increment("full", 1), Err(StateError::Overflow));
    assert_eq!(state.get("full"), Ok(Some(i64::MAX)));
}

#[test]
fn clones_share_the_values() {
    let state = SharedState::new();
    let clone = state.clone();
    clone.set("key", "value").unwrap();
    assert_eq!(state.get("key"), Ok(Some("value")));
    assert_eq!((state.len(), state.is_empty()), (1, false));
}

#[test]
fn value_of_another_type_is_an_error_and_stays() {
    let state = SharedState::new();
    state.set("key", "text").unwrap();
    let wrong = StateError::WrongType;
    assert_eq!(state.get::<u8>("key"), Err(wrong));
    assert_eq!(state.set("key", 1_u8), Err(wrong));
    assert_eq!(state.increment("key", 1), Err(wrong));
    assert_eq!(state.update("key", |_: Option<&u8>| 1_u8), Err(wrong));
    assert_eq!(state.get_or_insert_with("key", || 1_u8), Err(wrong));
    let version = state.get_versioned::<&str>("key").unwrap().unwrap().version;
    assert_eq!(state.compare_and_swap("key", version, 1_u8), Err(wrong));
    assert_eq!(state.get("key"), Ok(Some("text")));
    assert!(state.remove("key"));
    assert!(state.set("key", 1_u8).is_ok());
}

#[test]
fn swap_succeeds_for_the_current_version_alone() {
    let state = SharedState::new();
    let first = state.compare_and_swap("key", 0, "a").unwrap();
    let conflict = state.compare_and_swap("key", 0, "b").unwrap_err();
    assert!(matches!(conflict, StateError::Conflict { version, .. } if version == first));
    let second = state.compare_and_swap("key", first, "c").unwrap();
    assert!(second > first);
    let found = state.get_versioned("key").unwrap();
    let found = found.map(|Versioned { value, version, .. }| (value, version));
    assert_eq!(found, Some(("c", second)));

    // A key that was removed and inserted again has another version.
    assert!(state.remove("key"));
    assert!(!state.remove("key"));
    let absent = state.compare_and_swap("key", second, "d").unwrap_err();
    assert!(matches!(absent, StateError::Conflict { version: 0, .. }));
    let third = state.compare_and_swap("key", 0, "e").unwrap();
    assert!(third > second);
}

#[test]
fn value_is_created_once() {
    let state = SharedState::new();
    assert_eq!(state.get_or_insert_with("key", || "first"), Ok("first"));
    let second = state.get_or_insert_with("key", || -> &str { unreachable!("there is a value") });
    assert_eq!(second, Ok("first"));
}

#[test]
fn value_that_another_caller_created_meanwhile_stays() {
    let state = SharedState::new();
    let value = state.get_or_insert_with("key", || {
        state.set("key", "other").unwrap();
        "own"
    });
    assert_eq!(value, Ok("other"));
}

#[test]
fn update_is_repeated_with_the_value_of_another_operation() {
    let state = SharedState::new();
    let mut seen = Vec::new();
    let value = state.update("key", |value: Option<&i64>| {
        seen.push(value.copied());
        if seen.len() == 1 {
            state.increment("key", 5).unwrap();
        }
        value.copied().unwrap_or(0) + 100
    });
    assert_eq!(value, Ok(105));
    assert_eq!(seen, [None, Some(5)]);
}

#[test]
fn full_state_rejects_new_keys_until_one_is_removed() {
    let state = SharedState::with_limits(2, 256);
    state.increment("a", 1).unwrap();
    state.increment("b", 1).unwrap();
    let full = state.increment("c", 1).unwrap_err();
    assert!(matches!(full, StateError::Full { max: 2, .. }));
    assert_eq!(
        full.to_string(),
        "the key is new, and all 2 keys are in use"
    );
    assert_eq!(state.get_or_insert_with("c", || 1_i64), Err(full));
    assert_eq!(state.set("c", 1_i64), Err(full));
    // The keys that are there can change.
    assert_eq!(state.increment("a", 1), Ok(2));
    assert!(state.remove("b"));
    assert_eq!(state.increment("c", 1), Ok(1));
    assert_eq!(state.len(), 2);
}

#[test]
fn new_keys_of_many_threads_do_not_exceed_the_bound() {
    let state = SharedState::with_limits(100, 256);
    let inserted: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|thread| {
                let state = &state;
                scope.spawn(move || {
                    let keys = (0..100).map(|key| format!("{thread}-{key}"));
                    keys.filter(|key| state.set(key, ()).is_ok()).count()
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    assert_eq!((inserted, state.len()), (100, 100));
}

#[test]
fn longest_key_fits_and_a_longer_one_is_rejected() {
    let state = SharedState::new();
    let long = "k".repeat(257);
    assert_eq!(state.increment(&long[1..], 1), Ok(1));
    let rejected = state.increment(&long, 1).unwrap_err();
    assert!(matches!(
        rejected,
        StateError::KeyTooLong {
            bytes: 257,
            max: 256,
            ..
        }
    ));
    assert_eq!(state.get::<i64>(&long), Err(rejected));
    assert_eq!(state.len(), 1);
}

#[test]
fn debug_shows_neither_keys_nor_values() {
    let state = SharedState::new();
    state.set("secret key", "secret value").unwrap();
    assert_eq!(
        format!("{state:?}"),
        "SharedState { keys: 1, max_keys: 10000, .. }"
    );
}
