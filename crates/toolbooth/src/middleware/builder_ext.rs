use std::time::Duration;

use tower::ServiceBuilder;
use tower_layer::Stack;

use crate::CatchPanicLayer;
use crate::CircuitBreakerLayer;
use crate::CleanupLayer;
use crate::ConcurrencyLimitLayer;
use crate::PartialResultLayer;
use crate::PerTool;
use crate::SpawnLayer;
use crate::TimeoutLayer;
#[cfg(feature = "rate")]
use crate::{Quota, RateLimitLayer};

/// The layers as methods of [`tower::ServiceBuilder`]; as with all of its methods, the first one is the outermost.
///
/// The names begin with `tool_`, so that none can be mistaken for tower's own `timeout`, `concurrency_limit` and
/// `rate_limit`, which mean something else: they know no tools, the limits wait in `poll_ready`, where a timeout does not
/// count it, and all are done when the head of a streamed answer is there. Both kinds go into one builder.
///
/// Each method has an off value, with which the stack keeps its type: a limit of `None`, [`CircuitBreakerLayer::off`], [`CleanupLayer::off`],
/// [`PartialResultLayer::off`], [`CatchPanicLayer::off`], [`SpawnLayer::off`]. (tower's `option_layer` would make another type of the answer, too.)
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
/// let error = error.err().ok_or("it never answers")?;
/// assert_eq!(error.kind(), ErrorKind::Timeout);
/// # Ok(()) }
/// ```
///
/// A limit that is made here belongs to this builder and its clones: nothing else can share it or read it. For one that is
/// shared, or that is asked how full it is, and for settings beyond these, make the layer first and stack it with
/// [`layer`](ServiceBuilder::layer).
///
/// Where a crate with an extension trait of the same name is in use, too, such as tower-http:
/// `use toolbooth::ServiceBuilderExt as _`.
pub trait ServiceBuilderExt<L>: sealed::Sealed<L> + Sized {
    /// Cuts a call that takes longer, waits and streamed answer included: a [`TimeoutLayer`]. `None` is no limit.
    fn tool_timeout(
        self,
        limits: impl Into<PerTool<Duration>>,
    ) -> ServiceBuilder<Stack<TimeoutLayer, L>>;

    /// Lets so many calls run at once, each until its last byte is delivered; the others wait in line: a
    /// [`ConcurrencyLimitLayer`]. `None` is no limit, 0 is closed.
    fn tool_concurrency_limit(
        self,
        limit: impl Into<Option<usize>>,
    ) -> ServiceBuilder<Stack<ConcurrencyLimitLayer, L>>;

    /// Lets calls start by `quota`; the others wait for a token in line: a [`RateLimitLayer`]. `None` is no limit.
    #[cfg(feature = "rate")]
    fn tool_rate_limit(
        self,
        quota: impl Into<Option<Quota>>,
    ) -> ServiceBuilder<Stack<RateLimitLayer, L>>;

    /// Leaves a tool alone while it fails. It takes the layer, since whoever stacks one may ask it for its state;
    /// [`CircuitBreakerLayer::off`] is none.
    fn tool_circuit_breaker(
        self,
        breaker: CircuitBreakerLayer,
    ) -> ServiceBuilder<Stack<CircuitBreakerLayer, L>>;

    /// Runs what calls registered to be cleaned up. It takes the layer, since whoever stacks one needs it again, to
    /// [`drain`](CleanupLayer::drain) it at the end. [`CleanupLayer::off`] runs nothing.
    fn tool_cleanup(self, cleanup: CleanupLayer) -> ServiceBuilder<Stack<CleanupLayer, L>>;

    /// Keeps what a call produces and attaches it to the error that cuts the call short. It takes the layer with its bounds;
    /// [`PartialResultLayer::off`] keeps nothing.
    fn tool_partial_results(
        self,
        partial: PartialResultLayer,
    ) -> ServiceBuilder<Stack<PartialResultLayer, L>>;

    /// Makes a panic of what is inside the error of its call. [`CatchPanicLayer::off`] lets it pass.
    fn tool_catch_panic(
        self,
        catch_panic: CatchPanicLayer,
    ) -> ServiceBuilder<Stack<CatchPanicLayer, L>>;

    /// Runs each call on a task of its own. [`SpawnLayer::off`] leaves it on its caller's.
    fn tool_spawn(self, spawn: SpawnLayer) -> ServiceBuilder<Stack<SpawnLayer, L>>;
}

mod sealed {
    /// For tower's builder alone: so a method for each layer to come breaks nobody.
    #[expect(unnameable_types, reason = "who cannot name it cannot implement it")]
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
}
