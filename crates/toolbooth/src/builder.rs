use std::time::Duration;

use tower::ServiceBuilder;
use tower_layer::Stack;

use crate::CatchPanicLayer;
use crate::CircuitBreakerLayer;
use crate::CleanupLayer;
use crate::ConcurrencyLimitLayer;
use crate::EventsLayer;
#[cfg(feature = "handler")]
use crate::IdempotencyLayer;
use crate::PartialResultLayer;
use crate::PerTool;
use crate::ShutdownLayer;
use crate::SpawnLayer;
#[cfg(feature = "state")]
use crate::StateLayer;
use crate::TimeoutLayer;
#[cfg(feature = "rate")]
use crate::{Quota, RateLimitLayer};

/// Adds the layers as methods of [`tower::ServiceBuilder`]. The first method adds the outermost
/// layer.
///
/// The prefix `tool_` distinguishes the names from tower's own `timeout`, `concurrency_limit` and
/// `rate_limit`. Those do not distinguish tools, wait in `poll_ready`, where no timeout counts the
/// wait, and end with the head of a streaming response. Both kinds may be used in one builder.
///
/// Each method has a value that disables its layer without changing the type of the stack: a limit
/// of `None`, [`CircuitBreakerLayer::off`], [`CleanupLayer::off`], [`PartialResultLayer::off`],
/// [`CatchPanicLayer::off`], [`SpawnLayer::off`], [`ShutdownLayer::off`], [`EventsLayer::off`].
/// tower's `option_layer` changes the type of the response.
///
/// ```
/// use std::num::NonZeroU32;
/// use std::time::Duration;
/// use serde_json::json;
/// use toolbooth::{
///     CleanupLayer, ErrorKind, PartialResultLayer, PerTool, Quota, ServiceBuilderExt, ToolCall,
///     tool_fn,
/// };
/// use tower::{ServiceBuilder, ServiceExt};
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let ten = NonZeroU32::new(10).ok_or("10 is not 0")?;
/// let cleanup = CleanupLayer::new();
/// let tool = ServiceBuilder::new()
///     .tool_timeout(PerTool::new(Duration::from_secs(5)).with("search", Duration::from_secs(2)))
///     .tool_rate_limit(Quota::per_second(ten))
///     .tool_concurrency_limit(4)
///     .tool_cleanup(cleanup.clone())
///     .tool_partial_results(PartialResultLayer::new())
///     .service(tool_fn("search", async |_: ()| {
///         std::future::pending::<Result<String, std::io::Error>>().await
///     }));
///
/// let error = tool.oneshot(ToolCall::new("search", json!(null))).await;
/// let error = error.err().ok_or("it never returns")?;
/// assert_eq!(error.kind(), ErrorKind::Timeout);
/// # Ok(()) }
/// ```
///
/// A limit that is made here belongs to this builder and its clones; it cannot be shared or read.
/// To share a limit, to read its state, or for further settings, make the layer first and add it
/// with [`layer`](ServiceBuilder::layer).
///
/// If an extension trait of the same name is in scope, such as tower-http's, import this one with
/// `use toolbooth::ServiceBuilderExt as _`.
pub trait ServiceBuilderExt<L>: sealed::Sealed<L> + Sized {
    /// Adds a [`TimeoutLayer`]: limits a call, including its waits and its streaming response.
    /// `None` is no limit.
    fn tool_timeout(
        self,
        limits: impl Into<PerTool<Duration>>,
    ) -> ServiceBuilder<Stack<TimeoutLayer, L>>;

    /// Adds a [`ConcurrencyLimitLayer`]: limits how many calls run at once, each until its last
    /// byte is delivered. The others wait in a queue. `None` is no limit, 0 rejects every call.
    fn tool_concurrency_limit(
        self,
        limit: impl Into<Option<usize>>,
    ) -> ServiceBuilder<Stack<ConcurrencyLimitLayer, L>>;

    /// Adds a [`RateLimitLayer`]: calls start at the rate of `quota`, the others wait in a queue.
    /// `None` is no limit.
    #[cfg(feature = "rate")]
    fn tool_rate_limit(
        self,
        quota: impl Into<Option<Quota>>,
    ) -> ServiceBuilder<Stack<RateLimitLayer, L>>;

    /// Adds a [`CircuitBreakerLayer`]: rejects calls while their tool fails.
    ///
    /// Takes the layer, which is also the handle to read its state.
    fn tool_circuit_breaker(
        self,
        breaker: CircuitBreakerLayer,
    ) -> ServiceBuilder<Stack<CircuitBreakerLayer, L>>;

    /// Adds a [`CleanupLayer`]: runs cleanup hooks.
    ///
    /// Takes the layer, which is also the handle to [`drain`](CleanupLayer::drain) it.
    fn tool_cleanup(self, cleanup: CleanupLayer) -> ServiceBuilder<Stack<CleanupLayer, L>>;

