//! Invalid and extreme settings and calls end in a typed error or a documented bound.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::Quota;
use serde_json::json;
use tokio::time::sleep;
use toolbooth::breaker::{BreakerState, Over};
use toolbooth::{
    BreakerPolicy, CallContext, CircuitBreakerLayer, CleanupLayer, ConcurrencyLimitLayer,
    ConfigError, ErrorKind, IdempotencyLayer, Outcome, PartialResultLayer, PerTool, RateLimitLayer,
    SharedState, StateError, TimeoutLayer, ToolCall, tool_fn,
};
use toolbooth_test::{BoxTool, boxed};
use tower::{Layer, ServiceBuilder, ServiceExt};

fn hour() -> Quota {
    Quota::per_hour(NonZeroU32::MIN)
}

/// The five layers around a tool that sleeps for its argument in milliseconds.
fn five(timeout: TimeoutLayer, limit: ConcurrencyLimitLayer, rate: RateLimitLayer) -> BoxTool {
    let sleeps = tool_fn("sleeps", async |millis: u64| {
        sleep(Duration::from_millis(millis)).await;
        Ok::<_, std::io::Error>(millis)
    });
    boxed(
        ServiceBuilder::new()
            .layer(CleanupLayer::new())
            .layer(timeout)
            .layer(rate)
            .layer(limit)
            .layer(PartialResultLayer::new())
            .service(sleeps),
    )
}

fn call(millis: u64) -> ToolCall {
    ToolCall::new("sleeps", json!(millis))
}

#[tokio::test(start_paused = true)]
async fn maximal_limits_are_no_limits() {
    let endless = TimeoutLayer::new(PerTool::new(Duration::MAX).with("other", Duration::ZERO));
    let stack = five(
        endless,
        ConcurrencyLimitLayer::new(usize::MAX),
        RateLimitLayer::new(None),
    );
    stack.clone().oneshot(call(100_000_000)).await.unwrap();
    stack
        .oneshot(call(1).with_timeout(Duration::MAX))
        .await
        .unwrap();
    let rejected = TimeoutLayer::try_new(Duration::MAX).unwrap_err();
    assert_eq!(rejected, ConfigError::EndlessTimeout(Duration::MAX));
    assert!(TimeoutLayer::try_new(Duration::ZERO).is_ok());
    let never = Quota::with_period(Duration::MAX).unwrap();
    let rate = RateLimitLayer::new(never);
    let stack = five(
        TimeoutLayer::new(Duration::from_secs(1)),
        ConcurrencyLimitLayer::new(None),
        rate.clone(),
    );
    stack.clone().oneshot(call(0)).await.unwrap();
    assert_eq!(
        stack.oneshot(call(0)).await.unwrap_err().kind(),
        ErrorKind::RateLimited
    );
    assert_eq!(rate.remaining(), 0);
}

