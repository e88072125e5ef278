//! Model checks of one circuit breaker and several threads: the number of probes is bounded, none
//! is lost, and listeners are notified of changes in order.

use std::time::Duration;

use shuttle::rand::{Rng, thread_rng};
use shuttle::thread;
use toolbooth_core::{CallContext, LimitId, Moment};

use super::change::BreakerState;
use super::keyed::KeyedBreakers;
use super::listeners::Listeners;
use super::policy::BreakerPolicy;
use super::rule::{Caller, Verdict};
use super::shared::{Act, Acts, Breaker};
use crate::middleware::KeyFn;
use crate::middleware::sync::atomic::{AtomicUsize, Ordering};
use crate::middleware::sync::{Arc, Mutex, lock};

/// Runs random schedules, and schedules with few switches between threads at the worst moments.
fn check(test: impl Fn() + Send + Sync + Clone + 'static) {
    shuttle::check_random(test.clone(), 2_000);
    shuttle::check_pct(test, 500, 3);
}

fn at(nanos: u64) -> Moment {
    Moment::from_nanos(1_000 + nanos)
}

/// Creates a breaker that opens at the second failure in a row, for 10 ns.
fn breaker(probes: u32) -> Arc<Breaker> {
    let policy = BreakerPolicy::new()
        .with_consecutive_failures(2)
        .and_then(|policy| policy.with_probes(probes))
        .expect("the settings are valid")
        .with_open_time(Duration::from_nanos(10));
    Arc::new(Breaker::new(policy, None, Arc::default(), Acts::default()))
}

/// A call without an outer one, which requests admission now.
struct Call(Moment);

impl Caller for Call {
    fn count_once(&self, _: LimitId) -> bool {
        true
    }

    fn inherits(&self, _: LimitId) -> bool {
        false
    }

    fn now(&self) -> Moment {
        self.0
    }
}

/// Admits a call that is counted, or returns `None`.
fn admit(breaker: &Breaker, now: Moment) -> Option<LimitId> {
    let admitted = breaker.admit(&Call(now)).ok().flatten();
    admitted.map(|(generation, _)| generation)
}

fn any_verdict() -> Verdict {
    match thread_rng().gen_range(0..4) {
        0 => Verdict::Success,
        1 => Verdict::Failure,
        2 => Verdict::CoolDown(Duration::from_nanos(10)),
        _ => Verdict::None,
    }
}

fn all(threads: usize, run: impl Fn(usize) + Send + Sync + Clone + 'static) {
    let spawn = |thread| {
        let run = run.clone();
        thread::spawn(move || run(thread))
    };
    let threads: Vec<_> = (0..threads).map(spawn).collect();
    for thread in threads {
        thread.join().expect("no thread panics");
    }
}

#[test]
fn probes_are_bounded_and_none_is_lost() {
    check(|| {
        for probes in [1, 2] {
            let breaker = breaker(probes);
            breaker.act(Act::Trip, at(0));
            let under_way = Arc::new(AtomicUsize::new(0));
            let (shared, running) = (Arc::clone(&breaker), Arc::clone(&under_way));
            all(3, move |_| {
                for _ in 0..2 {
                    let Some(generation) = admit(&shared, at(10)) else {
                        continue;
                    };
                    let others = running.fetch_add(1, Ordering::SeqCst);
                    assert!(others < probes as usize, "one probe too many");
                    running.fetch_sub(1, Ordering::SeqCst);
                    // Dropped at any moment.
                    shared.record(generation, Verdict::None, Duration::ZERO, || at(10));
                }
            });
            assert_eq!(breaker.state(at(10)), BreakerState::HalfOpen);
            let admitted: Vec<_> = (0..3).map(|_| admit(&breaker, at(10)).is_some()).collect();
            assert_eq!(admitted, [true, probes == 2, false]);
        }
    });
}