    /// Adds a [`PartialResultLayer`]: attaches partial results to the error that ends a call early.
    fn tool_partial_results(
        self,
        partial: PartialResultLayer,
    ) -> ServiceBuilder<Stack<PartialResultLayer, L>>;

    /// Adds a [`CatchPanicLayer`]: turns panics into errors.
    fn tool_catch_panic(
        self,
        catch_panic: CatchPanicLayer,
    ) -> ServiceBuilder<Stack<CatchPanicLayer, L>>;

    /// Adds a [`SpawnLayer`]: runs each call on a task of its own.
    fn tool_spawn(self, spawn: SpawnLayer) -> ServiceBuilder<Stack<SpawnLayer, L>>;

    /// Adds a [`ShutdownLayer`]: rejects new calls at a shutdown, and cancels the others.
    ///
    /// Takes the layer, which is also the handle to [shut down](ShutdownLayer::shutdown).
    fn tool_shutdown(self, shutdown: ShutdownLayer) -> ServiceBuilder<Stack<ShutdownLayer, L>>;

    /// Adds an [`EventsLayer`]: delivers the events of calls to sinks.
    fn tool_events(self, events: EventsLayer) -> ServiceBuilder<Stack<EventsLayer, L>>;

    /// Adds an [`IdempotencyLayer`]: calls with the same key run once.
    #[cfg(feature = "handler")]
    fn tool_idempotency(
        self,
        idempotency: IdempotencyLayer,
    ) -> ServiceBuilder<Stack<IdempotencyLayer, L>>;

    /// Adds a [`StateLayer`]: provides shared state to the tools inside.
    #[cfg(feature = "state")]
    fn tool_state(self, state: StateLayer) -> ServiceBuilder<Stack<StateLayer, L>>;
}

mod sealed {
    /// Implemented for tower's builder alone, so that adding a method is not a breaking change.
    #[expect(unnameable_types, reason = "a sealed trait cannot be named outside")]
    pub trait Sealed<L> {}
}

// === impl ServiceBuilder ===

impl<L> sealed::Sealed<L> for ServiceBuilder<L> {}

impl<L> ServiceBuilderExt<L> for ServiceBuilder<L> {
    fn tool_timeout(
        self,
        limits: impl Into<PerTool<Duration>>,
    ) -> ServiceBuilder<Stack<TimeoutLayer, L>> {
        self.layer(TimeoutLayer::new(limits))
    }

    fn tool_concurrency_limit(
        self,
        limit: impl Into<Option<usize>>,
    ) -> ServiceBuilder<Stack<ConcurrencyLimitLayer, L>> {
        self.layer(ConcurrencyLimitLayer::new(limit))
    }

    #[cfg(feature = "rate")]
    fn tool_rate_limit(
        self,
        quota: impl Into<Option<Quota>>,
    ) -> ServiceBuilder<Stack<RateLimitLayer, L>> {
        self.layer(RateLimitLayer::new(quota))
    }

    fn tool_circuit_breaker(
        self,
        breaker: CircuitBreakerLayer,
    ) -> ServiceBuilder<Stack<CircuitBreakerLayer, L>> {
        self.layer(breaker)
    }

    fn tool_cleanup(self, cleanup: CleanupLayer) -> ServiceBuilder<Stack<CleanupLayer, L>> {
        self.layer(cleanup)
    }

    fn tool_partial_results(
        self,
        partial: PartialResultLayer,
    ) -> ServiceBuilder<Stack<PartialResultLayer, L>> {
        self.layer(partial)
    }

    fn tool_catch_panic(
        self,
        catch_panic: CatchPanicLayer,
    ) -> ServiceBuilder<Stack<CatchPanicLayer, L>> {
        self.layer(catch_panic)
    }

    fn tool_spawn(self, spawn: SpawnLayer) -> ServiceBuilder<Stack<SpawnLayer, L>> {
        self.layer(spawn)
    }

    fn tool_shutdown(self, shutdown: ShutdownLayer) -> ServiceBuilder<Stack<ShutdownLayer, L>> {
        self.layer(shutdown)
    }

    fn tool_events(self, events: EventsLayer) -> ServiceBuilder<Stack<EventsLayer, L>> {
        self.layer(events)
    }

    #[cfg(feature = "handler")]
    fn tool_idempotency(
        self,
        idempotency: IdempotencyLayer,
    ) -> ServiceBuilder<Stack<IdempotencyLayer, L>> {
        self.layer(idempotency)
    }

    #[cfg(feature = "state")]
    fn tool_state(self, state: StateLayer) -> ServiceBuilder<Stack<StateLayer, L>> {
        self.layer(state)
    }
}
