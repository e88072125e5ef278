//! Which errors are made again, and what the caller has to say about it.

use toolbooth::{CancelReason, OverloadReason, TimeoutScope};

use super::*;

/// How many of two attempts are made of a call that fails so: where its caller says nothing, that it is idempotent, that it is not.
async fn made(error: ToolError) -> [usize; 3] {
    let mut made = [0; 3];
    let said = [None, Some(true), Some(false)];
    for (made, idempotent) in made.iter_mut().zip(said) {
        let starts = Starts::new();
        let tool = RetryLayer::new(at_once(2)).layer(failing(&starts, error.clone()));
        let call = match idempotent {
            Some(idempotent) => call().with_idempotent(idempotent),
            None => call(),
        };
        assert_eq!(fails(tool, call).await.kind(), error.kind());
        *made = starts.count();
    }
    made
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn refusals_are_made_again_whatever_the_caller_says() {
    assert_eq!(made(ToolError::rate_limited(ms(1))).await, [2, 2, 2]);
    let full = ToolError::overloaded(OverloadReason::queue_full(1));
    assert_eq!(made(full).await, [2, 2, 2]);
    assert_eq!(made(ToolError::circuit_open(ms(1))).await, [2, 2, 2]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn what_may_help_is_made_again_unless_the_call_is_not_idempotent() {
    let cut = ToolError::timeout(TimeoutScope::Total, ms(1), ms(1));
    assert_eq!(made(cut).await, [2, 2, 1]);
    assert_eq!(made(retryable()).await, [2, 2, 1]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn other_failures_are_made_again_only_if_the_call_is_idempotent() {
    assert_eq!(made(ToolError::failed("for good")).await, [1, 2, 1]);
    assert_eq!(made(ToolError::panicked("oh")).await, [1, 2, 1]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn what_cannot_help_is_never_made_again() {
    for reason in [
        CancelReason::CallerGone,
        CancelReason::Timeout,
        CancelReason::Parent,
        CancelReason::Shutdown,
        CancelReason::Explicit,
    ] {
        assert_eq!(made(ToolError::cancelled(reason)).await, [1, 1, 1]);
    }
    let arguments = ToolError::invalid_arguments("path", "not a text");
    assert_eq!(made(arguments).await, [1, 1, 1]);
    assert_eq!(made(ToolError::unknown_tool("serach")).await, [1, 1, 1]);
    assert_eq!(made(ToolError::too_deep(5)).await, [1, 1, 1]);
    assert_eq!(made(ToolError::too_deep(5)).await, [1, 1, 1]);
}

/// An attempt that fails with an error of this type: is another made of an idempotent call, and of one that is said not to be?
macro_rules! made_with_foreign {
    ($error:expr) => {{
        let mut made = [0; 2];
        for (made, idempotent) in made.iter_mut().zip([true, false]) {
            let starts = Starts::new();
            let log = starts.clone();
            let tool = service_fn(move |_: ToolCall| {
                log.note();
                std::future::ready(Err::<ToolOutput, _>($error))
            });
            let tool = RetryLayer::new(at_once(2)).layer(tool);
            assert!(
                tool.oneshot(call().with_idempotent(idempotent))
                    .await
                    .is_err()
            );
            *made = starts.count();
        }
        made
    }};
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn errors_of_other_types_count_as_what_they_become_in_our_layers() {
    let elapsed = || BoxError::from(tower::timeout::error::Elapsed::new());
    assert_eq!(made_with_foreign!(elapsed()), [2, 1]);
    let shed = || BoxError::from(tower::load_shed::error::Overloaded::new());
    assert_eq!(made_with_foreign!(shed()), [2, 2]);
    let ours = || BoxError::from(ToolError::unknown_tool("serach"));
    assert_eq!(made_with_foreign!(ours()), [1, 1]);
    assert_eq!(made_with_foreign!(BoxError::from("any other")), [2, 1]);
    assert_eq!(made_with_foreign!(std::io::Error::other("broke")), [2, 1]);
    assert_eq!(made_with_foreign!(ToolError::rate_limited(ms(1))), [2, 2]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn answer_that_is_an_error_is_an_answer() {
    let starts = Starts::new();
    let log = starts.clone();
    let tool = Probe::new(move |_| {
        log.note();
        std::future::ready(Ok(ToolOutput::error("no such file")))
    });
    let tool = RetryLayer::new(at_once(5)).layer(tool);
    let answer = tool.oneshot(call().with_idempotent(true)).await.unwrap();
    assert!(answer.is_error());
    assert_eq!(starts.count(), 1);
}

/// The tool's own wish for another try does not outlive the layers in between.
#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn error_of_another_call_is_this_tool_s_failure() {
    let starts = Starts::new();
    let log = starts.clone();
    let tool = Probe::new(move |_| {
        log.note();
        async {
            let nested = TimeoutLayer::new(ms(1)).layer(Probe::stuck());
            Ok(nested.oneshot(call()).await?)
        }
    });
    let layer = (RetryLayer::new(at_once(3)), PartialResultLayer::new());
    let failed = error(layer.layer(tool).oneshot(call()).await);
    assert_eq!(failed.kind(), toolbooth::ErrorKind::Tool);
    assert_eq!(starts.count(), 1);
}
