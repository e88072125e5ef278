//! One value, one breaker: what clones share, what is done by hand, and who is told.

use super::*;
use std::sync::Mutex;
use toolbooth::breaker::StateChange;

type Changes = Vec<(BreakerState, BreakerState)>;

/// Everything that a breaker was told to have done since.
fn listen(breaker: &CircuitBreakerLayer) -> Arc<Mutex<Changes>> {
    let told = Arc::new(Mutex::new(Vec::new()));
    let changes = Arc::clone(&told);
    breaker.on_state_change(move |change| {
        let mut changes = changes.lock().expect("no panic under it");
        changes.push((change.from, change.to));
    });
    told
}

use BreakerState::{Closed, Disabled, HalfOpen, Open};

#[tokio::test(start_paused = true)]
async fn clones_and_all_services_of_a_layer_share_one_breaker() {
    let fails = Arc::new(AtomicBool::new(true));
    let breaker = CircuitBreakerLayer::with_policy(two());
    let one = breaker.layer(flaky(&fails));
    let other = breaker.clone().layer(Probe::ready());
    assert_eq!(calls(&one, 1).await, [FAILED]);
    assert_eq!(calls(&one.clone(), 1).await, [FAILED]);
    assert_eq!(calls(&other, 1).await, [REFUSED]);
    let apart = CircuitBreakerLayer::with_policy(two());
    assert_eq!(calls(&apart.layer(Probe::ready()), 1).await, [OK]);
}

#[tokio::test(start_paused = true)]
async fn tripped_reset_and_disabled_by_hand() {
    let fails = Arc::new(AtomicBool::new(true));
    let breaker = CircuitBreakerLayer::with_policy(two());
    let service = breaker.layer(flaky(&fails));
    let told = listen(&breaker);
    breaker.trip();
    assert_eq!(calls(&service, 1).await, [REFUSED]);
    breaker.reset();
    assert_eq!(calls(&service, 1).await, [FAILED]);
    // A reset forgets what was counted.
    breaker.reset();
    assert_eq!(calls(&service, 1).await, [FAILED]);
    assert_eq!(breaker.state(), Closed);
    breaker.disable();
    assert_eq!(calls(&service, 10).await, [FAILED; 10]);
    assert_eq!(breaker.state(), Disabled);
    breaker.trip();
    breaker.disable();
    breaker.reset();
    assert_eq!(calls(&service, 3).await, [FAILED, FAILED, REFUSED]);
    assert_eq!(
        *told.lock().unwrap(),
        [
            (Closed, Open),
            (Open, Closed),
            (Closed, Disabled),
            (Disabled, Open),
            (Open, Disabled),
            (Disabled, Closed),
            (Closed, Open),
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn a_listener_is_told_every_change_in_order_and_for_how_long() {
    let fails = Arc::new(AtomicBool::new(true));
    let breaker = CircuitBreakerLayer::with_policy(two());
    let service = breaker.layer(flaky(&fails));
    let told = Arc::new(Mutex::new(Vec::<StateChange>::new()));
    let changes = Arc::clone(&told);
    breaker.on_state_change(move |change| changes.lock().unwrap().push(change.clone()));
    calls(&service, 2).await;
    tokio::time::advance(OPEN).await;
    calls(&service, 1).await;
    tokio::time::advance(OPEN).await;
    fails.store(false, Ordering::SeqCst);
    calls(&service, 1).await;
    let told = told.lock().unwrap();
    let changes: Vec<_> = told
        .iter()
        .map(|change| (change.from, change.to, change.open_for))
        .collect();
    assert_eq!(
        changes,
        [
            (Closed, Open, Some(OPEN)),
            (Open, HalfOpen, None),
            (HalfOpen, Open, Some(OPEN)),
            (Open, HalfOpen, None),
            (HalfOpen, Closed, None),
        ]
    );
    assert!(told.iter().all(|change| change.key.is_none()));
}

#[tokio::test(start_paused = true)]
async fn a_listener_may_use_the_layer_and_may_panic() {
    let breaker = CircuitBreakerLayer::with_policy(two());
    let handle = breaker.clone();
    breaker.on_state_change(move |change| {
        assert_eq!(handle.state(), change.to);
        if change.to == Open {
            handle.reset();
            panic!("in the listener");
        }
    });
    let told = listen(&breaker);
    let service = breaker.layer(flaky(&Arc::new(AtomicBool::new(true))));
    assert_eq!(calls(&service, 4).await, [FAILED; 4]);
    assert_eq!(breaker.state(), Closed);
    let twice = [
        (Closed, Open),
        (Open, Closed),
        (Closed, Open),
        (Open, Closed),
    ];
    assert_eq!(*told.lock().unwrap(), twice);
}

#[tokio::test(start_paused = true)]
async fn what_was_let_through_before_a_change_counts_no_more() {
    let breaker = CircuitBreakerLayer::with_policy(two());
    let (mut service, mut handle) = mock(&breaker);
    let mut old: Vec<_> = (0..3)
        .map(|_| tokio_test::task::spawn(service.call(call())))
        .collect();
    breaker.trip();
    breaker.reset();
    for call in &mut old {
        let (_, send) = handle.next_request().await.unwrap();
        send.send_error("down");
        assert!(call.poll().is_ready());
    }
    assert_eq!(breaker.state(), Closed);
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_what_it_was() {
    let breaker = CircuitBreakerLayer::new();
    let answer: Reply = breaker.layer(Probe::ready()).oneshot(call()).await;
    assert_eq!(text(answer).await, "done");
}
