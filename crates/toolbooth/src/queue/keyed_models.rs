//! Model checks of a queue for each key and several threads: a key has one queue, all queues have
//! the last limit when no thread runs, and none is evicted while a call uses it.

use std::time::Duration;

use governor::Quota;
use shuttle::rand::{Rng, thread_rng};
use toolbooth_core::{CallContext, Moment, Name, Part, ToolCall};

use super::models::{Limit, all, check};
use super::{Limits, QueueSetting, Rejection};
use crate::concurrency::permits::Permits;
use crate::middleware::sync::Arc;
use crate::middleware::sync::atomic::{AtomicU64, Ordering};
use crate::middleware::{KeyFn, PerTool};
use crate::rate::rates::Rates;

/// The queues of three keys, and how many permits the calls of each use by their own count.
#[derive(Clone)]
struct Tenants {
    limits: Limits<Permits>,
    in_use: [Arc<AtomicU64>; NAMES.len()],
}

const NAMES: [&str; 3] = ["a", "b", "c"];
const A: usize = 0;
const B: usize = 1;
const C: usize = 2;

fn tenant(call: &CallContext) -> Name {
    call.tenant().unwrap_or("none").into()
}

impl Tenants {
    fn new(limits: impl Into<PerTool<usize>>) -> Self {
        Self {
            limits: Limits::by_key(limits.into(), KeyFn::of_call(tenant)),
            in_use: Default::default(),
        }
    }

    /// Makes a call of a key, as [`Limit::call`].
    fn call(&self, key: usize, patience: usize, most: u64) -> Option<Rejection> {
        let call = ToolCall::new("tool", ()).with_tenant(NAMES[key]);
        let demand = match self.limits.demand(&Part::enter(call.context()), &call) {
            Ok(demand) => demand.expect("each key has a limit"),
            Err(rejection) => return Some(rejection),
        };
        let limit = Limit {
            queue: demand.queue.into_owned(),
            in_use: Arc::clone(&self.in_use[key]),
        };
        limit.call(demand.cost, 0, patience, most)
    }

    /// Returns the queue of a key that was used.
    fn limit(&self, key: usize) -> Limit {
        Limit {
            queue: self.limits.queue_of(NAMES[key]).expect("it was used"),
            in_use: Arc::clone(&self.in_use[key]),
        }
    }
}

#[test]
fn a_new_key_of_several_threads_gets_one_queue() {
    check(|| {
        let tenants = Tenants::new(1);
        let calls = tenants.clone();
        all(4, move |thread| {
            let key = if thread < 3 { A } else { B };
            assert_eq!(calls.call(key, usize::MAX, 1), None);
        });
        assert_eq!(tenants.limits.queues().len(), 2);
        tenants.limit(A).is_free(1);
        tenants.limit(B).is_free(1);
    });
}

/// Two threads change the limit while one key has its queue and another one gets its.
#[test]
fn every_key_has_the_last_limit_in_the_end() {
    check(|| {
        let tenants = Tenants::new(1);
        assert_eq!(tenants.call(A, usize::MAX, 1), None);
        let shared = tenants.clone();
        all(4, move |thread| match thread {
            0 => shared.limits.set_limit(Some(2)).expect("it has a limit"),
            1 => shared.limits.set_limit(Some(3)).expect("it has a limit"),
            2 => assert_eq!(shared.call(A, usize::MAX, 3), None),
            _ => assert_eq!(shared.call(B, usize::MAX, 3), None),
        });
        let last = tenants.limits.limit_of("new").expect("there is one");
        assert!(last == 2 || last == 3);
        tenants.limit(A).is_free(last);
        tenants.limit(B).is_free(last);
    });
}

#[test]
fn a_key_keeps_the_limit_that_was_set_for_it() {
    check(|| {
        let tenants = Tenants::new(1);
        assert_eq!(tenants.call(A, usize::MAX, 1), None);
        let shared = tenants.clone();
        all(4, move |thread| match thread {
            0 => shared.limits.set_limit(Some(2)).expect("it has a limit"),
            1 => shared
                .limits
                .set_limit_for(&"a".into(), Some(4))
                .expect("it is by key"),
            2 => shared
                .limits
                .set_limit_for(&"b".into(), Some(5))
                .expect("it is by key"),
            _ => assert_eq!(shared.call(B, usize::MAX, 5), None),
        });
        assert_eq!(tenants.call(C, usize::MAX, 2), None);
        tenants.limit(A).is_free(4);
        tenants.limit(B).is_free(5);
        tenants.limit(C).is_free(2);
    });
}

