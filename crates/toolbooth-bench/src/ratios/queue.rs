//! Calls that wait for a concurrency limit: their cost in time and in memory.

use std::convert::Infallible;
use std::pin::pin;
use std::task::{Context, Waker};

use allocation_counter::measure as allocations;
use toolbooth::{ConcurrencyLimitLayer, Order, ToolCall};
use toolbooth_bench::stacks::call;
use toolbooth_bench::waiting::{all_by_priority, all_by_semaphore, with_priority};
use tower::{Layer, Service};

use crate::contender::{Contender, rounds, runtime};
use crate::measure::{Spread, instructions_of_one, ratio_of, timed};
use crate::report::Report;

const WAITERS: u32 = 100_000;
const ROUNDS: usize = 7;

pub(crate) fn run(report: &mut Report) {
    queue(report);
    queue_growth(report);
}

/// Starts all calls at once, each on a task of its own, through a limit of 100: ours by priority,
/// tokio's semaphore in FIFO order.
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

/// Divides the instructions a waiter of 50,000 waiters by those of 1,000. Skipped without valgrind.
fn queue_growth(report: &mut Report) {
    let per_waiter = |waiters| instructions_of_one("queue", waiters);
    if let (Some(few), Some(many)) = (per_waiter(1_000), per_waiter(WAITERS / 2)) {
        report.ratio("queue_growth", Spread::of([many / few].into_iter()));
        report.instructions("queue", few, many);
    }
}

type Never = std::future::Pending<Result<(), Infallible>>;

/// Reports the bytes of a waiter, besides the call's future and its context: its entry in the queue
/// and the box of its request and its service.
pub(crate) fn waiter_bytes(report: &mut Report) {
    const CALLS: u32 = 10_000;
    let runtime = runtime();
    let _entered = runtime.enter();
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
        let created = allocations(|| futures.extend(calls.by_ref().map(|call| tool.call(call))));
        let mut waiters: Vec<_> = futures.into_iter().map(Box::pin).collect();
        let enqueued = allocations(|| {
            for waiter in &mut waiters {
                assert!(waiter.as_mut().poll(&mut cx).is_pending());
            }
        });
        assert_eq!(limit.queued(), CALLS as usize);
        let bytes = (created.bytes_current + enqueued.bytes_current) / i64::from(CALLS);
        let bytes = i32::try_from(bytes).expect("a waiter is small");
        report.bytes(name, f64::from(bytes));
    }
}
