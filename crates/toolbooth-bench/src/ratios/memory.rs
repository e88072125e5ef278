//! Bytes of a call that runs, and of a call that waits, in the five layers.

use std::convert::Infallible;
use std::future::{Pending, pending};
use std::task::{Context, Waker};

use allocation_counter::measure as allocations;
use toolbooth::{
    CleanupLayer, ConcurrencyLimitLayer, PartialResultLayer, RateLimitLayer, TimeoutLayer, ToolCall,
};
use toolbooth_bench::stacks::{TIMEOUT, call, quota};
use tower::{Service, ServiceBuilder, service_fn};

use crate::contender::runtime;
use crate::report::Report;

/// Calls in flight, unless the command line sets another number.
const IN_FLIGHT: u32 = 1_000_000;

pub(crate) fn run(report: &mut Report) {
    let calls = report.calls_or(IN_FLIGHT);
    report.bytes("memory_running", bytes(calls, calls));
    report.bytes("memory_waiting", bytes(calls, 1));
}

/// Starts `calls` calls on a concurrency limit of `limit`, and returns the bytes allocated for one.
///
/// They include the call's future, which is boxed as it is in a task.
fn bytes(calls: u32, limit: u32) -> f64 {
    let runtime = runtime();
    let _entered = runtime.enter();
    let concurrency =
        ConcurrencyLimitLayer::new(limit as usize).with_queue_capacity(calls as usize);
    let mut tool = ServiceBuilder::new()
        .layer(TimeoutLayer::new(TIMEOUT))
        .layer(concurrency.clone())
        .layer(RateLimitLayer::new(quota()))
        .layer(CleanupLayer::new())
        .layer(PartialResultLayer::new())
        .service(service_fn(hang));
    let mut cx = Context::from_waker(Waker::noop());
    let mut futures = Vec::with_capacity(calls as usize);
    let counted = allocations(|| {
        for _ in 0..calls {
            let mut future = Box::pin(tool.call(call()));
            assert!(future.as_mut().poll(&mut cx).is_pending());
            futures.push(future);
        }
    });
    assert_eq!(concurrency.in_flight(), limit as usize);
    assert_eq!(concurrency.queued(), (calls - limit) as usize);
    #[expect(clippy::cast_precision_loss, reason = "no machine has 2^53 bytes")]
    let bytes = counted.bytes_current as f64;
    bytes / f64::from(calls)
}

fn hang(_: ToolCall) -> Pending<Result<(), Infallible>> {
    pending()
}
