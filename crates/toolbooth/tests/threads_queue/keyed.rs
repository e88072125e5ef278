//! A line for each key and several threads: one for a key however it comes to be, one limit for all of them when all is quiet,
//! and none forgotten while a call has it.

use std::sync::Arc;
use std::time::Duration;

use governor::Quota;
use shuttle::rand::{Rng, thread_rng};
use shuttle::sync::atomic::{AtomicU64, Ordering};
use toolbooth_core::{Moment, Part, ToolCall};

use super::tests::{Limit, all, check};
use super::{Key, Limits, Rejection};
use crate::gcra::Gcra;
use crate::middleware::PerTool;
use crate::middleware::keys::KeyRejection;
use crate::permits::Permits;

/// Three keys, and how many calls of each run by the count of those who do.
#[derive(Clone)]
struct Tenants {
    limits: Limits<Permits>,
    in_use: [Arc<AtomicU64>; NAMES.len()],
}

const NAMES: [&str; 3] = ["a", "b", "c"];
const A: usize = 0;
const B: usize = 1;
const C: usize = 2;

fn by_tenant() -> Option<Key> {
    let tenant = |call: &toolbooth_core::CallContext| call.tenant().unwrap_or("nobody").into();
    Some(Key::new(tenant))
}

impl Tenants {
    fn new(limits: impl Into<PerTool<usize>>) -> Self {
        Self {
            limits: Limits::keyed(limits.into(), by_tenant()),
            in_use: Default::default(),
        }
    }

    /// A call of that key, as [`Limit::call`].
    fn call(&self, key: usize, patience: usize, most: u64) -> Option<Rejection> {
        let call = ToolCall::new("tool", ()).with_tenant(NAMES[key]);
        let needs = match self.limits.find(&Part::enter(call.context())) {
            Ok(needs) => needs.expect("each key has a limit"),
            Err(refusal) => return Some(refusal),
        };
        let limit = Limit {
            line: needs.line.into_owned(),
            in_use: Arc::clone(&self.in_use[key]),
        };
        limit.call(needs.cost, 0, patience, most)
    }

    /// The line of a key that was asked for.
    fn limit(&self, key: usize) -> Limit {
        Limit {
            line: self.limits.line_of(NAMES[key]).expect("it was asked for"),
            in_use: Arc::clone(&self.in_use[key]),
        }
    }
}

#[test]
fn a_new_key_of_several_threads_gets_one_line() {
    check(|| {
        let tenants = Tenants::new(1);
        let calls = tenants.clone();
        all(4, move |thread| {
            let key = if thread < 3 { A } else { B };
            assert_eq!(calls.call(key, usize::MAX, 1), None);
        });
        assert_eq!(tenants.limits.all().len(), 2);
        tenants.limit(A).is_free(1);
        tenants.limit(B).is_free(1);
    });
}

/// Two say another limit while one key has its line and another one gets it.
#[test]
fn when_all_is_quiet_every_key_has_the_last_limit() {
    check(|| {
        let tenants = Tenants::new(1);
        assert_eq!(tenants.call(A, usize::MAX, 1), None);
        let shared = tenants.clone();
        all(4, move |thread| match thread {
            0 => shared.limits.change(2),
            1 => shared.limits.change(3),
            2 => assert_eq!(shared.call(A, usize::MAX, 3), None),
            _ => assert_eq!(shared.call(B, usize::MAX, 3), None),
        });
        let last = tenants.limits.setting_of("new").expect("there is one");
        assert!(last == 2 || last == 3);
        tenants.limit(A).is_free(last);
        tenants.limit(B).is_free(last);
    });
}

#[test]
fn a_key_keeps_the_limit_that_was_said_of_it_alone() {
    check(|| {
        let tenants = Tenants::new(1);
        assert_eq!(tenants.call(A, usize::MAX, 1), None);
        let shared = tenants.clone();
        all(4, move |thread| match thread {
            0 => shared.limits.change(2),
            1 => shared
                .limits
                .change_for(&"a".into(), 4)
                .expect("it is by key"),
            2 => shared
                .limits
                .change_for(&"b".into(), 5)
                .expect("it is by key"),
            _ => assert_eq!(shared.call(B, usize::MAX, 5), None),
        });
        assert_eq!(tenants.call(C, usize::MAX, 2), None);
        tenants.limit(A).is_free(4);
        tenants.limit(B).is_free(5);
        tenants.limit(C).is_free(2);
    });
}

