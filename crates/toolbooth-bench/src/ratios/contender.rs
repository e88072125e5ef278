//! Services that run in turns.

use std::fmt::Debug;
use std::time::Duration;

use allocation_counter::measure as allocations;
use tokio::runtime::{Builder, Runtime};
use toolbooth_bench::calls;
use tower::Service;

use crate::measure::{Spread, timed};
use crate::report::Report;

/// Something that is timed: a function that makes a number of calls and returns the time they took.
pub(crate) struct Contender<'a> {
    run: Box<dyn FnMut(u32) -> Duration + 'a>,
    /// Nanoseconds a call in each round.
    nanos: Vec<f64>,
}

// === impl Contender ===

impl<'a> Contender<'a> {
    pub(crate) fn new(run: impl FnMut(u32) -> Duration + 'a) -> Self {
        Self {
            run: Box::new(run),
            nanos: Vec::new(),
        }
    }

    /// Times calls of `service` on a runtime of its own.
    pub(crate) fn of<R: 'a, S>(service: impl FnOnce() -> S, request: impl Fn() -> R + 'a) -> Self
    where
        S: Service<R> + 'a,
        S::Error: Debug,
    {
        let runtime = runtime();
        let mut service = runtime.block_on(async { service() });
        Self::new(move |count| timed(|| runtime.block_on(calls(&mut service, &request, count))))
    }

    /// Makes calls without recording their time.
    pub(crate) fn warm_up(&mut self, calls: u32) {
        (self.run)(calls);
    }

    /// Makes the calls of one round and records their time.
    pub(crate) fn round(&mut self, calls: u32) {
        let nanos = (self.run)(calls).as_secs_f64() * 1e9 / f64::from(calls);
        self.nanos.push(nanos);
    }

    /// Returns the nanoseconds a call of each round.
    pub(crate) fn nanos(&self) -> &[f64] {
        &self.nanos
    }

    pub(crate) fn spread(&self) -> Spread {
        Spread::of(self.nanos.iter().copied())
    }
}

/// Runs the contenders in turns. The first round warms up and is not recorded.
pub(crate) fn rounds(rounds: usize, calls: u32, contenders: &mut [&mut Contender<'_>]) {
    for contender in contenders.iter_mut() {
        contender.warm_up(calls);
    }
    for _ in 0..rounds {
        for contender in contenders.iter_mut() {
            contender.round(calls);
        }
    }
}

/// Reports the allocations of one call, after a call that is not counted.
pub(crate) fn count<R, S>(
    report: &mut Report,
    name: &str,
    service: impl FnOnce() -> S,
    request: impl Fn() -> R,
) where
    S: Service<R>,
    S::Error: Debug,
{
    let runtime = runtime();
    let mut service = runtime.block_on(async { service() });
    runtime.block_on(calls(&mut service, &request, 1));
    let counted = allocations(|| runtime.block_on(calls(&mut service, &request, 1)));
    report.allocations(name, counted.count_total, counted.bytes_total);
}

/// Builds a runtime of one thread.
pub(crate) fn runtime() -> Runtime {
    Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime can be built")
}
