//! What a call starts ends with it: cancellation that reaches everything, and shutdown.

#![expect(clippy::panic, reason = "tools panic here")]

mod blocking;
mod cancel;
mod child;
mod close;
mod tasks;

use std::num::NonZeroU32;
use std::time::Duration;

use governor::Quota;
use serde_json::json;
use tokio::time::Instant;
use toolbooth::{
    BoxError, CallContext, CleanupLayer, ConcurrencyLimitLayer, PartialResultLayer, RateLimitLayer,
    TimeoutLayer, ToolCall, ToolError, ToolOutput, tool_fn,
};
use toolbooth_test::{Probe, Recorder, ms};
use tower::util::BoxCloneSyncService;
use tower::{Layer, Service, ServiceExt};

const MINUTE: Duration = Duration::from_secs(60);

/// Stacks at run time: one type for all orders.
type Tool = BoxCloneSyncService<ToolCall, ToolOutput, ToolError>;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Ours {
    Timeout,
    Rate,
    Concurrency,
    Cleanup,
    Partial,
}

/// The layers of one stack, with what can be read off them.
struct Layers {
    timeout: TimeoutLayer,
    rate: RateLimitLayer,
    limit: ConcurrencyLimitLayer,
    cleanup: CleanupLayer,
}

// === impl Ours ===

impl Ours {
    const ALL: [Self; 5] = [
        Self::Timeout,
        Self::Rate,
        Self::Concurrency,
        Self::Cleanup,
        Self::Partial,
    ];

    /// All 120, from the outermost to the innermost; and each alone.
    fn stacks() -> Vec<Vec<Self>> {
        let mut orders = vec![vec![]];
        for _ in Self::ALL {
            orders = orders
                .iter()
                .flat_map(|order: &Vec<Self>| {
                    let rest = Self::ALL.into_iter().filter(|layer| !order.contains(layer));
                    rest.map(|layer| [order.as_slice(), &[layer]].concat())
                })
                .collect();
        }
        assert_eq!(orders.len(), 120);
        orders.extend(Self::ALL.map(|layer| vec![layer]));
        orders
    }
}

// === impl Layers ===

impl Layers {
    const TOKENS: u32 = 10;

    /// One call at once, and ten tokens that do not come back in a test.
    fn new() -> Self {
        let burst = NonZeroU32::new(Self::TOKENS).expect("not 0");
        Self {
            timeout: TimeoutLayer::new(MINUTE),
            rate: RateLimitLayer::new(Quota::per_hour(NonZeroU32::MIN).allow_burst(burst)),
            limit: ConcurrencyLimitLayer::new(1),
            cleanup: CleanupLayer::new(),
        }
    }

    fn around(&self, layer: Ours, inner: Tool) -> Tool {
        match layer {
            Ours::Timeout => boxed(self.timeout.layer(inner)),
            Ours::Rate => boxed(self.rate.layer(inner)),
            Ours::Concurrency => boxed(self.limit.layer(inner)),
            Ours::Cleanup => boxed(self.cleanup.layer(inner)),
            Ours::Partial => boxed(PartialResultLayer::new().layer(inner)),
        }
    }

    /// The first is the outermost.
    fn stack(&self, order: &[Ours], tool: Tool) -> Tool {
        let layers = order.iter().rev();
        layers.fold(tool, |tool, layer| self.around(*layer, tool))
    }
}

// === helpers ===

fn boxed<S>(service: S) -> Tool
where
    S: Service<ToolCall, Response = ToolOutput> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError> + 'static,
    S::Future: Send + 'static,
{
    Tool::new(service.map_err(ToolError::from_error))
}

fn call() -> ToolCall {
    ToolCall::new("tool", json!(null))
}

/// A tool of the context alone.
fn tool<F, Fut>(run: F) -> Tool
where
    F: Fn(CallContext) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<&'static str, BoxError>> + Send + 'static,
{
    boxed(tool_fn("tool", move |context, (): ()| run(context)))
}

/// A tool that never answers.
fn hanging(inside: &Probe) -> Tool {
    let inside = inside.clone();
    tool(move |_| {
        let inside = inside.enter();
        async move {
            let _inside = inside;
            std::future::pending().await
        }
    })
}
