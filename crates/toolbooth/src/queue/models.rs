//! Model checks of one queue and several threads: no permit is lost or doubled, and no waiter is
//! forgotten, whichever leaves and whenever.
//!
//! A lost wakeup is a thread that sleeps without end, which shuttle reports as a deadlock.

use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use governor::Quota;
use shuttle::future::block_on;
use shuttle::rand::{Rng, thread_rng};
use shuttle::thread;
use toolbooth_core::{Moment, Part, ToolCall};

use super::limit_queue::Settings;
use super::{LimitQueue, Limiter, Order, Rejection, Waiter};
use crate::concurrency::permits::Permits;
use crate::middleware::sync::Arc;
use crate::middleware::sync::atomic::{AtomicU64, Ordering};
use crate::rate::gcra::Gcra;

/// Runs random schedules, and schedules with few switches between threads at the worst moments.
pub(super) fn check(test: impl Fn() + Send + Sync + Clone + 'static) {
    shuttle::check_random(test.clone(), 2_000);
    shuttle::check_pct(test, 1_000, 3);
}

/// A queue, and how many permits its calls use by their own count.
#[derive(Clone)]
pub(super) struct Limit {
    pub(super) queue: Arc<LimitQueue<Permits>>,
    pub(super) in_use: Arc<AtomicU64>,
}

impl Limit {
    fn new(limit: usize, order: Option<Order>) -> Self {
        let settings = Settings {
            order: order.map(Arc::new),
            ..Settings::default()
        };
        Self {
            queue: Arc::new(LimitQueue::new(Permits::new(Some(limit)), settings)),
            in_use: Arc::default(),
        }
    }

    /// Makes a call. It runs, unless it is rejected or dropped after `patience` polls.
    pub(super) fn call(
        &self,
        cost: u64,
        priority: i32,
        patience: usize,
        most: u64,
    ) -> Option<Rejection> {
        if self.queue.try_acquire(cost, Moment::now) {
            self.run(cost, most);
            return None;
        }
        let call = ToolCall::new("tool", ()).with_priority(priority);
        let mut waiter = Waiter::new(Arc::clone(&self.queue), cost, Moment::now());
        let part = Part::enter(call.context());
        let mut polls = 0;
        let mut poll = |part: &Part, cx: &mut Context<'_>| {
            let polled = waiter.poll(part, cx);
            polls += 1;
            match polled {
                Poll::Pending if polls >= patience => Poll::Ready(None),
                Poll::Pending if patience < usize::MAX => {
                    // It is polled again without a wakeup.
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                polled => Poll::Ready(Some(ready!(polled))),
            }
        };
        match block_on(poll_fn(|cx| poll(&part, cx))) {
            Some(Ok(_)) => self.run(cost, most),
            Some(Err(rejection)) => return Some(rejection),
            None => {}
        }
        None
    }

    fn run(&self, cost: u64, most: u64) {
        let others = self.in_use.fetch_add(cost, Ordering::SeqCst);
        assert!(others + cost <= most, "{others} and {cost} of {most}");
        self.in_use.fetch_sub(cost, Ordering::SeqCst);
        self.queue.release(cost);
    }

    pub(super) fn is_free(&self, limit: usize) {
        assert_eq!(self.queue.queued(), 0);
        let permits = self.queue.limiter();
        assert_eq!((permits.available(), permits.in_flight()), (limit, 0));
    }
}

pub(super) fn all(threads: usize, run: impl Fn(usize) + Send + Sync + Clone + 'static) {
    let spawn = |number| {
        let run = run.clone();
        thread::spawn(move || run(number))
    };
    let threads: Vec<_> = (0..threads).map(spawn).collect();
    for thread in threads {
        thread.join().expect("no thread panics");
    }
}

#[test]
fn no_waiter_is_forgotten_and_no_permit_is_lost() {
    check(|| {
        for limit in [1, 2] {
            let shared = Limit::new(limit, None);
            let calls = shared.clone();
            all(3, move |_| {
                for _ in 0..2 {
                    assert_eq!(calls.call(1, 0, usize::MAX, limit as u64), None);
                }
            });
            shared.is_free(limit);
        }
    });
}

