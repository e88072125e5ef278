use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use fastrand::Rng;
use toolbooth_core::Name;
use tower_layer::Layer;

use super::{Drawn, Fault, FaultService, Faults};
use crate::recorder::Recorder;
use crate::sync::lock;

/// Injects faults into the calls of a tool: latency, errors, hangs, panics and broken streams.
///
/// The n-th call of a tool always gets the same faults for a seed, whatever calls other tools
/// receive. So a failure that a seed has found can be repeated. Use it as the innermost layer, to
/// make the tool unreliable, or between two layers.
///
/// ```
/// use toolbooth::{CatchPanicLayer, Outcome, TimeoutLayer};
/// use toolbooth_test::{CallFactory, FastTool, FaultLayer, Faults, call_all, ms};
/// use tower::ServiceBuilder;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)] async fn main() {
/// let faults = FaultLayer::seeded(7)
///     .with_faults(Faults::new().with_errors(0.1).with_latency(0.5, ms(5)..=ms(50)))
///     .with_tool("db", Faults::new().with_hangs(1.0));
/// let stack = ServiceBuilder::new()
///     .layer(TimeoutLayer::new(ms(1_000)))
///     .layer(CatchPanicLayer::new())
///     .layer(faults.clone())
///     .service(FastTool::new());
///
/// let calls = CallFactory::seeded(7);
/// let db = call_all(stack.clone(), calls.calls("db", 3)).await;
/// assert!(db.iter().all(|call| call.outcome() == Outcome::TimedOut));
///
/// let api = call_all(stack, calls.calls("api", 1_000)).await;
/// let failed = api.iter().filter(|call| !call.is_ok()).count();
/// assert!((50..150).contains(&failed), "{failed}");
/// assert!(faults.injected().len() > failed + 3);
/// # }
/// ```
///
/// # Clone
/// Clones share the counts of calls, and so do all services of one layer.
#[derive(Debug, Clone)]
pub struct FaultLayer {
    seed: u64,
    default: Faults,
    tools: Arc<HashMap<Name, Faults>>,
    /// How many calls each tool has received.
    calls: Arc<Mutex<HashMap<Name, u64>>>,
    injected: Recorder<(Name, Fault)>,
}

// === impl FaultLayer ===

impl FaultLayer {
    /// Creates a layer without faults.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self {
            seed,
            default: Faults::new(),
            tools: Arc::default(),
            calls: Arc::default(),
            injected: Recorder::new(),
        }
    }

    /// Sets the faults of all tools without faults of their own.
    #[must_use]
    pub fn with_faults(mut self, faults: Faults) -> Self {
        self.default = faults;
        self
    }

    /// Sets the faults of one tool, instead of those of all tools. A name that no call has is not
    /// an error: assert on [`injected`](Self::injected).
    #[must_use]
    pub fn with_tool(mut self, tool: impl Into<Name>, faults: Faults) -> Self {
        Arc::make_mut(&mut self.tools).insert(tool.into(), faults);
        self
    }

    /// Records each fault that was injected, with the name of the tool.
    #[must_use]
    pub const fn injected(&self) -> &Recorder<(Name, Fault)> {
        &self.injected
    }

    /// Draws the faults of the next call of `tool`.
    pub(super) fn draw(&self, tool: &str) -> Drawn {
        let number = {
            let mut calls = lock(&self.calls);
            let number = calls.entry(tool.into()).or_default();
            *number += 1;
            *number
        };
        let faults = self.tools.get(tool).unwrap_or(&self.default);
        faults.draw(&mut Rng::with_seed(mix(self.seed, tool, number)))
    }
}

/// Hashes the seed, the tool and the number of the call by FNV-1a, the same on every platform.
fn mix(seed: u64, tool: &str, number: u64) -> u64 {
    let (seed, number) = (seed.to_le_bytes(), number.to_le_bytes());
    let bytes = seed.iter().chain(tool.as_bytes()).chain(&number);
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

impl<S> Layer<S> for FaultLayer {
    type Service = FaultService<S>;

    fn layer(&self, inner: S) -> FaultService<S> {
        FaultService::new(inner, self.clone())
    }
}
