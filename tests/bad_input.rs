//! Settings and calls that make no sense: a typed error or a documented bound, never a panic, a hang, or memory without end.

use std::num::NonZeroU32;
use std::task::{Context, Poll};
use std::time::Duration;

use governor::Quota;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use toolbooth::breaker::{BreakerState, Over};
use toolbooth::{
    BreakerPolicy, CallContext, CircuitBreakerLayer, CleanupLayer, ConcurrencyLimitLayer,
    ConfigError, ErrorKind, MAX_HOOKS, Outcome, OverloadReason, PartialResultLayer, PerTool,
    RateLimitLayer, Registered, TimeoutLayer, TimeoutScope, ToolCall, ToolError, ToolOutput,
    tool_fn,
};
use tower::util::BoxCloneSyncService;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

type Stack = BoxCloneSyncService<ToolCall, ToolOutput, ToolError>;

fn hour() -> Quota {
    Quota::per_hour(NonZeroU32::MIN)
}

/// All five around a tool that sleeps for as many milliseconds as it is told.
fn five(timeout: TimeoutLayer, limit: ConcurrencyLimitLayer, rate: RateLimitLayer) -> Stack {
    let sleeps = tool_fn("sleeps", async |millis: u64| {
        sleep(Duration::from_millis(millis)).await;
        Ok::<_, std::io::Error>(millis)
    });
    Stack::new(
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
async fn zero_permits_are_closed_and_say_so() {
    let stack = five(
        TimeoutLayer::unlimited(),
        ConcurrencyLimitLayer::new(0),
        RateLimitLayer::new(None),
    );
    let refusal = stack.oneshot(call(0)).await.unwrap_err();
    assert!(matches!(
        refusal,
        ToolError::Overloaded {
            reason: OverloadReason::Closed,
            ..
        }
    ));
    assert_eq!(
        refusal.to_string(),
        "overloaded: the limit is 0, no call can run"
    );
    let error = ConcurrencyLimitLayer::try_new(0).unwrap_err();
    assert_eq!(error, ConfigError::ZeroLimit);
    assert!(ConcurrencyLimitLayer::try_new(1).is_ok());
}

#[tokio::test(start_paused = true)]
async fn zero_places_in_line_refuse_at_once() {
    let limit = ConcurrencyLimitLayer::new(1).with_queue_capacity(0);
    let stack = five(TimeoutLayer::unlimited(), limit, RateLimitLayer::new(None));
    let (first, second) = tokio::join!(stack.clone().oneshot(call(10)), stack.oneshot(call(10)));
    first.unwrap();
    assert_eq!(second.unwrap_err().kind(), ErrorKind::Overloaded);
}

#[tokio::test(start_paused = true)]
async fn a_limit_of_zero_time_passes_only_what_is_ready_at_once() {
    let zero = TimeoutLayer::new(Duration::ZERO);
    let stack = five(
        zero,
        ConcurrencyLimitLayer::new(1),
        RateLimitLayer::new(None),
    );
    let ready = TimeoutLayer::new(Duration::ZERO)
        .layer(tool_fn("ready", async |_: ()| Ok::<_, std::io::Error>(1)));
    ready
        .oneshot(ToolCall::new("ready", json!(null)))
        .await
        .unwrap();
    let started = Instant::now();
    let timeout = stack.oneshot(call(1)).await.unwrap_err();
    assert_eq!(
        (timeout.kind(), started.elapsed()),
        (ErrorKind::Timeout, Duration::ZERO)
    );
}

#[tokio::test(start_paused = true)]
async fn endless_limits_are_none() {
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
    let refused = TimeoutLayer::try_new(Duration::MAX).unwrap_err();
    assert_eq!(refused, ConfigError::EndlessTimeout(Duration::MAX));
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

#[test]
fn a_burst_of_zero_cannot_be_said() {
    assert_eq!(NonZeroU32::new(0), None);
    assert_eq!(Quota::with_period(Duration::ZERO), None);
    let largest = RateLimitLayer::new(hour().allow_burst(NonZeroU32::MAX));
    assert_eq!(largest.remaining(), u32::MAX);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_in_the_past_starts_nothing() {
    let rate = RateLimitLayer::new(hour());
    let stack = five(
        TimeoutLayer::unlimited(),
        ConcurrencyLimitLayer::new(1),
        rate.clone(),
    );
    sleep(Duration::from_secs(10)).await;
    let past = Instant::now() - Duration::from_secs(5);
    let timeout = stack
        .oneshot(call(0).with_deadline(past))
        .await
        .unwrap_err();
    let ToolError::Timeout {
        scope,
        limit,
        elapsed,
        ..
    } = timeout
    else {
        panic!("{timeout}");
    };
    assert_eq!(
        (scope, limit, elapsed),
        (TimeoutScope::Deadline, Duration::ZERO, Duration::ZERO)
    );
    assert_eq!(rate.remaining(), 1);
}

/// Fails in readiness, every other time.
#[derive(Debug, Clone, Default)]
struct Unready(bool);

impl Service<ToolCall> for Unready {
    type Response = ();
    type Error = std::io::Error;
    type Future = std::future::Ready<Result<(), std::io::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.0 = !self.0;
        Poll::Ready(if self.0 {
            Err(std::io::Error::other("not today"))
        } else {
            Ok(())
        })
    }

    fn call(&mut self, _: ToolCall) -> Self::Future {
        std::future::ready(Ok(()))
    }
}

#[tokio::test(start_paused = true)]
async fn an_inner_service_that_fails_in_readiness_fails_the_call_alone() {
    let limit = ConcurrencyLimitLayer::new(1);
    let mut stack = ServiceBuilder::new()
        .layer(TimeoutLayer::new(Duration::from_secs(1)))
        .layer(limit.clone())
        .service(Unready::default());
    let error = stack.call(call(0)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tool);
    assert_eq!(
        std::error::Error::source(&error).unwrap().to_string(),
        "not today"
    );
    stack.call(call(0)).await.unwrap();
    assert_eq!(limit.available(), 1);
}

#[derive(Debug, Deserialize)]
struct Text {
    text: String,
}

#[tokio::test(start_paused = true)]
async fn arguments_that_are_no_json_name_what_is_wrong() {
    let length = tool_fn("length", async |Text { text }| {
        Ok::<_, std::io::Error>(text.len())
    });
    let stack = TimeoutLayer::new(Duration::from_secs(1)).layer(length);
    let wrong = |args: Value| stack.clone().oneshot(ToolCall::new("length", args));
    let error = wrong(json!("{\"text\": oops}")).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.tool()),
        (ErrorKind::InvalidArguments, Some("length"))
    );
    assert_eq!(
        error.to_string(),
        "invalid arguments at `text`: expected value at line 1 column 10"
    );
    let error = wrong(json!({ "text": 7 })).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "invalid arguments at `text`: invalid type: integer `7`, expected a string"
    );
    assert_eq!(error.outcome(), Outcome::Failed);
}

