//! Errors: each text once along the chain, a stable kind, an outcome, whether to retry.

mod support;

use std::error::Error;
use std::time::Duration;

use support::{call, error_of, ms};
use toolbooth::{
    BoxError, CancelReason, ConfigError, ErrorKind, Outcome, OverloadReason, TimeoutLayer,
    TimeoutScope, ToolError, tool_fn,
};
use tower::{Layer, ServiceExt};

#[derive(Debug, thiserror::Error)]
#[error("the index cannot be read")]
struct Unreadable {
    #[source]
    cause: std::io::Error,
}

fn unreadable() -> Unreadable {
    Unreadable {
        cause: std::io::Error::other("disk full"),
    }
}

/// The texts of an error and of all its sources.
fn chain(error: &(dyn Error + 'static)) -> Vec<String> {
    let sources = std::iter::successors(Some(error), |&error| error.source());
    sources.map(ToString::to_string).collect()
}

struct Case {
    error: ToolError,
    texts: &'static [&'static str],
    kind: &'static str,
    outcome: Outcome,
    retryable: bool,
}

/// One error of each kind, and what it must return.
fn cases() -> Vec<Case> {
    use Outcome::{Cancelled, Failed, Panicked, Rejected, TimedOut};
    let mut cases = Vec::new();
    let mut case = |error, texts, kind, outcome, retryable| {
        cases.push(Case {
            error,
            texts,
            kind,
            outcome,
            retryable,
        });
    };
    let error = ToolError::timeout(TimeoutScope::Total, ms(500), ms(502));
    let texts = &["timed out after 502ms (total limit of 500ms)"];
    case(error, texts, "timeout", TimedOut, true);

    let error = ToolError::cancelled(CancelReason::CallerGone);
    case(
        error,
        &["cancelled: caller_gone"],
        "cancelled",
        Cancelled,
        false,
    );
    let error = ToolError::cancelled(CancelReason::Timeout);
    case(error, &["cancelled: timeout"], "cancelled", TimedOut, false);

    let error = ToolError::rate_limited(ms(40));
    let texts = &["rate limited, a token is free in 40ms"];
    case(error, texts, "rate_limited", Rejected, true);

    let error = ToolError::overloaded(OverloadReason::Closed);
    let texts = &["overloaded: the limit is 0, no call can run"];
    case(error, texts, "overloaded", Rejected, false);
    let error = ToolError::overloaded(OverloadReason::queue_full(9));
    let texts = &["overloaded: the limit is reached, and 9 calls are queued"];
    case(error, texts, "overloaded", Rejected, true);
    let error = ToolError::overloaded(OverloadReason::waited_too_long(ms(7)));
    let texts = &["overloaded: still queued after the maximum wait of 7ms"];
    case(error, texts, "overloaded", Rejected, true);
    let error = ToolError::overloaded(OverloadReason::Foreign);
    let texts = &["overloaded: the service shed the call"];
    case(error, texts, "overloaded", Rejected, true);

    let error = ToolError::panicked("index out of bounds");
    let texts = &["the tool panicked: index out of bounds"];
    case(error, texts, "panicked", Panicked, false);

    let error = ToolError::invalid_arguments("filter.tags[2]", "expected u8");
    let texts = &["invalid arguments at `filter.tags[2]`: expected u8"];
    case(error, texts, "invalid_arguments", Failed, false);

    let error = ToolError::unknown_tool("serach");
    let texts = &["there is no tool named `serach`"];
    case(error, texts, "unknown_tool", Rejected, false);

    let error = ToolError::too_deep(5);
    let texts = &["nested too deep: at most 5 levels below the outermost call"];
    case(error, texts, "too_deep", Rejected, false);

    let error = ToolError::failed(unreadable());
    let texts = &["the tool failed", "the index cannot be read", "disk full"];
    case(error, texts, "tool_error", Failed, false);
    let error = ToolError::failed("half way").with_retryable(true);
    let texts = &["the tool failed", "half way"];
    case(error, texts, "tool_error", Failed, true);
    cases
}