#[tokio::test(start_paused = true)]
async fn key_of_a_megabyte_is_rejected_by_every_limit() {
    let tenant = |call: &CallContext| call.tenant().unwrap_or_default().into();
    let long = "x".repeat(1_000_000);
    let calls = [call(0).with_tenant(&*long), call(0).with_tenant("short")];
    let [limit, rate] = [
        five(
            TimeoutLayer::unlimited(),
            ConcurrencyLimitLayer::by(1, tenant),
            RateLimitLayer::new(None),
        ),
        five(
            TimeoutLayer::unlimited(),
            ConcurrencyLimitLayer::new(None),
            RateLimitLayer::by(hour(), tenant),
        ),
    ];
    for stack in [limit, rate] {
        let [long, short] = calls.clone().map(|call| stack.clone().oneshot(call));
        let rejected = long.await.unwrap_err();
        assert_eq!(
            (rejected.kind(), rejected.outcome()),
            (ErrorKind::InvalidArguments, Outcome::Failed)
        );
        short.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn limits_that_admit_no_call_are_typed_errors() {
    let limit = ConcurrencyLimitLayer::per_tool(PerTool::new(0));
    let stack = five(
        TimeoutLayer::unlimited(),
        limit.clone(),
        RateLimitLayer::new(None),
    );
    let rejected = stack.oneshot(call(0)).await.unwrap_err();
    assert_eq!(
        rejected.to_string(),
        "overloaded: the limit is 0, no call can run (by `concurrency`)"
    );
    assert_eq!(limit.set_limit(0), Err(ConfigError::ZeroLimit));
    assert_eq!(
        limit.set_limit_for("sleeps", 0),
        Err(ConfigError::ZeroLimit)
    );
    // A period of zero cannot be expressed, and a bound of no keys is a bound.
    assert_eq!(Quota::with_period(Duration::ZERO), None);
    let limit = ConcurrencyLimitLayer::per_tool(1).with_key_bounds(0, Duration::MAX);
    let stack = five(TimeoutLayer::unlimited(), limit, RateLimitLayer::new(None));
    // All keys are new, and share one limit.
    assert!(stack.oneshot(call(0)).await.is_ok());
    // Maximal waits, and none.
    for wait in [Duration::MAX, Duration::ZERO] {
        let limit = ConcurrencyLimitLayer::new(1)
            .with_max_wait(wait)
            .with_service_time(wait)
            .with_order(toolbooth::Order::priority().with_aging(wait));
        let stack = five(TimeoutLayer::unlimited(), limit, RateLimitLayer::new(None));
        let (first, second) = tokio::join!(stack.clone().oneshot(call(1)), stack.oneshot(call(1)));
        first.unwrap();
        assert_eq!(second.is_ok(), wait == Duration::MAX, "{wait:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn invalid_breaker_policy_is_rejected() {
    let new = BreakerPolicy::new;
    let second = Duration::from_secs(1);
    for rate in [f64::NAN, -0.1, 1.1, 50.0, f64::INFINITY] {
        let rejected = new().with_failure_rate(rate, 10).unwrap_err();
        assert_eq!(rejected, ConfigError::RateOutOfRange, "{rate}");
        let rejected = new().with_slow_calls(second, rate, 10).unwrap_err();
        assert_eq!(rejected, ConfigError::RateOutOfRange, "{rate}");
    }
    for window in [
        Over::Calls(0),
        Over::Calls(1_000_001),
        Over::Time(Duration::ZERO),
    ] {
        let rejected = new().with_failure_rate(0.5, window).unwrap_err();
        assert_eq!(rejected, ConfigError::Window, "{window:?}");
    }
    for factor in [f64::NAN, 0.0, 0.99, -2.0, f64::INFINITY] {
        let rejected = new().with_open_growth(factor, second).unwrap_err();
        assert_eq!(rejected, ConfigError::Growth, "{factor}");
    }
    let rejected = new().with_slow_calls(Duration::ZERO, 0.5, 10).unwrap_err();
    assert_eq!(rejected, ConfigError::ZeroSlow);
    assert_eq!(
        new().with_consecutive_failures(0).unwrap_err(),
        ConfigError::ZeroFailures
    );
    assert_eq!(new().with_probes(0).unwrap_err(), ConfigError::ZeroProbes);
    // Each probe would expire at once, so that the breaker would never close.
    assert_eq!(
        new().with_half_open_limit(Duration::ZERO).unwrap_err(),
        ConfigError::ZeroHalfOpenLimit
    );
}

/// Without panics and overflows.
#[tokio::test(start_paused = true)]
async fn breaker_with_extreme_settings_works() -> Result<(), ConfigError> {
    let endless = BreakerPolicy::new()
        .with_consecutive_failures(u32::MAX)?
        .with_failure_rate(0.0, Duration::MAX)?
        .with_slow_calls(Duration::MAX, 1.0, 1_000_000)?
        .with_minimum_calls(0)
        .with_open_time(Duration::MAX)
        .with_open_growth(f64::MAX, Duration::MAX)?
        .with_probes(u32::MAX)?
        .with_half_open_limit(Duration::MAX)?;
    let at_once = BreakerPolicy::new()
        .with_failure_rate(1.0, Duration::from_nanos(1))?
        .with_minimum_calls(1)
        .with_open_time(Duration::ZERO)
        .with_open_growth(f64::MAX, Duration::ZERO)?
        .with_half_open_limit(Duration::from_nanos(1))?;
    for (policy, outcomes) in [
        (
            endless,
            [
                ErrorKind::Tool,
                ErrorKind::CircuitOpen,
                ErrorKind::CircuitOpen,
            ],
        ),
        (at_once, [ErrorKind::Tool; 3]),
    ] {
        let breaker = CircuitBreakerLayer::with_policy(policy);
        let fails = tool_fn("fails", async |_: ()| {
            Err::<(), _>(std::io::Error::other("no"))
        });
        let stack = breaker.layer(fails);
        for outcome in outcomes {
            let call = ToolCall::new("fails", json!(null));
            let failed = stack.clone().oneshot(call).await.unwrap_err();
            assert_eq!(failed.kind(), outcome);
        }
        for _ in 0..100 {
            breaker.trip();
            assert_ne!(breaker.state(), BreakerState::Closed);
        }
    }
    Ok(())
}

#[tokio::test]
async fn key_of_1_mb_is_rejected_by_every_operation_on_shared_state() {
    let state = SharedState::new();
    let key = "k".repeat(1_000_000);
    let results = [
        state.get::<i64>(&key).map(|_| ()),
        state.set(&key, 1_i64).map(|_| ()),
        state.increment(&key, 1).map(|_| ()),
        state.update(&key, |_: Option<&i64>| 1).map(|_| ()),
        state.compare_and_swap(&key, 0, 1_i64).map(|_| ()),
        state.get_or_insert_with(&key, || 1_i64).map(|_| ()),
        state.lock(&key).await.map(|_| ()),
    ];
    for result in results {
        assert!(matches!(
            result,
            Err(StateError::KeyTooLong {
                bytes: 1_000_000,
                max: 256,
                ..
            })
        ));
    }
    assert!(state.is_empty() && !state.remove(&key));
}

#[tokio::test]
async fn idempotency_key_of_1_mb_is_an_invalid_argument() {
    let tool = tool_fn("tool", async |_: ()| Ok::<_, std::io::Error>("done"));
    let tool = IdempotencyLayer::new().layer(tool);
    let call = ToolCall::new("tool", json!(null)).with_idempotency_key("k".repeat(1_000_000));
    let error = tool.oneshot(call).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArguments);
    assert!(!error.started() && error.to_string().len() < 100);
}
