//! Critical sections: `SharedState::lock`.

use futures_util::poll;
use std::pin::pin;

use super::*;

#[tokio::test(start_paused = true)]
async fn holders_of_a_key_follow_one_another_in_the_order_of_their_calls() {
    let (state, order) = (SharedState::new(), Recorder::new());
    let started = Instant::now();
    let holders = (0..5).map(|holder| {
        let (state, order) = (state.clone(), order.clone());
        async move {
            let mut guard = state.lock("key").await.unwrap();
            assert_eq!(guard.key(), "key");
            let last = guard.get::<Vec<i32>>().unwrap().unwrap_or_default();
            sleep(ms(10)).await;
            guard.set([last, vec![holder]].concat()).unwrap();
            order.record(holder);
        }
    });
    futures_util::future::join_all(holders).await;
    assert_eq!(started.elapsed(), ms(50));
    assert_eq!(order.values(), [0, 1, 2, 3, 4]);
    assert_eq!(state.get("key"), Ok(Some(vec![0, 1, 2, 3, 4])));
}

#[tokio::test(start_paused = true)]
async fn keys_are_independent() {
    let state = SharedState::new();
    let _a = state.lock("a").await.unwrap();
    let _b = state.lock("b").await.unwrap();
    assert!(poll!(pin!(state.lock("a"))).is_pending());
}

#[tokio::test(start_paused = true)]
async fn dropped_waiter_leaves_the_queue() {
    let state = SharedState::new();
    let held = state.lock("key").await.unwrap();
    let mut second = Box::pin(state.lock("key"));
    let mut third = Box::pin(state.lock("key"));
    assert!(poll!(&mut second).is_pending() && poll!(&mut third).is_pending());
    drop(second);
    drop(held);
    assert!(poll!(&mut third).is_ready());
}

#[tokio::test(start_paused = true)]
async fn write_is_visible_at_once_and_stays_when_the_guard_is_dropped() {
    let state = SharedState::new();
    let mut guard = state.lock("key").await.unwrap();
    guard.set("first").unwrap();
    guard.set("second").unwrap();
    assert_eq!(state.get("key"), Ok(Some("second")));
    drop(guard);
    assert_eq!(state.get("key"), Ok(Some("second")));
}

#[tokio::test(start_paused = true)]
async fn write_from_outside_of_the_critical_section_is_not_lost() {
    let state = SharedState::new();
    let mut guard = state.lock("key").await.unwrap();
    assert_eq!(guard.get::<i64>(), Ok(None));
    state.increment("key", 1).unwrap();
    let conflict = guard.set(10_i64).unwrap_err();
    assert!(matches!(conflict, StateError::Conflict { .. }));
    assert_eq!(guard.get(), Ok(Some(1_i64)));
    guard.set(11_i64).unwrap();
    assert_eq!(state.get("key"), Ok(Some(11_i64)));
}

#[tokio::test(start_paused = true)]
async fn locks_are_bounded_and_leave_nothing_behind() {
    let state = SharedState::with_limits(2, 8);
    let (a, b) = (state.lock("a").await, state.lock("b").await);
    let full = state.lock("c").await.unwrap_err();
    assert!(matches!(full, StateError::Full { max: 2, .. }));
    let mut waits = Box::pin(state.lock("a"));
    assert!(poll!(&mut waits).is_pending());
    let long = state.lock("too long a key").await.unwrap_err();
    assert!(matches!(
        long,
        StateError::KeyTooLong {
            bytes: 14,
            max: 8,
            ..
        }
    ));
    drop((a, b, waits));
    // Held keys without a value are no keys of the state.
    assert!(state.is_empty());
    let (_c, _d) = (
        state.lock("c").await.unwrap(),
        state.lock("d").await.unwrap(),
    );
}
