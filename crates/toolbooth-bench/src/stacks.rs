//! The layers that are compared, with limits that never bind.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::Quota;
use serde_json::Value;
use toolbooth::ToolCall;

pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);
pub(crate) const CONCURRENT: usize = 1_000;

/// A call as a user makes it.
pub(crate) fn call() -> ToolCall {
    ToolCall::new("tool", Value::Null)
}

pub(crate) fn quota() -> Quota {
    Quota::per_second(NonZeroU32::new(1_000_000_000).expect("not 0"))
}

/// A circuit breaker that opens when half of the last 100 calls failed.
pub(crate) fn breaker() -> toolbooth::CircuitBreakerLayer {
    let policy = toolbooth::BreakerPolicy::new().with_failure_rate(0.5, 100);
    toolbooth::CircuitBreakerLayer::with_policy(policy.expect("the settings are valid"))
}

/// Timeout, concurrency limit and rate limit of toolbooth.
macro_rules! three {
    ($tool:expr) => {
        tower::ServiceBuilder::new()
            .layer(toolbooth::TimeoutLayer::new($crate::stacks::TIMEOUT))
            .layer(toolbooth::ConcurrencyLimitLayer::new(
                $crate::stacks::CONCURRENT,
            ))
            .layer(toolbooth::RateLimitLayer::new($crate::stacks::quota()))
            .service($tool)
    };
}

/// All five of toolbooth.
macro_rules! five {
    ($tool:expr) => {
        tower::ServiceBuilder::new()
            .layer(toolbooth::TimeoutLayer::new($crate::stacks::TIMEOUT))
            .layer(toolbooth::ConcurrencyLimitLayer::new(
                $crate::stacks::CONCURRENT,
            ))
            .layer(toolbooth::RateLimitLayer::new($crate::stacks::quota()))
            .layer(toolbooth::CleanupLayer::new())
            .layer(toolbooth::PartialResultLayer::new())
            .service($tool)
    };
}

/// The same three of tower.
macro_rules! tower_three {
    ($tool:expr) => {
        tower::ServiceBuilder::new()
            .timeout($crate::stacks::TIMEOUT)
            .concurrency_limit($crate::stacks::CONCURRENT)
            .rate_limit(u64::MAX, std::time::Duration::from_secs(1))
            .service($tool)
    };
}

/// The same three of tower-resilience.
macro_rules! resilience_three {
    ($tool:expr) => {
        tower::ServiceBuilder::new()
            .layer(
                tower_resilience::timelimiter::TimeLimiterLayer::builder()
                    .timeout_duration($crate::stacks::TIMEOUT)
                    .build(),
            )
            .layer(
                tower_resilience::bulkhead::BulkheadLayer::builder()
                    .max_concurrent_calls($crate::stacks::CONCURRENT)
                    .build()
                    .expect("the settings are valid"),
            )
            .layer(
                tower_resilience::ratelimiter::RateLimiterLayer::builder()
                    .limit_for_period(1_000_000_000)
                    .refresh_period(std::time::Duration::from_secs(1))
                    .build()
                    .expect("the settings are valid"),
            )
            .service($tool)
    };
}

pub(crate) use {five, resilience_three, three, tower_three};