/// Two are dropped at a random moment: while they wait, or with a permit that was granted and not
/// polled for.
#[test]
fn a_waiter_may_be_dropped_at_any_moment() {
    check(|| {
        let shared = Limit::new(1, None);
        let calls = shared.clone();
        all(4, move |number| {
            let patience = match number {
                0 | 1 => usize::MAX,
                _ => thread_rng().gen_range(1..4),
            };
            assert_eq!(calls.call(1, 0, patience, 1), None);
        });
        shared.is_free(1);
    });
}

/// If a heavy waiter at the head is dropped, those behind it run on the permits that are free.
#[test]
fn costs_and_priorities_with_waiters_that_are_dropped() {
    check(|| {
        let order = thread_rng().gen_bool(0.5).then(Order::priority);
        let shared = Limit::new(3, order);
        let calls = shared.clone();
        all(4, move |number| {
            let cost = thread_rng().gen_range(1..4);
            let patience = match number {
                0 => thread_rng().gen_range(1..4),
                _ => usize::MAX,
            };
            let priority = thread_rng().gen_range(0..2);
            assert_eq!(calls.call(cost, priority, patience, 3), None);
        });
        shared.is_free(3);
    });
}

/// The limit goes up and down. A waiter that is too heavy for it is rejected.
#[test]
fn a_limit_may_change_at_any_moment() {
    check(|| {
        let shared = Limit::new(1, None);
        let calls = shared.clone();
        all(4, move |number| match number {
            0 => {
                for limit in [3, 2, 1] {
                    calls.queue.set_limit(|permits| permits.set(Some(limit)));
                }
            }
            1 => {
                let rejection = calls.call(2, 0, usize::MAX, 3);
                assert!(matches!(rejection, None | Some(Rejection::TooHeavy(2, _))));
            }
            _ => assert_eq!(calls.call(1, 0, usize::MAX, 3), None),
        });
        shared.is_free(1);
    });
}

/// Two quotas take turns while tokens are taken: each decision uses one whole quota, and no token
/// is lost or made.
#[test]
fn a_quota_may_change_at_any_moment() {
    let quota = |period, burst| {
        let quota = Quota::with_period(std::time::Duration::from_secs(period));
        let burst = std::num::NonZeroU32::new(burst).expect("not 0");
        quota.expect("not 0").allow_burst(burst)
    };
    check(move || {
        let (slow, fast) = (quota(3_600, 2), quota(60, 4));
        let bucket = Arc::new(Gcra::new(Some(slow)));
        let now = Moment::from_nanos(1 << 60);
        let taken = Arc::new(AtomicU64::new(0));
        let (shared, counted) = (Arc::clone(&bucket), Arc::clone(&taken));
        all(3, move |number| match number {
            0 => {
                for quota in [fast, slow, fast] {
                    shared.set_quota(Some(quota), now);
                }
            }
            _ => {
                for _ in 0..2 {
                    if shared.try_acquire(1, now) {
                        counted.fetch_add(1, Ordering::SeqCst);
                    }
                }
            }
        });
        let taken = taken.load(Ordering::SeqCst);
        // The slow bucket holds two: more that were taken from the fast one are forgiven then.
        let remaining = u64::from(bucket.remaining(now));
        assert!(remaining >= 4 - taken, "{taken} taken, {remaining} remain");
        assert!(
            remaining <= 4 - taken.min(2),
            "{taken} taken, {remaining} remain"
        );
    });
}

#[test]
fn refunded_tokens_are_there_again() {
    check(|| {
        let hour = Quota::per_hour(std::num::NonZeroU32::MIN);
        let burst = std::num::NonZeroU32::new(3).expect("not 0");
        let bucket = Arc::new(Gcra::new(Some(hour.allow_burst(burst))));
        let now = Moment::from_nanos(1 << 60);
        let shared = Arc::clone(&bucket);
        all(3, move |number| {
            let cost = number as u64 + 1;
            if shared.try_acquire(cost, now) {
                shared.refund(cost, now, now);
            }
        });
        assert_eq!(bucket.remaining(now), 3);
    });
}
