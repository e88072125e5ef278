//! `RetryPolicy` under tower's `RetryLayer`: which errors it retries, when, and how often.

#[path = "../support/mod.rs"]
mod support;

mod budget;
mod circuit;
mod errors;
mod events;
mod http_requests;
mod idempotence;
mod table;
mod waits;

use std::num::NonZeroU32;
use std::time::Duration;

use http::{Request, Response};
use http_body_util::BodyExt;
use support::{Recorder, ScriptedTool, call, error, error_of, ms, text, text_of};
use tokio::time::Instant;
use toolbooth::ResponseHead;
use toolbooth::{
    BoxError, CatchPanicLayer, CircuitBreakerLayer, CleanupLayer, ConcurrencyLimitLayer,
    PartialResultLayer, Quota, RateLimitLayer, RetryPolicy, SpawnLayer, TimeoutLayer, ToolCall,
    ToolError, ToolOutput,
};
use toolbooth_test::{BoxTool, boxed};
use tower::retry::{Retry, RetryLayer};
use tower::{Layer, ServiceBuilder, ServiceExt, service_fn};

/// The starts of attempts.
type Starts = Recorder<()>;

/// A tool that fails with this error.
fn failing(starts: &Starts, error: ToolError) -> ScriptedTool {
    let starts = starts.clone();
    ScriptedTool::new(move |_| {
        starts.record(());
        std::future::ready(Err(error.clone().into()))
    })
}

/// A policy without backoff.
fn at_once(attempts: u32) -> RetryPolicy {
    RetryPolicy::new(attempts).with_backoff(Duration::ZERO, Duration::ZERO)
}

fn retryable() -> ToolError {
    ToolError::failed("for now").with_retryable(true)
}

/// The error of a call, converted.
async fn failure(tool: Retry<RetryPolicy, ScriptedTool>, call: ToolCall) -> ToolError {
    error(tool.oneshot(call).await.map_err(ToolError::from))
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn success_takes_one_attempt() {
    let tool = ScriptedTool::ready();
    let service = RetryLayer::new(RetryPolicy::new(5)).layer(tool.handle());
    let response = service.oneshot(call()).await.map_err(ToolError::from);
    assert_eq!(text(response).await, "done");
    assert_eq!(tool.log().calls.len(), 1);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn each_call_has_the_attempts_of_the_policy() {
    for (attempts, made) in [(0, 1), (1, 1), (2, 2), (7, 7)] {
        let starts = Starts::new();
        let tool = RetryLayer::new(at_once(attempts)).layer(failing(&starts, retryable()));
        for call_number in 1..=2 {
            assert!(failure(tool.clone(), call()).await.is_retryable());
            assert_eq!(starts.len(), call_number * made, "{attempts} attempts");
        }
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn attempts_share_the_id_and_are_counted_from_1() {
    let attempts = Recorder::new();
    let recorder = attempts.clone();
    let tool = ScriptedTool::new(move |call: ToolCall| {
        let context = call.context();
        recorder.record((context.id().to_string(), context.attempt()));
        std::future::ready(Err(retryable().into()))
    });
    let tool = RetryLayer::new(at_once(3)).layer(tool);
    failure(tool, call().with_id("7")).await;
    let id = || "7".to_owned();
    assert_eq!(attempts.values(), [(id(), 1), (id(), 2), (id(), 3)]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn first_success_ends_the_attempts() {
    let tool = ScriptedTool::new(|call: ToolCall| async move {
        match call.context().attempt() {
            1 | 2 => Err(BoxError::from(retryable())),
            n => Ok(ToolOutput::text(n.to_string())),
        }
    });
    let tool = RetryLayer::new(at_once(9)).layer(tool);
    let response = tool.oneshot(call()).await.map_err(ToolError::from);
    assert_eq!(text(response).await, "3");
}

#[test]
fn zero_attempts_are_a_configuration_error() {
    let rejected = RetryPolicy::try_new(0).unwrap_err();
    assert_eq!(rejected, toolbooth::ConfigError::ZeroAttempts);
    assert!(RetryPolicy::try_new(1).is_ok());
}

#[test]
fn policy_and_its_services_are_send_sync_and_clone() {
    fn check<T: Send + Sync + Clone>(_: &T) {}
    let policy = RetryPolicy::new(3);
    check(&policy);
    check(&RetryLayer::new(policy.clone()));
    check(&RetryLayer::new(policy).layer(ScriptedTool::ready()));
}

/// Around each layer and inside it, with both kinds of request.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn policy_stacks_with_every_layer_on_tool_calls_and_http_requests() {
    macro_rules! stacks {
        ($($layer:expr),+ $(,)?) => {$(
            let retry = || RetryLayer::new(RetryPolicy::new(2));
            let stack = || ServiceBuilder::new().layer(retry()).layer($layer).layer(retry());
            assert_eq!(text_of(stack().service(ScriptedTool::ready()), call()).await, "done");
            let api = stack().service(service_fn(async |request: Request<String>| {
                Ok::<_, BoxError>(Response::new(request.into_body()))
            }));
            let response = api.oneshot(Request::new("echo".to_owned())).await.unwrap();
            let body = response.into_body().collect().await.unwrap();
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
