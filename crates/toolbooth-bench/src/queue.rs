//! Calls that wait: what a place in line costs, in time and in memory.

use std::cell::RefCell;
use std::convert::Infallible;
use std::num::NonZeroU32;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use allocation_counter::measure as allocations;
use governor::{Quota, RateLimiter};
use rustix::time::{ClockId, clock_gettime};
use tokio::task::JoinSet;
use toolbooth::{ConcurrencyLimitLayer, Order, RateLimitLayer, ToolCall};
use tower::{Layer, Service, ServiceExt};

use crate::measure::{Contender, Spread, ratio_of, rounds, timed};
use crate::stacks::call;
use crate::tools::AtOnce;
use crate::waiting::{all_by_priority, all_by_semaphore, with_priority};
use crate::{Report, runtime};

const WAITERS: u32 = 100_000;
const ROUNDS: usize = 7;

pub(crate) fn run(report: &mut Report) {
    queue(report);
    queue_growth(report);
    rate_wait(report);
    waiter_bytes(report);
}

/// All at once, each on a task of its own, through a limit of 100: ours by priority, and tokio's semaphore first come, first served.
fn queue(report: &mut Report) {
    let (runtime_ours, runtime_theirs) = (runtime(), runtime());
    let mut ours =
        Contender::new(move |count| timed(|| runtime_ours.block_on(all_by_priority(count))));
    let mut theirs =
        Contender::new(move |count| timed(|| runtime_theirs.block_on(all_by_semaphore(count))));
    rounds(ROUNDS, WAITERS, &mut [&mut ours, &mut theirs]);
    report.ratio("queue", ratio_of(&ours, &theirs));
    report.nanos("queue", &ours);
    report.nanos("queue_semaphore", &theirs);
}

/// Instructions a waiter with 100,000 in line, as a part of those with 1,000, where there is valgrind to count them.
fn queue_growth(report: &mut Report) {
    let per_waiter = |waiters: u32| {
        // What the program does besides is in both.
        let [less, more] = [waiters, 2 * waiters].map(instructions);
        Some((more? - less?) / f64::from(waiters))
    };
    if let (Some(few), Some(many)) = (per_waiter(1_000), per_waiter(WAITERS / 2)) {
        report.ratio("queue_growth", Spread::of([many / few].into_iter()));
        report
            .lines
            .push(format!("instructions queue {few:.0} {many:.0}"));
    }
}

fn instructions(waiters: u32) -> Option<f64> {
    let program = std::env::current_exe().ok()?.with_file_name("instructions");
    let counted = std::process::Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(program)
        .args(["queue", &waiters.to_string()])
        .output();
    let said = String::from_utf8(counted.ok()?.stderr).ok()?;
    let line = said.lines().find(|line| line.contains("Collected"))?;
    line.split_whitespace().last()?.parse().ok()
}

/// Counts how often it is polled.
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

/// How long the processor worked in each round, the first included, which only warms up.
#[derive(Default)]
struct Worked(RefCell<Vec<f64>>);

impl Worked {
    fn timed(&self, run: impl FnOnce()) -> Duration {
        let before = processor();
        let time = timed(run);
        self.0.borrow_mut().push(processor() - before);
        time
    }

    fn ratio(&self, other: &Self) -> Spread {
        let (ours, theirs) = (self.0.borrow(), other.0.borrow());
        let rounds = ours.iter().zip(theirs.iter()).skip(1);
        Spread::of(rounds.map(|(ours, theirs)| ours / theirs))
    }
}

/// The time of the processor that this program has taken, in seconds.
fn processor() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    let time = Duration::try_from(time).expect("it is not negative");
    time.as_secs_f64()
}

/// 10,000 at once at 100,000 a second. The rate takes 100 ms for them, whoever keeps it: so what keeping it takes is the time of the
/// processor, of all threads of the program.
fn rate_wait(report: &mut Report) {
    const CALLS: u32 = 10_000;
    let rate = NonZeroU32::new(100_000).expect("not 0");
    let quota = Quota::per_second(rate).allow_burst(NonZeroU32::MIN);
    let (runtime_ours, runtime_theirs) = (runtime(), runtime());
    let wakeups = RefCell::new(Vec::new());
    let (worked_ours, worked_theirs) = (Worked::default(), Worked::default());
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
        // All but the first, which finds a token, are polled once more than they are woken.
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

type Never = std::future::Pending<Result<(), Infallible>>;

/// What there is of each who waits besides the call's future and its context: its place in the line, and the box in which
/// its request and its tool are held.
fn waiter_bytes(report: &mut Report) {
    const CALLS: u32 = 10_000;
    let mut cx = Context::from_waker(Waker::noop());
    for (name, order) in [
        ("waiter_bytes", Order::priority()),
        ("waiter_bytes_fifo", Order::fifo()),
    ] {
        let limit = ConcurrencyLimitLayer::new(1)
            .with_queue_capacity(CALLS as usize)
            .with_order(order);
        let mut tool = limit.layer(tower::service_fn(|_: ToolCall| -> Never {
            std::future::pending()
        }));
        let mut running = pin!(tool.call(call()));
        assert!(running.as_mut().poll(&mut cx).is_pending());
        let mut calls = (0..CALLS)
            .map(with_priority)
            .collect::<Vec<_>>()
            .into_iter();
        let mut futures = Vec::with_capacity(CALLS as usize);
        let held = allocations(|| futures.extend(calls.by_ref().map(|call| tool.call(call))));
        let mut waiters: Vec<_> = futures.into_iter().map(Box::pin).collect();
        let lined_up = allocations(|| {
            for waiter in &mut waiters {
                assert!(waiter.as_mut().poll(&mut cx).is_pending());
            }
        });
        assert_eq!(limit.queued(), CALLS as usize);
        let bytes = (held.bytes_current + lined_up.bytes_current) / i64::from(CALLS);
        report.lines.push(format!("bytes {name} {bytes}"));
    }
}
