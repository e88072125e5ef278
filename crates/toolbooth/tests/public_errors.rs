//! What clients read of an error, and what logs print of it.

mod support;

use std::time::Duration;

use serde_json::json;
use support::{call, error_of, ms};
use toolbooth::{
    CallContext, CancelReason, CleanupLayer, ConcurrencyLimitLayer, Content, OverloadReason,
    PartialResultLayer, TimeoutLayer, TimeoutScope, ToolCall, ToolError, tool_fn,
};
use tower::{Layer, ServiceBuilder, ServiceExt};

#[test]
fn public_message_is_fixed_for_each_kind() {
    let tool = ToolError::failed("password hunter2");
    for (error, text) in [
        (
            ToolError::timeout(TimeoutScope::Total, ms(50), ms(51)),
            "the call timed out",
        ),
        (
            ToolError::cancelled(CancelReason::Explicit),
            "the call was cancelled",
        ),
        (
            ToolError::cancelled(CancelReason::Shutdown),
            "the service is shutting down",
        ),
        (
            ToolError::rate_limited(ms(40)),
            "too many calls, try again in 40ms",
        ),
        (
            ToolError::overloaded(OverloadReason::shutting_down(ms(9))),
            "the service is shutting down",
        ),
        (
            ToolError::overloaded(OverloadReason::queue_full(9)),
            "the service is overloaded, try again later",
        ),
        (
            ToolError::overloaded(OverloadReason::too_heavy(4, 3)),
            "the call is too large",
        ),
        (
            ToolError::circuit_open(ms(40)),
            "the tool is unavailable, try again in 40ms",
        ),
        (
            ToolError::circuit_open(None),
            "the tool is unavailable, try again later",
        ),
        (ToolError::panicked("hunter2"), "the tool failed"),
        (tool, "the tool failed"),
        (ToolError::too_deep(5), "the call is nested too deep"),
        (
            ToolError::invalid_arguments("pages", "missing"),
            "invalid arguments at `pages`: missing",
        ),
    ] {
        assert_eq!(error.public_message(), text);
    }
}

#[test]
fn public_message_bounds_what_the_client_sent() {
    let error = ToolError::unknown_tool(format!("a\n{}", "\u{e9}".repeat(1_000)));
    let name = format!("a {}...", "\u{e9}".repeat(126));
    assert_eq!(
        error.public_message(),
        format!("there is no tool named `{name}`")
    );
    let error = ToolError::invalid_arguments("x".repeat(129), "y".repeat(513));
    let (path, message) = ("x".repeat(128), "y".repeat(512));
    let text = format!("invalid arguments at `{path}...`: {message}...");
    assert_eq!(error.public_message(), text);
}

/// A client can neither forge lines of the log nor flood it.
#[test]
fn text_for_the_log_bounds_what_the_client_sent() {
    for error in [
        ToolError::unknown_tool("a\n\u{1b}[31mERROR"),
        ToolError::invalid_arguments("a\n\u{1b}[31mERROR", "b\nERROR"),
    ] {
        let text = error.to_string();
        assert!(text.contains("`a  [31mERROR`"), "{text}");
        assert!(!text.chars().any(char::is_control), "{text}");
    }
    let long = "x".repeat(1 << 20);
    let unknown = ToolError::unknown_tool(long.as_str()).to_string();
    let invalid = ToolError::invalid_arguments(long.as_str(), long.as_str());
    for text in [unknown, invalid.to_string(), format!("{invalid:?}")] {
        assert!(text.len() < 1_000, "{}", text.len());
    }
}

/// The message of the layer is about a key that the operator chose.
#[tokio::test]
async fn public_message_of_a_key_that_a_layer_rejects_has_no_details() {
    let limit = ConcurrencyLimitLayer::by(1, |_| "k".repeat(2_000).into());
    let error = error_of(limit.layer(support::takes(ms(1))), call()).await;
    assert_eq!(error.public_message(), "invalid arguments");
}