/// The other settings of a queue, such as its capacity.
#[test]
fn every_queue_has_the_last_settings_in_the_end() {
    check(|| {
        let tenants = Tenants::new(1);
        assert_eq!(tenants.call(A, usize::MAX, 1), None);
        let shared = tenants.clone();
        all(3, move |thread| match thread {
            0 => shared.limits.configure(&QueueSetting::Capacity(2)),
            1 => shared.limits.configure(&QueueSetting::Capacity(3)),
            _ => assert_eq!(shared.call(B, usize::MAX, 1), None),
        });
        assert_eq!(tenants.call(C, usize::MAX, 1), None);
        let [a, b, c] = [A, B, C].map(|key| tenants.limit(key).queue.settings().capacity);
        assert!(c == 2 || c == 3);
        assert_eq!([a, b], [c, c]);
    });
}

/// A permit is held throughout, and the limit is raised. A forgotten waiter never wakes.
#[test]
fn no_waiter_is_forgotten_when_the_limit_of_its_key_is_raised() {
    check(|| {
        let tenants = Tenants::new(1);
        assert_eq!(tenants.call(A, usize::MAX, 1), None);
        let held = tenants.limit(A).queue;
        assert!(held.try_acquire(1, Moment::now));
        let alone = thread_rng().gen_bool(0.5);
        let shared = tenants.clone();
        all(4, move |thread| match thread {
            0 if alone => shared
                .limits
                .set_limit_for(&"a".into(), Some(2))
                .expect("it is by key"),
            0 => shared.limits.set_limit(Some(2)).expect("it has a limit"),
            1 => assert_eq!(shared.call(B, usize::MAX, 2), None),
            _ => assert_eq!(shared.call(A, usize::MAX, 2), None),
        });
        held.release(1);
        tenants.limit(A).is_free(2);
        tenants.limit(B).is_free(if alone { 1 } else { 2 });
    });
}

/// While it waits, or with a permit that was granted and not polled for, while limits change.
#[test]
fn a_waiter_of_a_key_may_be_dropped_at_any_moment() {
    check(|| {
        let tenants = Tenants::new(1);
        let shared = tenants.clone();
        all(4, move |thread| match thread {
            0 => {
                for limit in [2, 1] {
                    shared
                        .limits
                        .set_limit(Some(limit))
                        .expect("it has a limit");
                }
            }
            1 => assert_eq!(shared.call(A, usize::MAX, 2), None),
            _ => {
                let patience = thread_rng().gen_range(1..4);
                assert_eq!(shared.call(A, patience, 2), None);
            }
        });
        tenants.limit(A).is_free(1);
    });
}

/// There is room for one key, and another key takes it as soon as it is at rest. A call that has
/// the queue by then keeps the key. Meanwhile others share one queue.
#[test]
fn a_key_that_is_evicted_and_used_at_once_has_one_queue() {
    check(|| {
        let mut tenants = Tenants::new(1);
        tenants.limits = tenants.limits.with_key_bounds(1, Duration::ZERO);
        // One call of the key, and one of those that share a queue.
        tenants.in_use[B] = Arc::clone(&tenants.in_use[A]);
        let calls = tenants.clone();
        all(4, move |thread| {
            for _ in 0..2 {
                let patience = match thread {
                    0 => thread_rng().gen_range(1..4),
                    _ => usize::MAX,
                };
                let key = if thread < 2 { A } else { B };
                assert_eq!(calls.call(key, patience, 2), None);
            }
        });
        // Each queue that is left has all its permits.
        for queue in tenants.limits.queues() {
            let permits = queue.limiter();
            assert_eq!(
                (queue.queued(), permits.available(), permits.in_flight()),
                (0, 1, 0)
            );
        }
        assert_eq!(tenants.call(C, usize::MAX, 1), None);
    });
}

/// A bucket that is not full is not evicted: no call gets a token too many. The other key has the
/// token of those that share a bucket.
#[test]
fn a_bucket_that_is_not_full_stays_while_other_keys_need_room() {
    check(|| {
        let limits = Limits::<Rates>::by_key(
            Quota::per_hour(std::num::NonZeroU32::MIN).into(),
            KeyFn::of_call(tenant),
        );
        let limits = limits.with_key_bounds(1, Duration::ZERO);
        let acquired: [Arc<AtomicU64>; 2] = Default::default();
        let counted = acquired.clone();
        all(4, move |thread| {
            let key = thread % 2;
            let call = ToolCall::new("tool", ()).with_tenant(NAMES[key]);
            if let Ok(Some(demand)) = limits.demand(&Part::enter(call.context()), &call) {
                let taken = demand.queue.try_acquire(demand.cost, Moment::now);
                counted[key].fetch_add(u64::from(taken), Ordering::SeqCst);
            }
        });
        let acquired = acquired.map(|acquired| acquired.load(Ordering::SeqCst));
        assert_eq!(acquired, [1, 1]);
    });
}
