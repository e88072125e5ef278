use std::time::Duration;

use toolbooth::{
    BoxError, CleanupLayer, ConcurrencyLimitLayer, PartialResultLayer, RateLimitLayer,
    TimeoutLayer, ToolCall, ToolError, ToolOutput,
};
use toolbooth_test::{BoxTool, boxed, orders};
use tower::retry::{Policy, Retry};
use tower::{Layer, Service};

use crate::{MINUTE, hourly};

/// One of the five layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(clippy::exhaustive_enums, reason = "tests name all of them")]
pub enum Kind {
    /// [`TimeoutLayer`].
    Timeout,
    /// [`RateLimitLayer`].
    Rate,
    /// [`ConcurrencyLimitLayer`].
    Concurrency,
    /// [`CleanupLayer`].
    Cleanup,
    /// [`PartialResultLayer`].
    Partial,
}

/// The five layers of one stack; each is also the handle to its state.
#[derive(Debug, Clone)]
#[expect(clippy::exhaustive_structs, reason = "tests replace single layers")]
pub struct Layers {
    /// Bounds the whole call.
    pub timeout: TimeoutLayer,
    /// Does not refill during a test.
    pub rate: RateLimitLayer,
    /// The limit on running calls.
    pub limit: ConcurrencyLimitLayer,
    /// Runs the hooks.
    pub cleanup: CleanupLayer,
    /// Keeps what a tool emits.
    pub partial: PartialResultLayer,
    /// How many permits `limit` has.
    pub permits: usize,
}

// === impl Kind ===

impl Kind {
    /// The recommended order, outermost first.
    pub const ALL: [Self; 5] = [
        Self::Timeout,
        Self::Rate,
        Self::Concurrency,
        Self::Cleanup,
        Self::Partial,
    ];

    /// Returns all 120 orders, the outermost layer first.
    #[must_use]
    pub fn orders() -> Vec<[Self; 5]> {
        orders(Self::ALL)
    }

    /// Returns all 120 orders, and a stack of each layer alone.
    #[must_use]
    pub fn stacks() -> Vec<Vec<Self>> {
        let orders = Self::orders().into_iter().map(Vec::from);
        orders.chain(Self::ALL.map(|kind| vec![kind])).collect()
    }
}

// === impl Layers ===

impl Layers {
    /// Tokens of [`Layers::new`].
    pub const TOKENS: u32 = 10;

    /// Returns layers with `permits` permits, 10 tokens, and a timeout of a minute.
    #[must_use]
    pub fn new(permits: usize) -> Self {
        Self::with(MINUTE, Self::TOKENS, permits)
    }

    /// Returns layers with these limits.
    #[must_use]
    pub fn with(timeout: Duration, tokens: u32, permits: usize) -> Self {
        Self {
            timeout: TimeoutLayer::new(timeout),
            rate: RateLimitLayer::new(hourly(tokens)),
            limit: ConcurrencyLimitLayer::new(permits),
            cleanup: CleanupLayer::new(),
            partial: PartialResultLayer::new(),
            permits,
        }
    }

    /// Wraps a tool in one of the layers.
    #[must_use]
    pub fn around<S>(&self, kind: Kind, inner: S) -> BoxTool
    where
        S: Service<ToolCall, Response = ToolOutput> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError> + 'static,
        S::Future: Send + 'static,
    {
        match kind {
            Kind::Timeout => boxed(self.timeout.layer(inner)),
            Kind::Rate => boxed(self.rate.layer(inner)),
            Kind::Concurrency => boxed(self.limit.layer(inner)),
            Kind::Cleanup => boxed(self.cleanup.layer(inner)),
            Kind::Partial => boxed(self.partial.layer(inner)),
        }
    }

    /// Wraps a tool in all five layers in the recommended order.
    #[must_use]
    pub fn wrap<S>(&self, tool: S) -> BoxTool
    where
        S: Service<ToolCall, Response = ToolOutput> + Clone + Send + Sync + 'static,
        S::Error: Into<BoxError> + 'static,
        S::Future: Send + 'static,
    {
        self.stack(&Kind::ALL, boxed(tool))
    }

    /// Wraps a tool in the layers of `order`, the outermost first.
    #[must_use]
    pub fn stack(&self, order: &[Kind], tool: BoxTool) -> BoxTool {
        let innermost_first = order.iter().rev();
        innermost_first.fold(tool, |tool, kind| self.around(*kind, tool))
    }

    /// Wraps a tool in the layers of `order` and in a retry inside the first `outside` of them.
    #[must_use]
    pub fn retried<P>(&self, policy: P, order: &[Kind], outside: usize, tool: BoxTool) -> BoxTool
    where
        P: Policy<ToolCall, ToolOutput, ToolError> + Clone + Send + Sync + 'static,
        P::Future: Send,
    {
        let (outer, inner) = order.split_at(outside);
        let retry = boxed(Retry::new(policy, self.stack(inner, tool)));
        self.stack(outer, retry)
    }

    /// Asserts that all permits are available and that no call waits.
    ///
    /// # Panics
    /// If a permit is in use or a call waits.
    #[track_caller]
    pub fn assert_released(&self, case: &str) {
        let permits = (
            self.limit.available(),
            self.limit.in_flight(),
            self.limit.queued(),
        );
        assert_eq!(permits, (self.permits, 0, 0), "{case}");
        assert_eq!(self.rate.queued(), 0, "{case}");
    }
}
