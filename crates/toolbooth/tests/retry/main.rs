//! The retry policy under tower's own `RetryLayer`: which errors are made again, when, and how often.

#[path = "../support/mod.rs"]
mod support;

mod budget;
mod errors;
mod waits;

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{Request, Response};
use http_body_util::BodyExt;
use support::{Probe, Reply, call, error, ms, text};
use tokio::time::Instant;
use toolbooth::{
    BoxError, CatchPanicLayer, CircuitBreakerLayer, CleanupLayer, ConcurrencyLimitLayer,
    PartialResultLayer, Quota, RateLimitLayer, RetryPolicy, SpawnLayer, TimeoutLayer, ToolCall,
    ToolError, ToolOutput,
};
use tower::retry::{Retry, RetryLayer};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};

/// When attempts began, since the log was made.
#[derive(Debug, Clone)]
struct Starts(Instant, Arc<Mutex<Vec<Duration>>>);

impl Starts {
    fn new() -> Self {
        Self(Instant::now(), Arc::default())
    }

    fn note(&self) {
        self.1.lock().expect("no panic").push(self.0.elapsed());
    }

    fn all(&self) -> Vec<Duration> {
        self.1.lock().expect("no panic").clone()
    }

    fn count(&self) -> usize {
        self.1.lock().expect("no panic").len()
    }
}

/// A tool that always fails with this error.
fn failing(starts: &Starts, error: ToolError) -> Probe {
    let starts = starts.clone();
    Probe::new(move |_| {
        starts.note();
        std::future::ready(Err(error.clone().into()))
    })
}

/// Waits nothing between attempts.
fn at_once(attempts: u32) -> RetryPolicy {
    RetryPolicy::new(attempts).with_backoff(Duration::ZERO, Duration::ZERO)
}

fn retryable() -> ToolError {
    ToolError::failed("for now").with_retryable(true)
}

/// The call's error, as one of ours.
async fn fails(tool: Retry<RetryPolicy, Probe>, call: ToolCall) -> ToolError {
    let answer: Reply = tool.oneshot(call).await.map_err(ToolError::from);
    error(answer)
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn success_is_passed_on_after_one_attempt() {
    let tool = RetryLayer::new(RetryPolicy::new(5)).layer(Probe::ready());
    let log = tool.get_ref().view();
    let answer = tool.oneshot(call()).await.map_err(ToolError::from);
    assert_eq!(text(answer).await, "done");
    assert_eq!(log.log().calls.len(), 1);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn so_many_attempts_are_made_of_each_call() {
    for (attempts, made) in [(0, 1), (1, 1), (2, 2), (7, 7)] {
        let starts = Starts::new();
        let tool = RetryLayer::new(at_once(attempts)).layer(failing(&starts, retryable()));
        for call_number in 1..=2 {
            let failed = fails(tool.clone(), call()).await;
            assert!(failed.is_retryable());
            assert_eq!(starts.count(), call_number * made, "{attempts} attempts");
        }
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn attempts_are_those_of_one_call() {
    let seen = Arc::<Mutex<Vec<_>>>::default();
    let log = Arc::clone(&seen);
    let tool = Probe::new(move |call: ToolCall| {
        let context = call.context();
        log.lock()
            .unwrap()
            .push((context.id().to_string(), context.attempt()));
        std::future::ready(Err(retryable().into()))
    });
    let tool = RetryLayer::new(at_once(3)).layer(tool);
    fails(tool, call().with_id("7")).await;
    let id = || "7".to_owned();
    assert_eq!(*seen.lock().unwrap(), [(id(), 1), (id(), 2), (id(), 3)]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn attempts_end_with_the_first_success() {
    let tool = Probe::new(|call: ToolCall| async move {
        match call.context().attempt() {
            1 | 2 => Err(BoxError::from(retryable())),
            n => Ok(ToolOutput::text(n.to_string())),
        }
    });
    let tool = RetryLayer::new(at_once(9)).layer(tool);
    let answer = tool.oneshot(call()).await.map_err(ToolError::from);
    assert_eq!(text(answer).await, "3");
}

#[test]
fn no_attempts_are_refused_where_they_are_given() {
    let refused = RetryPolicy::try_new(0).unwrap_err();
    assert_eq!(refused, toolbooth::ConfigError::ZeroAttempts);
    assert_eq!(
        refused.to_string(),
        "a call cannot have 0 attempts: use at least 1, which is a call without retries"
    );
    assert!(RetryPolicy::try_new(1).is_ok());
}

#[test]
fn policy_and_its_services_are_send_sync_and_clone() {
    fn check<T: Send + Sync + Clone>(_: &T) {}
    let policy = RetryPolicy::new(3);
    check(&policy);
    check(&RetryLayer::new(policy.clone()));
    check(&RetryLayer::new(policy).layer(Probe::ready()));
}

/// Around each layer and inside of it, with both kinds of request.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn policy_stacks_with_every_layer_on_calls_and_on_http_requests() {
    macro_rules! stacks {
        ($($layer:expr),+ $(,)?) => {$(
            let retry = || RetryLayer::new(RetryPolicy::new(2));
            let tool = ServiceBuilder::new()
                .layer(retry())
                .layer($layer)
                .layer(retry())
                .service(Probe::ready());
            assert_eq!(text(tool.oneshot(call()).await).await, "done");
            let api = ServiceBuilder::new()
                .layer(retry())
                .layer($layer)
                .layer(retry())
                .service(service_fn(async |request: Request<String>| {
                    Ok::<_, BoxError>(Response::new(request.into_body()))
                }));
            let answer = api.oneshot(Request::new("echo".to_owned())).await.unwrap();
            let body = answer.into_body().collect().await.unwrap();
            assert_eq!(body.to_bytes(), "echo");
        )+};
    }
    stacks!(
        TimeoutLayer::new(ms(1_000)),
        ConcurrencyLimitLayer::new(1),
        RateLimitLayer::new(Quota::per_second(NonZeroU32::MIN)),
        CleanupLayer::new(),
        PartialResultLayer::new(),
        CircuitBreakerLayer::new(),
        CatchPanicLayer::new(),
        SpawnLayer::new(),
    );
}
