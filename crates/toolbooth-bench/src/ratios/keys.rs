//! Limits for each tenant, called from one thread and from two.

use std::fmt::Debug;
use std::sync::Barrier;
use std::time::Duration;

use tokio::time::Instant;
use toolbooth::{ConcurrencyLimitLayer, RateLimitLayer, ToolCall};
use toolbooth_bench::stacks::{CONCURRENT, call, quota, tenant};
use toolbooth_bench::tools::AtOnce;
use tower::{Layer, Service, ServiceExt};

use crate::contender::{Contender, rounds, runtime};
use crate::measure::{Spread, ratio_of};
use crate::report::Report;
use crate::{CALLS, ROUNDS};

/// The number of tenants.
const KEYS: usize = 100;

/// The step from one tenant to the next, for each thread. Both visit all tenants, in another order.
const STRIDES: [usize; 2] = [1, 37];

pub(crate) fn run(report: &mut Report) {
    let concurrency = ConcurrencyLimitLayer::by(CONCURRENT, tenant);
    measure(report, "keys_two_threads", &concurrency.layer(AtOnce));
    let rate = RateLimitLayer::by(quota(), tenant);
    measure(report, "keys_two_threads_rate", &rate.layer(AtOnce));
    // Shows how far the machine itself scales: the tool without a layer.
    measure(report, "keys_two_threads_bare", &AtOnce);
}

/// Divides the calls a second of two threads by the calls a second of one.
fn measure<S>(report: &mut Report, name: &str, service: &S)
where
    S: Service<ToolCall, Error: Debug> + Clone + Send,
{
    let tenants: Vec<String> = (0..KEYS).map(|key| format!("tenant-{key}")).collect();
    let mut one = Contender::new(|count| on_threads(1, service, &tenants, count));
    let mut two = Contender::new(|count| on_threads(2, service, &tenants, count));
    rounds(ROUNDS, CALLS, &mut [&mut one, &mut two]);
    let Spread { median, min, max } = ratio_of(&one, &two);
    // Each thread makes as many calls as the one thread alone.
    let doubled = Spread {
        median: 2.0 * median,
        min: 2.0 * min,
        max: 2.0 * max,
    };
    report.ratio(name, doubled);
    report.nanos(&format!("{name}_one"), &one);
    report.nanos(&format!("{name}_two"), &two);
}

/// Makes `count` calls on each of the threads. Returns the time from the first start to the last
/// end.
fn on_threads<S>(threads: usize, service: &S, tenants: &[String], count: u32) -> Duration
where
    S: Service<ToolCall, Error: Debug> + Clone + Send,
{
    let barrier = Barrier::new(threads);
    std::thread::scope(|scope| {
        let running: Vec<_> = STRIDES
            .into_iter()
            .take(threads)
            .map(|stride| {
                let mut service = service.clone();
                let barrier = &barrier;
                scope.spawn(move || {
                    let runtime = runtime();
                    barrier.wait();
                    let start = Instant::now();
                    runtime.block_on(async {
                        for number in 0..count as usize {
                            let tenant = tenants[number * stride % KEYS].as_str();
                            let ready = service.ready().await.expect("no stack rejects");
                            let call = call().with_tenant(tenant);
                            ready.call(call).await.expect("no stack rejects");
                        }
                    });
                    (start, Instant::now())
                })
            })
            .collect();
        let times = running
            .into_iter()
            .map(|thread| thread.join().expect("no call panics"));
        let (first, last) = times
            .reduce(|(first, last), (start, end)| (first.min(start), last.max(end)))
            .expect("there is a thread");
        last - first
    })
}