#[test]
fn one_probe_of_many_closes_the_breaker_once() {
    check(|| {
        let breaker = breaker(1);
        breaker.act(Act::Trip, at(0));
        let passed = Arc::new(AtomicUsize::new(0));
        let (shared, counted) = (Arc::clone(&breaker), Arc::clone(&passed));
        all(3, move |_| {
            if let Some(generation) = admit(&shared, at(10)) {
                if shared.state(at(10)) == BreakerState::HalfOpen {
                    counted.fetch_add(1, Ordering::SeqCst);
                }
                shared.record(generation, Verdict::Success, Duration::ZERO, || at(10));
            }
        });
        assert_eq!(breaker.state(at(10)), BreakerState::Closed);
        assert_eq!(passed.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn a_call_that_started_before_a_change_changes_nothing() {
    check(|| {
        let breaker = breaker(1);
        let old: Vec<_> = (0..4)
            .map(|_| admit(&breaker, at(0)).expect("it is closed"))
            .collect();
        breaker.act(Act::Trip, at(0));
        let shared = Arc::clone(&breaker);
        // Three calls end with any verdict, and one thread probes.
        all(4, move |thread| match thread {
            0 => {
                let probe = admit(&shared, at(10)).expect("there was no other");
                assert_eq!(shared.state(at(10)), BreakerState::HalfOpen);
                shared.record(probe, Verdict::None, Duration::ZERO, || at(10));
            }
            thread => shared.record(old[thread], any_verdict(), Duration::ZERO, || at(10)),
        });
        assert_eq!(breaker.state(at(10)), BreakerState::HalfOpen);
        assert!(admit(&breaker, at(10)).is_some());
        assert!(admit(&breaker, at(10)).is_none());
    });
}

#[test]
fn the_second_of_two_concurrent_failures_opens_the_breaker() {
    check(|| {
        let breaker = breaker(1);
        let shared = Arc::clone(&breaker);
        all(2, move |_| {
            if let Some(generation) = admit(&shared, at(0)) {
                shared.record(generation, Verdict::Failure, Duration::ZERO, || at(0));
            }
        });
        assert_eq!(breaker.state(at(0)), BreakerState::Open);
        assert!(admit(&breaker, at(9)).is_none());
    });
}

#[test]
fn listeners_are_notified_of_all_changes_in_order() {
    check(|| {
        let listeners = Arc::new(Listeners::default());
        let policy = BreakerPolicy::new().with_open_time(Duration::ZERO);
        let breaker = Arc::new(Breaker::new(
            policy,
            None,
            Arc::clone(&listeners),
            Acts::default(),
        ));
        let notified = Arc::new(Mutex::new(BreakerState::Closed));
        let (last, notifying) = (Arc::clone(&notified), Arc::new(AtomicUsize::new(0)));
        listeners.add(move |change| {
            assert_eq!(
                notifying.fetch_add(1, Ordering::SeqCst),
                0,
                "two threads notify at once"
            );
            let mut last = lock(&last);
            assert_eq!(*last, change.from);
            *last = change.to;
            notifying.fetch_sub(1, Ordering::SeqCst);
        });
        let shared = Arc::clone(&breaker);
        all(3, move |thread| match thread {
            0 => shared.act(Act::Trip, at(0)),
            1 => shared.act(Act::Disable, at(0)),
            _ => {
                shared.act(Act::Reset, at(0));
                if let Some(generation) = admit(&shared, at(0)) {
                    shared.record(generation, any_verdict(), Duration::ZERO, || at(0));
                }
            }
        });
        let state = breaker.state(at(0));
        assert_eq!(*lock(&notified), state);
    });
}

/// Two threads act on all breakers while one is created: in the end the last act counts for all of
/// them, also for those created later.
#[test]
fn the_last_act_on_all_breakers_counts_for_each() {
    check(|| {
        let key = KeyFn::of_call(|call: &CallContext| call.tenant().unwrap_or("unknown").into());
        let keyed = Arc::new(KeyedBreakers::new(BreakerPolicy::new().into(), Some(key)));
        let state = |keyed: &KeyedBreakers, key: &'static str| {
            let breaker = keyed.find_or_create(key, || at(0)).expect("there is room");
            breaker.expect("each key has one").state(at(0))
        };
        assert_eq!(state(&keyed, "a"), BreakerState::Closed);
        let shared = Arc::clone(&keyed);
        all(3, move |thread| match thread {
            0 => shared.act(Act::Disable, at(0)),
            1 => shared.act(Act::Reset, at(0)),
            _ => drop(shared.find_or_create("b", || at(0))),
        });
        let last = state(&keyed, "new");
        assert_eq!(["a", "b"].map(|key| state(&keyed, key)), [last; 2]);
        assert_eq!(last, keyed.state_of_new());
    });
}

#[test]
fn a_new_key_of_several_threads_gets_one_breaker() {
    check(|| {
        let policy = BreakerPolicy::new().with_consecutive_failures(3);
        let keyed = KeyedBreakers::new(policy.expect("it is not 0").into(), None);
        let keyed = Arc::new(keyed);
        let shared = Arc::clone(&keyed);
        all(3, move |_| {
            let breaker = shared
                .find_or_create("tool", || at(0))
                .expect("there is room");
            let breaker = breaker.expect("each tool has one");
            let generation = admit(&breaker, at(0)).expect("it is closed");
            breaker.record(generation, Verdict::Failure, Duration::ZERO, || at(0));
        });
        let [breaker] = keyed.all().try_into().expect("one");
        assert_eq!(breaker.state(at(0)), BreakerState::Open);
    });
}