/// What is said of lines besides their limit, such as how many may wait.
#[test]
fn when_all_is_quiet_every_line_is_as_was_said_last() {
    check(|| {
        let tenants = Tenants::new(1);
        assert_eq!(tenants.call(A, usize::MAX, 1), None);
        let shared = tenants.clone();
        all(3, move |thread| match thread {
            0 => shared.limits.configure(|line| line.capacity = 2),
            1 => shared.limits.configure(|line| line.capacity = 3),
            _ => assert_eq!(shared.call(B, usize::MAX, 1), None),
        });
        assert_eq!(tenants.call(C, usize::MAX, 1), None);
        let [a, b, c] = [A, B, C].map(|key| tenants.limit(key).line.lock().settings.capacity);
        assert!(c == 2 || c == 3);
        assert_eq!([a, b], [c, c]);
    });
}

/// Permits that never come back do not matter where the limit is raised. Who is forgotten sleeps for ever.
#[test]
fn nobody_who_waits_is_forgotten_when_the_limit_of_its_key_is_raised() {
    check(|| {
        let tenants = Tenants::new(1);
        assert_eq!(tenants.call(A, usize::MAX, 1), None);
        let held = tenants.limit(A).line;
        assert!(held.try_admit(1, Moment::now));
        let alone = thread_rng().gen_bool(0.5);
        let shared = tenants.clone();
        all(4, move |thread| match thread {
            0 if alone => shared
                .limits
                .change_for(&"a".into(), 2)
                .expect("it is by key"),
            0 => shared.limits.change(2),
            1 => assert_eq!(shared.call(B, usize::MAX, 2), None),
            _ => assert_eq!(shared.call(A, usize::MAX, 2), None),
        });
        held.refund(1);
        tenants.limit(A).is_free(2);
        tenants.limit(B).is_free(if alone { 1 } else { 2 });
    });
}

/// In line, or with a permit that was granted and not seen, while limits go up and down.
#[test]
fn a_place_in_the_line_of_a_key_may_be_dropped_at_any_moment() {
    check(|| {
        let tenants = Tenants::new(1);
        let shared = tenants.clone();
        all(4, move |thread| match thread {
            0 => {
                for limit in [2, 1] {
                    shared.limits.change(limit);
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

/// There is room for one key, and another one takes it as soon as it is idle: a call that has its line by then keeps the key.
#[test]
fn a_key_that_goes_while_a_call_takes_it_has_one_line() {
    check(|| {
        let tenants = Tenants::new(1);
        tenants.limits.set_bounds(1, Duration::ZERO);
        let full = Some(Rejection::Key(KeyRejection::TooMany(1)));
        let refused = Arc::new(AtomicU64::new(0));
        let (calls, counted) = (tenants.clone(), Arc::clone(&refused));
        all(4, move |thread| {
            for _ in 0..2 {
                let patience = match thread {
                    0 => thread_rng().gen_range(1..4),
                    _ => usize::MAX,
                };
                let key = if thread < 2 { A } else { B };
                let ended = calls.call(key, patience, 1);
                assert!(ended.is_none() || ended == full, "{ended:?}");
                counted.fetch_add(u64::from(ended.is_some()), Ordering::SeqCst);
            }
        });
        // The first one finds room, and a line that is left has all that was taken of it.
        assert!(refused.load(Ordering::SeqCst) < 8);
        let lines = tenants.limits.all();
        assert_eq!(lines.len(), 1);
        let rule = lines[0].rule();
        assert_eq!(
            (lines[0].queued(), rule.available(), rule.in_flight()),
            (0, 1, 0)
        );
        drop(lines);
        assert_eq!(tenants.call(C, usize::MAX, 1), None);
    });
}

/// A bucket that is not full does not go: nobody gets a token too many for it.
#[test]
fn a_bucket_that_was_taken_of_stays_while_others_want_its_place() {
    check(|| {
        let limits = Limits::<Gcra>::keyed(
            Quota::per_hour(std::num::NonZeroU32::MIN).into(),
            by_tenant(),
        );
        limits.set_bounds(1, Duration::ZERO);
        let admitted: [Arc<AtomicU64>; 2] = Default::default();
        let counted = admitted.clone();
        all(4, move |thread| {
            let key = thread % 2;
            let call = ToolCall::new("tool", ()).with_tenant(NAMES[key]);
            if let Ok(Some(needs)) = limits.find(&Part::enter(call.context())) {
                let taken = needs.line.try_admit(needs.cost, Moment::now);
                counted[key].fetch_add(u64::from(taken), Ordering::SeqCst);
            }
        });
        let admitted = admitted.map(|admitted| admitted.load(Ordering::SeqCst));
        assert_eq!(admitted[A] + admitted[B], 1, "{admitted:?}");
    });
}
