//! Fault injection: which call gets which fault, the layer, and the service.

mod broken;
mod layer;
mod service;

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use fastrand::Rng;

pub use layer::FaultLayer;
pub use service::FaultService;

/// The shares of the calls that get a fault, by its kind.
///
/// A share is a number from 0, no call, to 1, every call. A call gets at most one fault besides a
/// latency. If the shares add up to more than 1, those that this page lists first prevail.
#[derive(Debug, Clone, Default)]
pub struct Faults {
    errors: f64,
    hangs: f64,
    panics: f64,
    broken_streams: f64,
    break_after: Option<RangeInclusive<usize>>,
    slow: f64,
    latency: Option<RangeInclusive<Duration>>,
}

/// A fault that a [`FaultLayer`] injected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Fault {
    /// The call failed with [`InjectedFault`], and the tool was not called.
    Error,
    /// The call never completes, and the tool was not called.
    Hang,
    /// The future of the call panicked, and the tool was not called.
    Panic,
    /// The streaming response failed with [`InjectedFault`] after this number of items.
    BrokenStream(usize),
    /// The tool was called this much later.
    Latency(Duration),
}

/// The error of an injected fault.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct InjectedFault;

/// The faults of one call.
#[derive(Debug, Clone, Copy, Default)]
struct Drawn {
    latency: Option<Duration>,
    fault: Option<Fault>,
}

// === impl Faults ===

impl Faults {
    /// Creates a set without faults.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the share of calls that fail at once with [`InjectedFault`].
    #[must_use]
    pub const fn with_errors(mut self, share: f64) -> Self {
        self.errors = share;
        self
    }

    /// Sets the share of calls that never complete.
    #[must_use]
    pub const fn with_hangs(mut self, share: f64) -> Self {
        self.hangs = share;
        self
    }

    /// Sets the share of calls whose future panics.
    #[must_use]
    pub const fn with_panics(mut self, share: f64) -> Self {
        self.panics = share;
        self
    }

    /// Sets the share of calls whose streaming response fails after a number of items.
    ///
    /// The number is drawn from the range. A stream that ends sooner and a buffered response are
    /// returned unchanged.
    #[must_use]
    pub const fn with_broken_streams(mut self, share: f64, after: RangeInclusive<usize>) -> Self {
        self.broken_streams = share;
        self.break_after = Some(after);
        self
    }

    /// Sets the share of calls that reach the tool later, and the range of their latency.
    #[must_use]
    pub const fn with_latency(mut self, share: f64, range: RangeInclusive<Duration>) -> Self {
        self.slow = share;
        self.latency = Some(range);
        self
    }

    /// Draws the faults of one call. The kinds are drawn in the order of the fields.
    fn draw(&self, rng: &mut Rng) -> Drawn {
        let kind = rng.f64();
        let errors = self.errors.max(0.0);
        let hangs = errors + self.hangs.max(0.0);
        let panics = hangs + self.panics.max(0.0);
        let broken = panics + self.broken_streams.max(0.0);
        let fault = if kind < errors {
            Some(Fault::Error)
        } else if kind < hangs {
            Some(Fault::Hang)
        } else if kind < panics {
            Some(Fault::Panic)
        } else if kind < broken {
            let items = self.break_after.as_ref().map(|range| {
                let (from, to) = (*range.start(), *range.end());
                rng.usize(from..=to.max(from))
            });
            items.map(Fault::BrokenStream)
        } else {
            None
        };
        let latency = self.latency.as_ref().filter(|_| rng.f64() < self.slow);
        let latency = latency.map(|range| {
            let spread = range.end().saturating_sub(*range.start());
            range.start().saturating_add(spread.mul_f64(rng.f64()))
        });
        Drawn { latency, fault }
    }
}

// === impl InjectedFault ===

impl fmt::Display for InjectedFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("injected fault")
    }
}

impl std::error::Error for InjectedFault {}
