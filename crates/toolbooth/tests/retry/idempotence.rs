//! Calls that may have had effects, and calls that never started.

use std::time::Duration;

use toolbooth::{ErrorKind, PerTool};

use super::*;

/// The mails that are sent by a call of a tool that then hangs, under a timeout of each attempt.
async fn mails(policy: RetryPolicy, call: ToolCall) -> usize {
    let mails = Starts::new();
    let outbox = mails.clone();
    let tool = ScriptedTool::new(move |_| {
        outbox.record(());
        std::future::pending()
    });
    let layer = (RetryLayer::new(policy), TimeoutLayer::new(ms(50)));
    let error = error_of(layer.layer(tool), call).await;
    assert_eq!((error.kind(), error.started()), (ErrorKind::Timeout, true));
    mails.len()
}

/// Case A1. A timeout of a call that had started is repeated only if the call, its tool or the
/// policy is idempotent.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn timeout_of_a_started_call_is_retried_only_if_it_is_idempotent() {
    assert_eq!(mails(at_once(3), call()).await, 1);
    assert_eq!(mails(at_once(3), call().with_idempotent(true)).await, 3);
    assert_eq!(mails(at_once(3).with_idempotent(true), call()).await, 3);
    let tool = PerTool::none().with(call().name(), true);
    assert_eq!(mails(at_once(3).with_idempotent(tool), call()).await, 3);
    let other = PerTool::none().with("other", true);
    assert_eq!(mails(at_once(3).with_idempotent(other), call()).await, 1);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn setting_of_the_call_precedes_that_of_the_tool_and_that_of_all_tools() {
    for default in [None, Some(false), Some(true)] {
        for tool in [None, Some(false), Some(true)] {
            for of_call in [None, Some(false), Some(true)] {
                let mut settings = PerTool::from(default);
                if let Some(tool) = tool {
                    settings = settings.with(call().name(), tool);
                }
                let call = match of_call {
                    Some(idempotent) => call().with_idempotent(idempotent),
                    None => call(),
                };
                let repeats = of_call.or(tool).or(default) == Some(true);
                let policy = at_once(2).with_idempotent(settings);
                let case = format!("call {of_call:?}, tool {tool:?}, default {default:?}");
                assert_eq!(
                    mails(policy, call).await,
                    1 + usize::from(repeats),
                    "{case}"
                );
            }
        }
    }
}

/// Case A3. A call that only waited is repeated, although it is not idempotent.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn timeout_of_a_call_that_only_waited_is_retried_although_it_is_not_idempotent() {
    let limit = ConcurrencyLimitLayer::new(1);
    let attempts = Starts::new();
    let log = attempts.clone();
    let tool = ScriptedTool::ready();
    let stack = ServiceBuilder::new()
        .layer(RetryLayer::new(at_once(3)))
        .map_request(move |call: ToolCall| {
            log.record(());
            call
        })
        .layer(TimeoutLayer::new(ms(50)))
        .layer(limit.clone())
        .service(tool.handle());

    // Until 175 ms another call runs.
    let busy = limit.layer(support::takes(ms(175))).oneshot(call());
    let busy = tokio::spawn(busy);
    tokio::task::yield_now().await;
    let never_started = stack.clone().oneshot(call().with_idempotent(false));
    let error = error(never_started.await);
    assert_eq!((error.kind(), error.started()), (ErrorKind::Timeout, false));
    assert_eq!(attempts.times(), [0, 50, 100].map(ms));
    assert_eq!(tool.probe().started(), 0);

    // From 150 ms on, the first attempt waits for 25 ms.
    let response = stack.oneshot(call().with_idempotent(false)).await;
    assert_eq!(text(response).await, "done");
    assert!(busy.await.unwrap().is_ok());
}

/// Case A7. What cannot help is not repeated.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn call_that_no_retry_can_help_is_made_once() {
    let long_key = "k".repeat(1_025);
    for limit in [
        ConcurrencyLimitLayer::new(0),
        ConcurrencyLimitLayer::new(1).with_cost(|_| 2),
        ConcurrencyLimitLayer::by(1, |call| call.tenant().unwrap_or_default().into()),
    ] {
        let attempts = Starts::new();
        let log = attempts.clone();
        let stack = ServiceBuilder::new()
            .layer(RetryLayer::new(at_once(5)))
            .map_request(move |call: ToolCall| {
                log.record(());
                call
            })
            .layer(limit)
            .service(ScriptedTool::ready());
        let call = call().with_idempotent(true).with_tenant(long_key.clone());
        let error = error(stack.oneshot(call).await);
        assert!(!error.is_retryable(), "{error}");
        assert_eq!(attempts.len(), 1, "{error}");
    }
}

/// The first attempt calls the tool, which fails; the others are rejected.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn final_error_reports_that_an_earlier_attempt_had_started_and_why_it_failed() {
    let breaker = CircuitBreakerLayer::new();
    let trip = breaker.clone();
    let tool = ScriptedTool::new(move |_| {
        trip.trip();
        std::future::ready(Err(retryable().into()))
    });
    let stack = (RetryLayer::new(at_once(2)), breaker).layer(tool.handle());
    let rejected = error(stack.oneshot(call()).await);
    assert_eq!(rejected.kind(), ErrorKind::CircuitOpen);
    assert!(rejected.started());
    let source = std::error::Error::source(&rejected).unwrap();
    let source = source.downcast_ref::<ToolError>().unwrap();
    assert_eq!(source.kind(), ErrorKind::Tool);
    assert_eq!(chain(&rejected).last().unwrap(), "for now");
    assert_eq!(tool.probe().started(), 1);
}

/// The texts of an error and of its sources.
fn chain(error: &dyn std::error::Error) -> Vec<String> {
    let errors = std::iter::successors(Some(error), |error| error.source());
    errors.map(ToString::to_string).collect()
}

/// Boxed errors of a foreign stack, and an error that cannot be cloned.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn source_of_a_final_rejection_may_be_any_boxed_error() {
    let attempts = Starts::new();
    let log = attempts.clone();
    let tool = service_fn(move |_: ToolCall| {
        log.record(());
        std::future::ready(Err::<ToolOutput, BoxError>(match log.len() {
            1 => "the connection broke".into(),
            _ => {
                let closed = ConcurrencyLimitLayer::new(0).layer(ScriptedTool::ready());
                let rejected = futures_util::FutureExt::now_or_never(closed.oneshot(call()));
                rejected.expect("at once").unwrap_err().into()
            }
        }))
    });
    let tool = RetryLayer::new(at_once(3)).layer(tool);
    let rejected = tool
        .oneshot(call().with_idempotent(true))
        .await
        .unwrap_err();
    let rejected = ToolError::from(rejected);
    assert_eq!(
        (rejected.kind(), attempts.len()),
        (ErrorKind::Overloaded, 2)
    );
    assert!(rejected.started());
    assert_eq!(
        chain(&rejected)[1..],
        ["the tool failed", "the connection broke"]
    );
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn error_of_a_last_attempt_that_had_started_has_no_other_source() {
    let attempts = Recorder::new();
    let log = attempts.clone();
    let tool = ScriptedTool::new(move |call: ToolCall| {
        let attempt = call.context().attempt();
        log.record(attempt);
        std::future::ready(Err(match attempt {
            1 => retryable(),
            _ => ToolError::rate_limited(Duration::ZERO),
        }
        .into()))
    });
    let rejected = failure(RetryLayer::new(at_once(2)).layer(tool), call()).await;
    assert_eq!(attempts.values(), [1, 2]);
    assert!(rejected.started());
    assert_eq!(chain(&rejected).len(), 1);
}
