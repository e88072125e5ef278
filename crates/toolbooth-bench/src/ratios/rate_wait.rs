//! Calls that wait for a rate limit, compared with governor's `until_ready`.

use std::cell::RefCell;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};

use governor::{Quota, RateLimiter};
use tokio::task::JoinSet;
use toolbooth::RateLimitLayer;
use toolbooth_bench::stacks::call;
use toolbooth_bench::tools::AtOnce;
use tower::{Layer, ServiceExt};

use crate::contender::{Contender, rounds, runtime};
use crate::measure::{ProcessorTime, Spread, ratio_of};
use crate::report::Report;

const ROUNDS: usize = 7;

/// A future that counts its polls.
struct Polled<F> {
    future: Pin<Box<F>>,
    polls: Arc<AtomicU32>,
}

impl<F: Future> Future for Polled<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        self.polls.fetch_add(1, Ordering::Relaxed);
        self.future.as_mut().poll(cx)
    }
}

/// Starts 10,000 calls at once at 100,000 a second. Every limiter takes 100 ms for them, so the
/// cost is the processor time of the process.
pub(crate) fn run(report: &mut Report) {
    const CALLS: u32 = 10_000;
    let rate = NonZeroU32::new(100_000).expect("not 0");
    let quota = Quota::per_second(rate).allow_burst(NonZeroU32::MIN);
    let (runtime_ours, runtime_theirs) = (runtime(), runtime());
    let wakeups = RefCell::new(Vec::new());
    let (worked_ours, worked_theirs) = (ProcessorTime::default(), ProcessorTime::default());
    let mut ours = Contender::new(|count| {
        let polls = Arc::new(AtomicU32::new(0));
        let time = worked_ours.timed(|| {
            runtime_ours.block_on(async {
                let rate = RateLimitLayer::new(quota).with_queue_capacity(count as usize);
                let tool = rate.layer(AtOnce);
                let mut tasks = JoinSet::new();
                for _ in 0..count {
                    tasks.spawn(Polled {
                        future: Box::pin(tool.clone().oneshot(call())),
                        polls: Arc::clone(&polls),
                    });
                }
                tasks.join_all().await;
            });
        });
        // The first call finds a token. Each other call is polled once more than it is woken.
        let polls = f64::from(polls.load(Ordering::Relaxed));
        wakeups
            .borrow_mut()
            .push((polls - f64::from(count)) / (f64::from(count) - 1.0));
        time
    });
    let mut theirs = Contender::new(|count| {
        worked_theirs.timed(|| {
            runtime_theirs.block_on(async {
                let limiter = Arc::new(RateLimiter::direct(quota));
                let mut tasks = JoinSet::new();
                for _ in 0..count {
                    let limiter = Arc::clone(&limiter);
                    tasks.spawn(async move {
                        limiter.until_ready().await;
                        AtOnce.oneshot(()).await
                    });
                }
                tasks.join_all().await;
            });
        })
    });
    rounds(ROUNDS, CALLS, &mut [&mut ours, &mut theirs]);
    report.ratio("rate_wait", ratio_of(&ours, &theirs));
    report.ratio("rate_wait_cpu", worked_ours.ratio(&worked_theirs));
    report.nanos("rate_wait", &ours);
    report.nanos("rate_wait_governor", &theirs);
    let wakeups = wakeups.borrow();
    report.ratio("rate_wait_wakeups", Spread::of(wakeups.iter().copied()));
}