#[tokio::test(start_paused = true)]
async fn ten_megabytes_of_arguments_pass() {
    let length = tool_fn("length", async |Text { text }| {
        Ok::<_, std::io::Error>(text.len())
    });
    let stack = TimeoutLayer::new(Duration::from_secs(60)).layer(length);
    let text = "x".repeat(10_000_000);
    let value = stack
        .clone()
        .oneshot(ToolCall::new("length", json!({ "text": text })))
        .await
        .unwrap();
    assert_eq!(
        value.collect().await.unwrap().contents(),
        [json!(10_000_000).into()]
    );
    let json = json!({ "text": text }).to_string();
    let value = stack
        .oneshot(ToolCall::new("length", json!(json)))
        .await
        .unwrap();
    assert_eq!(
        value.collect().await.unwrap().contents(),
        [json!(10_000_000).into()]
    );
}

#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_chunks_are_bounded() {
    let floods = tool_fn("floods", async |call: CallContext, _: ()| {
        for chunk in 0..100_000 {
            call.emit(chunk.to_string());
        }
        Err::<(), _>(std::io::Error::other("flooded"))
    });
    let stack = PartialResultLayer::new().layer(floods);
    let error = stack
        .oneshot(ToolCall::new("floods", json!(null)))
        .await
        .unwrap_err();
    let partial = error.partial().unwrap();
    assert_eq!(
        (partial.contents().len(), partial.dropped()),
        (1_024, 98_976)
    );
    assert_eq!(partial.contents()[1_023].as_text(), Some("1023"));
}

