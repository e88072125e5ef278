//! The calls and the stacks of layers that are compared. Their limits never bind.

use std::num::NonZeroU32;
use std::sync::LazyLock;
use std::time::Duration;

use governor::Quota;
use serde_json::Value;
use tokio::time::Instant;
use toolbooth::breaker::CircuitBreaker;
use toolbooth::cleanup::Cleanup;
use toolbooth::concurrency::ConcurrencyLimit;
use toolbooth::events::Events;
use toolbooth::partial::PartialResult;
use toolbooth::rate::RateLimit;
use toolbooth::timeout::Timeout;
use toolbooth::{
    BreakerPolicy, CallContext, CircuitBreakerLayer, CleanupLayer, ConcurrencyLimitLayer,
    EventsLayer, Name, PartialResultLayer, PerTool, RateLimitLayer, TimeoutLayer, ToolCall,
};
use tower::{Layer, ServiceBuilder};
use tower_resilience::bulkhead::{Bulkhead, BulkheadLayer};
use tower_resilience::ratelimiter::{RateLimiter, RateLimiterLayer};
use tower_resilience::timelimiter::{FixedTimeout, TimeLimiter, TimeLimiterLayer};

/// The timeout of every stack.
pub const TIMEOUT: Duration = Duration::from_secs(30);

/// The concurrency limit of every stack.
pub const CONCURRENT: usize = 1_000;

static IN_AN_HOUR: LazyLock<Instant> =
    LazyLock::new(|| Instant::now() + Duration::from_secs(3_600));

/// Returns a call as an agent makes it: with an id, a tenant and a deadline.
#[must_use]
pub fn call() -> ToolCall {
    call_of("tool")
}

/// Returns a call of the tool `name`, as an agent makes it.
#[must_use]
pub fn call_of(name: impl Into<Name>) -> ToolCall {
    ToolCall::new(name, Value::Null)
        .with_id("call_8fj2")
        .with_tenant("acme")
        .with_deadline(*IN_AN_HOUR)
}

/// Returns a call without any setting.
#[must_use]
pub fn barest_call() -> ToolCall {
    ToolCall::new("tool", Value::Null)
}

/// Returns a call with an id as its only setting.
#[must_use]
pub fn call_with_id() -> ToolCall {
    barest_call().with_id("call_8fj2")
}

/// Returns the quota of every stack: 1,000,000,000 starts a second.
#[must_use]
pub const fn quota() -> Quota {
    Quota::per_second(NonZeroU32::new(1_000_000_000).expect("not 0"))
}

/// Returns the key of a limit for each tenant.
#[must_use]
pub fn tenant(context: &CallContext) -> Name {
    context.tenant().unwrap_or_default().into()
}

/// Wraps `tool` in a circuit breaker that opens when half of the last 100 calls failed.
pub fn breaker<S>(tool: S) -> CircuitBreaker<S> {
    let policy = BreakerPolicy::new().with_failure_rate(0.5, 100);
    CircuitBreakerLayer::with_policy(policy.expect("the settings are valid")).layer(tool)
}

/// The type of [`three`] and [`agent`].
pub type Three<S> = Timeout<ConcurrencyLimit<RateLimit<S>>>;

/// Wraps `tool` in toolbooth's timeout, concurrency limit and rate limit.
pub fn three<S>(tool: S) -> Three<S> {
    ServiceBuilder::new()
        .layer(TimeoutLayer::new(TIMEOUT))
        .layer(ConcurrencyLimitLayer::new(CONCURRENT))
        .layer(RateLimitLayer::new(quota()))
        .service(tool)
}

/// Wraps `tool` in the three layers as an agent configures them: timeout and concurrency limit for
/// each tool, rate limit for each tenant.
pub fn agent<S>(tool: S) -> Three<S> {
    ServiceBuilder::new()
        .layer(TimeoutLayer::new(
            PerTool::new(TIMEOUT).with("tool", TIMEOUT / 2),
        ))
        .layer(ConcurrencyLimitLayer::per_tool(
            PerTool::new(CONCURRENT).with("tool", CONCURRENT / 2),
        ))
        .layer(RateLimitLayer::by(quota(), tenant))
        .service(tool)
}

/// Wraps `tool` in the five layers timeout, concurrency limit, rate limit, cleanup and partial
/// results.
pub fn five<S>(tool: S) -> Three<Cleanup<PartialResult<S>>> {
    three(CleanupLayer::new().layer(PartialResultLayer::new().layer(tool)))
}

/// Wraps [`five`] in an events layer without a sink.
pub fn five_with_events_off<S>(tool: S) -> Events<Three<Cleanup<PartialResult<S>>>> {
    EventsLayer::off().layer(five(tool))
}

/// Wraps `tool` in tower's timeout, concurrency limit and rate limit.
pub fn tower_three<S>(
    tool: S,
) -> tower::timeout::Timeout<tower::limit::ConcurrencyLimit<tower::limit::RateLimit<S>>> {
    ServiceBuilder::new()
        .timeout(TIMEOUT)
        .concurrency_limit(CONCURRENT)
        .rate_limit(u64::MAX, Duration::from_secs(1))
        .service(tool)
}

/// Wraps `tool` in tower-resilience's time limiter, bulkhead and rate limiter.
pub fn resilience_three<S>(tool: S) -> TimeLimiter<Bulkhead<RateLimiter<S>>, FixedTimeout> {
    let bulkhead = BulkheadLayer::builder()
        .max_concurrent_calls(CONCURRENT)
        .build();
    let rate = RateLimiterLayer::builder()
        .limit_for_period(1_000_000_000)
        .refresh_period(Duration::from_secs(1))
        .build();
    ServiceBuilder::new()
        .layer(
            TimeLimiterLayer::builder()
                .timeout_duration(TIMEOUT)
                .build(),
        )
        .layer(bulkhead.expect("the settings are valid"))
        .layer(rate.expect("the settings are valid"))
        .service(tool)
}