#[test]
fn chain_prints_each_text_once() {
    for case in cases() {
        let (error, texts) = (case.error, case.texts);
        assert_eq!(chain(&error), texts);
        assert_eq!(error.kind().as_str(), case.kind);
        assert_eq!(error.kind().to_string(), case.kind);
        assert_eq!(error.outcome(), case.outcome, "{error}");
        assert_eq!(error.is_retryable(), case.retryable, "{error}");
        // No text contains that of its source.
        for pair in texts.windows(2) {
            assert!(!pair[0].contains(pair[1]), "{pair:?}");
        }
        for text in texts {
            assert!(!text.ends_with('.'));
            assert!(text.starts_with(|first: char| first.is_lowercase() || first.is_numeric()));
        }
    }
}

#[test]
fn boxed_error_is_found_again_by_downcast() {
    for case in cases() {
        let boxed: BoxError = case.error.into();
        assert_eq!(chain(&*boxed), case.texts);
        let found = ToolError::failed(boxed);
        assert_eq!(chain(&found), case.texts);
        assert_eq!(found.kind().as_str(), case.kind);
    }
}

#[test]
fn only_a_rate_limit_has_a_retry_after() {
    for Case { error, .. } in cases() {
        let expected = (error.kind() == ErrorKind::RateLimited).then_some(ms(40));
        assert_eq!(error.retry_after(), expected);
        assert_eq!((error.tool(), error.call_id()), (None, None));
        assert_eq!(error.partial(), None);
    }
}

#[test]
fn only_a_failure_of_the_tool_can_be_made_retryable() {
    for Case {
        error, retryable, ..
    } in cases()
    {
        let is_tool = error.kind() == ErrorKind::Tool;
        let forced = error.clone().with_retryable(true);
        assert_eq!(forced.is_retryable(), is_tool || retryable);
        let forbidden = error.with_retryable(false);
        assert_eq!(forbidden.is_retryable(), !is_tool && retryable);
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn error_of_a_nested_call_is_the_source_of_its_parents() {
    let nested = TimeoutLayer::new(ms(100)).layer(support::ScriptedTool::pending());
    let parent = tool_fn("parent", move |(): ()| {
        let nested = nested.clone();
        async move { nested.oneshot(call()).await.map(|_| ()) }
    });
    let parent = TimeoutLayer::new(ms(500)).layer(parent);
    let failed = error_of(parent, toolbooth_test::call("parent")).await;
    let nested = "timed out after 100ms (total limit of 100ms of `timeout`)";
    assert_eq!(chain(&failed), ["the tool failed", nested]);
    assert_eq!(
        (failed.kind(), failed.tool()),
        (ErrorKind::Tool, Some("parent"))
    );
    assert_eq!(failed.outcome(), Outcome::Failed);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn error_that_passes_many_layers_has_one_chain() {
    let tool = tool_fn("t", async |(): ()| Err::<(), _>(unreadable()));
    let stack = TimeoutLayer::new(ms(300)).layer(TimeoutLayer::new(ms(200)).layer(tool));
    let expected = ["the tool failed", "the index cannot be read", "disk full"];
    assert_eq!(chain(&error_of(stack, call()).await), expected);
}

#[test]
fn configuration_errors_name_the_remedy() {
    for (error, text) in [
        (
            ConfigError::ZeroLimit,
            "a concurrency limit of 0 rejects every call: use at least 1, or `None` for no limit",
        ),
        (
            ConfigError::ZeroAttempts,
            "a call cannot have 0 attempts: use at least 1, which is a call without retries",
        ),
    ] {
        assert_eq!(chain(&error), [text]);
    }
    let endless = chain(&ConfigError::EndlessTimeout(Duration::MAX));
    assert_eq!(endless.len(), 1);
    let remedy = "use `TimeoutLayer::unlimited()` for no limit";
    assert!(endless[0].ends_with(remedy), "{endless:?}");
}

/// The time that a deadline left, and the wait until a retry, are rounded up to milliseconds.
#[test]
fn texts_round_computed_times_up_to_milliseconds() {
    let left = Duration::from_nanos(199_974_913);
    let error = ToolError::timeout(TimeoutScope::Deadline, left, ms(201));
    assert_eq!(
        error.to_string(),
        "timed out after 201ms (deadline limit of 200ms)"
    );
    let waits = [Duration::ZERO, Duration::from_nanos(1), ms(2)];
    let texts = waits.map(|wait| ToolError::rate_limited(wait).public_message());
    let after = |time| format!("too many calls, try again in {time}");
    assert_eq!(texts, ["0ns", "1ms", "2ms"].map(after));
}
