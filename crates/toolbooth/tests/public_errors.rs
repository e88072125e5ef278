//! What clients read of an error, and what logs print of it.

mod support;

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

/// The message of the layer is about a key that the operator chose.
#[tokio::test]
async fn public_message_of_a_key_that_a_layer_rejects_has_no_details() {
    let limit = ConcurrencyLimitLayer::by(1, |_| "k".repeat(2_000).into());
    let error = error_of(limit.layer(support::takes(ms(1))), call()).await;
    assert_eq!(error.public_message(), "invalid arguments");
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