/// What happened, whether the tool had started, and whether and when to try again.
#[test]
fn model_message_states_what_happened_and_when_to_try_again() {
    let timeout = |elapsed| ToolError::timeout(TimeoutScope::Total, ms(50), ms(elapsed));
    let had_started = "The tool had started, so some of its work may have been done.";
    let had_not = "The tool had not started, so the call had no effect.";
    let no_harm = ", but only if repeating the call does no harm.";
    for (error, text) in [
        (
            timeout(30_040),
            format!("The tool timed out after 30 s. {had_started} Try again later{no_harm}"),
        ),
        (
            timeout(0),
            format!("The tool timed out. {had_started} Try again later{no_harm}"),
        ),
        (
            ToolError::cancelled(CancelReason::Explicit),
            format!(
                "The call of the tool was cancelled. {had_started} \
                 Do not repeat the call on your own."
            ),
        ),
        (
            ToolError::cancelled(CancelReason::Shutdown),
            format!(
                "The call of the tool was cancelled, because the service is shutting down. \
                 {had_started} Try again later{no_harm}"
            ),
        ),
        (
            ToolError::rate_limited(ms(1_501)),
            format!(
                "The call of the tool was rejected, because there were too many calls. {had_not} \
                 Try again in 1.6 s."
            ),
        ),
        (
            ToolError::rate_limited(ms(0)).with_started(),
            format!(
                "The call of the tool was rejected, because there were too many calls. \
                 {had_started} Try again now{no_harm}"
            ),
        ),
        (
            ToolError::overloaded(OverloadReason::queue_full(9)),
            format!(
                "The call of the tool was rejected, because the service is overloaded. {had_not} \
                 Try again later."
            ),
        ),
        (
            ToolError::overloaded(OverloadReason::shutting_down(ms(120_001))),
            format!(
                "The call of the tool was rejected, because the service is shutting down. \
                 {had_not} Try again in 3 min."
            ),
        ),
        (
            ToolError::overloaded(OverloadReason::too_heavy(4, 3)),
            format!(
                "The call of the tool was rejected, because the call is too large. {had_not} \
                 Make the call smaller before you try again."
            ),
        ),
        (
            ToolError::circuit_open(Duration::MAX),
            format!(
                "The tool is unavailable, because it failed too often. {had_not} \
                 Try again in 1000 days."
            ),
        ),
        (
            ToolError::panicked("hunter2"),
            format!("The tool failed. {had_started} Trying again is unlikely to help."),
        ),
        (
            ToolError::failed("hunter2").with_retryable(true),
            format!("The tool failed. {had_started} Try again later."),
        ),
        (
            ToolError::invalid_arguments("pages", "missing"),
            format!(
                "The call of the tool has invalid arguments at `pages`: missing. {had_not} \
                 Correct the arguments before you try again."
            ),
        ),
        (
            ToolError::unknown_tool("serach"),
            "There is no tool named `serach`. The call had no effect. Call a tool that is \
             available."
                .to_owned(),
        ),
        (
            ToolError::too_deep(5),
            format!("The call is nested too deep. {had_not} Trying again is unlikely to help."),
        ),
    ] {
        assert_eq!(error.model_message(), text);
    }
}

/// A retry after the written time is never too early.
#[test]
fn times_in_a_model_message_are_rounded() {
    for (millis, down, up) in [
        (1, "1 ms", "1 ms"),
        (999, "999 ms", "999 ms"),
        (1_000, "1 s", "1 s"),
        (1_999, "1.9 s", "2 s"),
        (61_049, "61 s", "61.1 s"),
        (119_999, "119.9 s", "120 s"),
        (150_000, "2 min", "3 min"),
        (7_200_001, "2 h", "3 h"),
        (172_800_001, "2 days", "3 days"),
    ] {
        let timeout = ToolError::timeout(TimeoutScope::Total, ms(1), ms(millis)).model_message();
        assert!(timeout.contains(&format!(" after {down}. ")), "{timeout}");
        let limited = ToolError::rate_limited(ms(millis)).model_message();
        assert!(limited.ends_with(&format!(" in {up}.")), "{limited}");
    }
    let precise = ToolError::rate_limited(Duration::from_nanos(1)).model_message();
    assert!(precise.ends_with(" in 1 ms."), "{precise}");
}

#[test]
fn model_message_is_bounded_and_names_the_tool() {
    let long = "x".repeat(1 << 20);
    let call = ToolCall::new(&long, json!(null));
    for error in [
        ToolError::invalid_arguments(&*long, &*long),
        ToolError::unknown_tool(&long),
        ToolError::failed("hunter2"),
    ] {
        let text = error.with_call(call.context()).model_message();
        assert!(text.len() < 1_200, "{} bytes", text.len());
    }
    let call = ToolCall::new("a\nb", json!(null));
    let failed = ToolError::failed("hunter2").with_call(call.context());
    let text = failed.model_message();
    assert!(text.starts_with("The tool \"a b\" failed. "), "{text}");
    assert_eq!((failed.tool(), failed.started()), (Some("a\nb"), true));
}

/// Neither arguments nor results are in what a user logs by `{:?}`.
#[tokio::test(start_paused = true)]
async fn debug_of_an_error_has_no_arguments_and_no_output() {
    async fn leaks(call: CallContext, _: String) -> Result<(), ToolError> {
        call.emit("secret output");
        call.snapshot(Content::from("secret output"));
        std::future::pending().await
    }
    let stack = ServiceBuilder::new()
        .layer(TimeoutLayer::new(ms(50)))
        .layer(CleanupLayer::new())
        .layer(PartialResultLayer::new())
        .service(tool_fn("leaks", leaks));
    for (args, shown) in [
        (
            json!("secret argument"),
            "contents: 1, bytes: 13, snapshot: true",
        ),
        (json!({ "secret": "argument" }), "invalid arguments at `.`"),
    ] {
        let call = ToolCall::new("leaks", args);
        assert!(!format!("{call:?}").contains("secret"), "{call:?}");
        let error = stack.clone().oneshot(call).await.expect_err("an error");
        let text = format!("{error:?}");
        assert!(text.contains(shown), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
}
