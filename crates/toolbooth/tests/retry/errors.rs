//! Which errors are retried, by their kind and by the caller's idempotency hint.

use toolbooth::{CancelReason, ErrorKind, OverloadReason, TimeoutScope};

use super::*;

/// The attempts, out of two, of a call that fails with this error.
///
/// Without a hint, with `with_idempotent(true)` and with `with_idempotent(false)`.
async fn attempts(error: ToolError) -> [usize; 3] {
    let mut attempts = [0; 3];
    let hints = [None, Some(true), Some(false)];
    for (attempts, hint) in attempts.iter_mut().zip(hints) {
        let starts = Starts::new();
        let tool = RetryLayer::new(at_once(2)).layer(failing(&starts, error.clone()));
        let call = match hint {
            Some(idempotent) => call().with_idempotent(idempotent),
            None => call(),
        };
        assert_eq!(failure(tool, call).await.kind(), error.kind());
        *attempts = starts.len();
    }
    attempts
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn rejections_by_the_tool_and_marked_errors_are_retried_unless_the_hint_is_false() {
    assert_eq!(attempts(ToolError::rate_limited(ms(1))).await, [2, 2, 1]);
    let full = ToolError::overloaded(OverloadReason::queue_full(1));
    assert_eq!(attempts(full).await, [2, 2, 1]);
    assert_eq!(attempts(ToolError::circuit_open(ms(1))).await, [2, 2, 1]);
    assert_eq!(attempts(retryable()).await, [2, 2, 1]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn other_failures_are_retried_only_if_the_hint_is_true() {
    assert_eq!(attempts(ToolError::failed("for good")).await, [1, 2, 1]);
    assert_eq!(attempts(ToolError::panicked("oh")).await, [1, 2, 1]);
    let expired = ToolError::timeout(TimeoutScope::Total, ms(1), ms(1));
    assert_eq!(attempts(expired).await, [1, 2, 1]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn errors_that_a_retry_cannot_help_are_never_retried() {
    for reason in [
        CancelReason::CallerGone,
        CancelReason::Timeout,
        CancelReason::Parent,
        CancelReason::Shutdown,
        CancelReason::Explicit,
    ] {
        assert_eq!(attempts(ToolError::cancelled(reason)).await, [1, 1, 1]);
    }
    let arguments = ToolError::invalid_arguments("path", "not a text");
    assert_eq!(attempts(arguments).await, [1, 1, 1]);
    assert_eq!(attempts(ToolError::unknown_tool("serach")).await, [1, 1, 1]);
    assert_eq!(attempts(ToolError::too_deep(5)).await, [1, 1, 1]);
}

/// The attempts, out of two, of a call that fails with an error of any type.
///
/// Without a hint, with `with_idempotent(true)` and with `with_idempotent(false)`.
macro_rules! attempts_with {
    ($error:expr) => {{
        let mut attempts = [0; 3];
        let calls = [
            call(),
            call().with_idempotent(true),
            call().with_idempotent(false),
        ];
        for (attempts, call) in attempts.iter_mut().zip(calls) {
            let starts = Starts::new();
            let recorder = starts.clone();
            let tool = service_fn(move |_: ToolCall| {
                recorder.record(());
                std::future::ready(Err::<ToolOutput, _>($error))
            });
            let tool = RetryLayer::new(at_once(2)).layer(tool);
            assert!(tool.oneshot(call).await.is_err());
            *attempts = starts.len();
        }
        attempts
    }};
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn errors_of_other_types_count_as_what_the_layers_convert_them_to() {
    let elapsed = || BoxError::from(tower::timeout::error::Elapsed::new());
    assert_eq!(attempts_with!(elapsed()), [1, 2, 1]);
    let shed = || BoxError::from(tower::load_shed::error::Overloaded::new());
    assert_eq!(attempts_with!(shed()), [2, 2, 1]);
    let ours = || BoxError::from(ToolError::unknown_tool("serach"));
    assert_eq!(attempts_with!(ours()), [1, 1, 1]);
    assert_eq!(attempts_with!(BoxError::from("any other")), [1, 2, 1]);
    assert_eq!(attempts_with!(std::io::Error::other("broke")), [1, 2, 1]);
    assert_eq!(attempts_with!(ToolError::rate_limited(ms(1))), [2, 2, 1]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn error_response_is_not_retried() {
    let tool = ScriptedTool::new(async |_| Ok(ToolOutput::error("no such file")));
    let service = RetryLayer::new(at_once(5)).layer(tool.handle());
    let response = service.oneshot(call().with_idempotent(true)).await;
    assert!(response.unwrap().is_error());
    assert_eq!(tool.probe().started(), 1);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn error_of_a_nested_call_is_a_failure_of_this_tool() {
    let tool = ScriptedTool::new(async |_| {
        let nested = TimeoutLayer::new(ms(1)).layer(ScriptedTool::pending());
        Ok(nested.oneshot(call()).await?)
    });
    let layer = (RetryLayer::new(at_once(3)), PartialResultLayer::new());
    let failed = error_of(layer.layer(tool.handle()), call()).await;
    assert_eq!(failed.kind(), ErrorKind::Tool);
    assert_eq!(tool.probe().started(), 1);
}

/// Without a layer around the tool, which would convert the error.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn rejection_of_a_nested_call_is_not_a_rejection_of_this_call() {
    let tool = ScriptedTool::new(async |_| {
        let nested = ConcurrencyLimitLayer::new(1).with_queue_capacity(0);
        let _busy = tokio::spawn(nested.layer(ScriptedTool::pending()).oneshot(call()));
        tokio::task::yield_now().await;
        let other = ToolCall::new("other", serde_json::Value::Null);
        Ok(nested.layer(ScriptedTool::ready()).oneshot(other).await?)
    });
    let service = RetryLayer::new(at_once(3)).layer(tool.handle());
    let failed = failure(service.clone(), call()).await;
    assert_eq!(failed.kind(), ErrorKind::Overloaded);
    assert_eq!(tool.probe().started(), 1);
    failure(service, call().with_idempotent(true)).await;
    assert_eq!(tool.probe().started(), 1 + 3);
}
