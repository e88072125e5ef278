//! What each error says: every text once along its chain, a stable kind, whether to try again.

mod support;

use std::error::Error;
use std::time::Duration;

use support::ms;
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

/// One error of each kind, with the texts of its chain, its stable name, its outcome, and whether to try again.
fn each() -> Vec<(ToolError, Vec<&'static str>, &'static str, Outcome, bool)> {
    let timeout = ToolError::timeout(TimeoutScope::Total, ms(500), ms(502));
    vec![
        (
            timeout,
            vec!["timed out after 502ms (total limit of 500ms)"],
            "timeout",
            Outcome::TimedOut,
            true,
        ),
        (
            ToolError::cancelled(CancelReason::CallerGone),
            vec!["cancelled: caller_gone"],
            "cancelled",
            Outcome::Cancelled,
            false,
        ),
        (
            ToolError::cancelled(CancelReason::Timeout),
            vec!["cancelled: timeout"],
            "cancelled",
            Outcome::TimedOut,
            false,
        ),
        (
            ToolError::rate_limited(ms(40)),
            vec!["rate limited, a token is free in 40ms"],
            "rate_limited",
            Outcome::Rejected,
            true,
        ),
        (
            ToolError::overloaded(OverloadReason::Closed),
            vec!["overloaded: the limit is 0, no call can run"],
            "overloaded",
            Outcome::Rejected,
            true,
        ),
        (
            ToolError::overloaded(OverloadReason::queue_full(9)),
            vec!["overloaded: the limit is reached, and 9 calls are queued"],
            "overloaded",
            Outcome::Rejected,
            true,
        ),
        (
            ToolError::overloaded(OverloadReason::waited_too_long(ms(7))),
            vec!["overloaded: still queued after the maximum wait of 7ms"],
            "overloaded",
            Outcome::Rejected,
            true,
        ),
        (
            ToolError::overloaded(OverloadReason::Foreign),
            vec!["overloaded: the service shed the call"],
            "overloaded",
            Outcome::Rejected,
            true,
        ),
        (
            ToolError::panicked("index out of bounds"),
            vec!["the tool panicked: index out of bounds"],
            "panicked",
            Outcome::Panicked,
            false,
        ),
        (
            ToolError::invalid_arguments("filter.tags[2]", "expected u8"),
            vec!["invalid arguments at `filter.tags[2]`: expected u8"],
            "invalid_arguments",
            Outcome::Failed,
            false,
        ),
        (
            ToolError::unknown_tool("serach"),
            vec!["there is no tool named `serach`"],
            "unknown_tool",
            Outcome::Rejected,
            false,
        ),
        (
            ToolError::too_deep(5),
            vec!["nested too deep: at most 5 levels below the outermost call"],
            "too_deep",
            Outcome::Rejected,
            false,
        ),
        (
            ToolError::failed(unreadable()),
            vec!["the tool failed", "the index cannot be read", "disk full"],
            "tool_error",
            Outcome::Failed,
            false,
        ),
        (
            ToolError::failed("half way").with_retryable(true),
            vec!["the tool failed", "half way"],
            "tool_error",
            Outcome::Failed,
            true,
        ),
    ]
}

#[test]
fn each_error_says_each_text_of_its_chain_once() {
    for (error, texts, kind, outcome, retryable) in each() {
        assert_eq!(chain(&error), texts);
        assert_eq!(
            (error.kind().as_str(), error.kind().to_string().as_str()),
            (kind, kind)
        );
        assert_eq!(
            (error.outcome(), error.is_retryable()),
            (outcome, retryable),
            "{error}"
        );
        // No text contains that of its source.
        for pair in texts.windows(2) {
            assert!(!pair[0].contains(pair[1]), "{pair:?}");
        }
        for text in texts {
            assert_eq!(text.trim_end_matches('.'), text);
            assert!(text.starts_with(|first: char| first.is_lowercase() || first.is_numeric()));
        }
    }
}

#[test]
fn boxed_error_is_found_again_whole() {
    for (error, texts, kind, ..) in each() {
        let boxed: BoxError = error.into();
        assert_eq!(chain(&*boxed), texts);
        let found = ToolError::failed(boxed);
        assert_eq!(
            (chain(&found), found.kind().as_str()),
            (texts.iter().map(ToString::to_string).collect(), kind)
        );
    }
}

#[test]
fn only_a_rate_limit_knows_when_to_come_back() {
    for (error, ..) in each() {
        let expected = (error.kind() == ErrorKind::RateLimited).then_some(ms(40));
        assert_eq!(error.retry_after(), expected);
        assert_eq!(
            (error.tool(), error.call_id(), error.partial()),
            (None, None, None)
        );
    }
}

#[test]
fn only_a_failure_of_the_tool_can_be_called_retryable() {
    for (error, _, _, _, retryable) in each() {
        let is_tool = error.kind() == ErrorKind::Tool;
        assert_eq!(
            error.clone().with_retryable(true).is_retryable(),
            is_tool || retryable
        );
        assert_eq!(
            error.with_retryable(false).is_retryable(),
            !is_tool && retryable
        );
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn error_of_a_nested_call_is_the_source_of_its_parents() {
    let nested = TimeoutLayer::new(ms(100)).layer(support::Probe::stuck());
    let parent = tool_fn("parent", move |(): ()| {
        let nested = nested.clone();
        async move { nested.oneshot(support::call()).await.map(|_| ()) }
    });
    let parent = TimeoutLayer::new(ms(500)).layer(parent);
    let call = toolbooth::ToolCall::new("parent", serde_json::json!(null));
    let failed = parent.oneshot(call).await.err().unwrap();
    let texts = [
        "the tool failed",
        "timed out after 100ms (total limit of 100ms)",
    ];
    assert_eq!(chain(&failed), texts);
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
    let failed = stack.oneshot(support::call()).await.err().unwrap();
    assert_eq!(
        chain(&failed),
        ["the tool failed", "the index cannot be read", "disk full"]
    );
}

#[test]
fn settings_that_cannot_work_say_what_to_give_instead() {
    assert_eq!(
        chain(&ConfigError::ZeroLimit),
        ["a concurrency limit of 0 rejects every call: use at least 1, or `None` for no limit"]
    );
    let endless = chain(&ConfigError::EndlessTimeout(Duration::MAX));
    assert_eq!(endless.len(), 1);
    assert!(
        endless[0].ends_with("use `TimeoutLayer::unlimited()` for no limit"),
        "{endless:?}"
    );
}