#[tokio::test(start_paused = true)]
async fn a_context_that_outlives_its_call_does_nothing_more() {
    let (kept, mut context) = tokio::sync::mpsc::channel(1);
    let keeps = service_fn(move |call: ToolCall| {
        let kept = kept.clone();
        async move {
            call.context().emit("in time");
            kept.send(call.context().clone())
                .await
                .expect("the test holds the other end");
            Err::<(), _>(std::io::Error::other("half way"))
        }
    });
    let stack = PartialResultLayer::new().layer(keeps);
    let error = stack
        .oneshot(ToolCall::new("keeps", json!(null)))
        .await
        .unwrap_err();
    let context = context.recv().await.unwrap();
    for _ in 0..100_000 {
        context.emit("late");
        context.snapshot("late");
    }
    assert_eq!(context.partial().as_ref(), error.partial());
    assert_eq!(error.partial().unwrap().contents(), ["in time".into()]);
    let (ran, outcome) = tokio::sync::oneshot::channel();
    let registered = context.on_cleanup(|outcome| async move {
        ran.send(outcome).expect("the test waits for it");
    });
    assert_eq!(
        (registered, outcome.await.unwrap()),
        (Registered::RunsNow, Outcome::Failed)
    );
    context.cancelled().await;
    assert_eq!(context.cancel_reason(), None);
}

#[tokio::test(start_paused = true)]
async fn hooks_are_bounded() {
    let call = call(0);
    let context = call.context();
    let registered =
        (0..MAX_HOOKS + 10).filter(|_| context.on_cleanup(|_| async {}) == Registered::Held);
    assert_eq!(registered.count(), MAX_HOOKS);
    assert_eq!(context.on_cleanup(|_| async {}), Registered::Rejected);
}

#[tokio::test(start_paused = true)]
async fn a_key_of_a_megabyte_is_refused_by_every_limit_and_kept_by_none() {
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
        let refused = long.await.unwrap_err();
        assert_eq!(
            (refused.kind(), refused.outcome()),
            (ErrorKind::InvalidArguments, Outcome::Failed)
        );
        short.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn limits_that_let_nothing_in_are_typed_wherever_they_are_given() {
    let limit = ConcurrencyLimitLayer::per_tool(PerTool::new(0));
    let stack = five(
        TimeoutLayer::unlimited(),
        limit.clone(),
        RateLimitLayer::new(None),
    );
    let refused = stack.oneshot(call(0)).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "overloaded: the limit is 0, no call can run"
    );
    assert_eq!(limit.set_limit(0), Err(ConfigError::ZeroLimit));
    assert_eq!(
        limit.set_limit_for("sleeps", 0),
        Err(ConfigError::ZeroLimit)
    );
    // Rates are whole numbers or a period, windows of no length cannot be said, and no key at all is a bound, too.
    assert_eq!(Quota::with_period(Duration::ZERO), None);
    let limit = ConcurrencyLimitLayer::per_tool(1).with_key_bounds(0, Duration::MAX);
    let stack = five(TimeoutLayer::unlimited(), limit, RateLimitLayer::new(None));
    let refused = stack.oneshot(call(0)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Overloaded);
    // Waits without end, and none at all.
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
async fn a_breaker_that_could_not_work_is_refused() {
    let new = BreakerPolicy::new;
    let second = Duration::from_secs(1);
    for rate in [f64::NAN, -0.1, 1.1, 50.0, f64::INFINITY] {
        let refused = new().with_failure_rate(rate, 10).unwrap_err();
        assert_eq!(refused, ConfigError::RateOutOfRange, "{rate}");
        let refused = new().with_slow_calls(second, rate, 10).unwrap_err();
        assert_eq!(refused, ConfigError::RateOutOfRange, "{rate}");
    }
    for window in [
        Over::Calls(0),
        Over::Calls(1_000_001),
        Over::Time(Duration::ZERO),
    ] {
        let refused = new().with_failure_rate(0.5, window).unwrap_err();
        assert_eq!(refused, ConfigError::Window, "{window:?}");
    }
    for factor in [f64::NAN, 0.0, 0.99, -2.0, f64::INFINITY] {
        let refused = new().with_open_growth(factor, second).unwrap_err();
        assert_eq!(refused, ConfigError::Growth, "{factor}");
    }
    let refused = new().with_slow_calls(Duration::ZERO, 0.5, 10).unwrap_err();
    assert_eq!(refused, ConfigError::ZeroSlow);
    assert_eq!(
        new().with_consecutive_failures(0).unwrap_err(),
        ConfigError::ZeroFailures
    );
    assert_eq!(new().with_probes(0).unwrap_err(), ConfigError::ZeroProbes);
    // Each probe would hang as soon as it is let through, and the breaker never close.
    assert_eq!(
        new().with_half_open_limit(Duration::ZERO).unwrap_err(),
        ConfigError::ZeroHalfOpenLimit
    );
}

/// What is at the edge of what can work does: no panic, no overflow.
#[tokio::test(start_paused = true)]
async fn a_breaker_at_the_edge_of_its_settings_works() -> Result<(), ConfigError> {
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
