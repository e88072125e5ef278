//! What responses and errors of the tool itself count as, and what a predicate sees of them.

use futures_util::{StreamExt, stream};
use toolbooth::breaker::{CallResult, Failures};
use toolbooth::{BoxError, CancelReason, ConcurrencyLimitLayer, Content, OverloadReason};

use super::counts::{Verdict, verdict, verdict_of};
use super::support::{next_text, rest, stream_of, streaming, streams};
use super::*;

/// What a call counts as whose tool returns this error.
async fn verdict_of_error<E>(policy: BreakerPolicy, error: E) -> Verdict
where
    E: Into<BoxError> + Clone + Send + Sync + 'static,
{
    verdict_of(policy, |breaker| async move {
        error_of(breaker.layer(fails(error)), call()).await;
    })
    .await
}

/// A tool with a streaming response of two items, which ends with `error` if there is one.
fn two_items(error: Option<&'static str>) -> ScriptedTool {
    reporting(false, error)
}

/// The same, whose head has this value of `is_error`.
fn reporting(is_error: bool, error: Option<&'static str>) -> ScriptedTool {
    let items = ["a", "b"].map(|item| Ok(Content::from(item)));
    let items: Vec<_> = items.into_iter().chain(error.map(Err)).collect();
    let (tool, _) =
        streams(move |probe| streaming(probe, stream::iter(items.clone())).with_is_error(is_error));
    tool
}

/// What a call counts as whose consumer reads `items` of two items, and then leaves.
async fn verdict_of_left(policy: BreakerPolicy, items: usize) -> Verdict {
    verdict_of(policy, |breaker| async move {
        let mut stream = stream_of(breaker.layer(two_items(None)), call()).await;
        for _ in 0..items {
            next_text(&mut stream).await;
        }
    })
    .await
}

fn is_tool_error(result: CallResult<'_>) -> bool {
    let error = result.error();
    error.is_some_and(|error| error.kind() == ErrorKind::Tool)
}

/// The errors that are no failures of the tool's work.
fn rejections() -> [ToolError; 8] {
    [
        ToolError::rate_limited(ms(1)),
        ToolError::overloaded(OverloadReason::Closed),
        ToolError::circuit_open(ms(1)),
        ToolError::unknown_tool("serach"),
        ToolError::too_deep(5),
        ToolError::invalid_arguments(".", "no"),
        ToolError::cancelled(CancelReason::CallerGone),
        ToolError::cancelled(CancelReason::Shutdown),
    ]
}

#[tokio::test(start_paused = true)]
async fn responses_and_errors_count_by_their_kind() {
    let response = verdict(two(), async || Ok(ToolOutput::text("up"))).await;
    assert_eq!(response, Verdict::Success);
    assert_eq!(verdict_of_error(two(), "down").await, Verdict::Failure);
    let foreign = || Err(tower::timeout::error::Elapsed::new().into());
    let foreign_timeout = verdict(two(), move || std::future::ready(foreign()));
    assert_eq!(foreign_timeout.await, Verdict::Failure);
    for error in [
        ToolError::panicked("oh"),
        ToolError::cancelled(CancelReason::Timeout),
    ] {
        assert_eq!(verdict_of_error(two(), error).await, Verdict::Failure);
    }
}

/// Case B1. `grep` that matches nothing responds with an error, and works.
#[tokio::test(start_paused = true)]
async fn response_that_is_an_error_is_a_success() {
    let no_match = || async { Ok(ToolOutput::error("no match").with_meta("exit_code", 1)) };
    assert_eq!(verdict(two(), no_match).await, Verdict::Success);
    let breaker = CircuitBreakerLayer::new();
    let service = breaker.layer(ScriptedTool::new(move |_| no_match()));
    assert_eq!(calls(&service, 5).await, [OK; 5]);
    assert_eq!(calls(&breaker.layer(ScriptedTool::ready()), 1).await, [OK]);
    // A streaming response that is an error.
    for (error, expected) in [(None, Verdict::Success), (Some("down"), Verdict::Failure)] {
        let streamed = verdict_of(two(), |breaker| async move {
            let stream = &mut stream_of(breaker.layer(reporting(true, error)), call()).await;
            rest(stream).await;
        });
        assert_eq!(streamed.await, expected);
    }
}

/// The sibling of Case B1 for a tool that cannot know at its head how it ends.
#[tokio::test(start_paused = true)]
async fn error_by_which_a_tool_reports_that_it_failed_is_a_success() {
    let report = || ToolError::failed("no match").with_outage(false);
    assert!(!report().is_outage());
    assert!(ToolError::failed("down").is_outage());
    assert_eq!(verdict_of_error(two(), report()).await, Verdict::Success);
    let streamed = verdict_of(two(), |breaker| async move {
        let (tool, _) =
            streams(move |probe| streaming(probe, stream::iter([Err::<Content, _>(report())])));
        rest(&mut stream_of(breaker.layer(tool), call()).await).await;
    });
    assert_eq!(streamed.await, Verdict::Success);
    let all = two().with_failures(|_| true);
    assert_eq!(verdict_of_error(all, report()).await, Verdict::Failure);

    // A tool that returns the report of another one reports it, too.
    let nested = verdict_of(two(), |breaker| async move {
        let inner = toolbooth::TimeoutLayer::unlimited().layer(fails(report()));
        let outer = ScriptedTool::new(move |_| {
            let inner = inner.clone();
            async move { Ok(inner.oneshot(call()).await?) }
        });
        let error = error_of(breaker.layer(outer), call()).await;
        assert_eq!(error.kind(), ErrorKind::Tool);
    });
    assert_eq!(nested.await, Verdict::Success);
}

#[tokio::test(start_paused = true)]
async fn predicate_may_count_responses() {
    let failures = Failures::http();
    let policy =
        || two().with_failures(move |result| failures(result) || result.exit_code() == Some(2));
    let exits = |code| {
        verdict(policy(), move || async move {
            Ok(ToolOutput::error("failed").with_meta("exit_code", code))
        })
    };
    assert_eq!(exits(1).await, Verdict::Success);
    assert_eq!(exits(2).await, Verdict::Failure);
    let policy =
        || two().with_failures(|result| result.is_error_response() || result.error().is_some());
    let buffered = verdict(policy(), async || Ok(ToolOutput::error("down"))).await;
    assert_eq!(buffered, Verdict::Failure);
    let buffered = verdict(policy(), async || Ok(ToolOutput::text("up"))).await;
    assert_eq!(buffered, Verdict::Success);
    // The head of a stream decides, whether or not the stream is read.
    for reads in [true, false] {
        let streamed = verdict_of(policy(), |breaker| async move {
            let mut stream = stream_of(breaker.layer(reporting(true, None)), call()).await;
            if reads {
                rest(&mut stream).await;
            }
        });
        assert_eq!(streamed.await, Verdict::Failure, "{reads}");
    }
}

/// Case B3. By default the tool's own rejections count as nothing.
#[tokio::test(start_paused = true)]
async fn predicate_decides_on_each_error_of_the_tool() {
    for error in rejections() {
        for (policy, expected) in [
            (two(), Verdict::Ignored),
            (two().with_failures(|_| true), Verdict::Failure),
            (two().with_failures(is_tool_error), Verdict::Ignored),
        ] {
            let verdict = verdict_of_error(policy, error.clone()).await;
            assert_eq!(verdict, expected, "{error}");
        }
    }
    let not_found = |result: CallResult<'_>| {
        let source = result.error().and_then(std::error::Error::source);
        source.is_none_or(|source| source.to_string() != "not found")
    };
    let policy = || two().with_failures(not_found);
    assert_eq!(
        verdict_of_error(policy(), "not found").await,
        Verdict::Success
    );
    assert_eq!(
        verdict_of_error(policy(), "disk full").await,
        Verdict::Failure
    );
    // A timeout that is no failure shows nothing.
    let excluded = two().with_failures(is_tool_error);
    let expired = ToolError::cancelled(CancelReason::Timeout);
    assert_eq!(verdict_of_error(excluded, expired).await, Verdict::Ignored);
}

/// Case B3. The rejection of an inner layer is not the tool's.
#[tokio::test(start_paused = true)]
async fn predicate_does_not_see_rejections_of_inner_layers() {
    let counts = verdict_of(two().with_failures(|_| true), |breaker| async move {
        let full = ConcurrencyLimitLayer::new(1).with_queue_capacity(0);
        let mut holder = full.layer(ScriptedTool::pending());
        let _taken = holder.call(call());
        let rejected = error_of(breaker.layer(full.layer(ScriptedTool::ready())), call()).await;
        assert_eq!(rejected.kind(), ErrorKind::Overloaded);
    });
    assert_eq!(counts.await, Verdict::Ignored);
}

#[tokio::test(start_paused = true)]
async fn predicate_does_not_see_cancelled_calls() {
    let cancelled = verdict_of(two().with_failures(|_| true), |breaker| async move {
        let call = call();
        let canceller = call.canceller();
        let mut running = task::spawn(breaker.layer(ScriptedTool::pending()).call(call));
        assert_pending!(running.poll());
        canceller.cancel();
        let error = error(running.await);
        assert_eq!(error.kind(), ErrorKind::Cancelled);
    });
    assert_eq!(cancelled.await, Verdict::Ignored);
}

/// Case B6. The tool itself finds that its arguments are invalid.
#[tokio::test(start_paused = true)]
async fn call_with_invalid_arguments_does_not_count() {
    let breaker = CircuitBreakerLayer::new();
    let invalid = ToolError::invalid_arguments("pattern", "longer than 131,072 bytes");
    let service = breaker.layer(fails(invalid));
    let kinds = calls(&service, 6).await;
    assert_eq!(kinds, [Some(ErrorKind::InvalidArguments); 6]);
    assert_eq!(breaker.state(), BreakerState::Closed);
    // The predicate does not see arguments that the adapter of the tool rejects.
    let counts = verdict_of(two().with_failures(|_| true), |breaker| async move {
        let tool = toolbooth::tool_fn("tool", async |_: u32| Ok::<_, ToolError>("up"));
        let rejected = error_of(breaker.layer(tool), call()).await;
        assert_eq!(rejected.kind(), ErrorKind::InvalidArguments);
    });
    assert_eq!(counts.await, Verdict::Ignored);
}

#[tokio::test(start_paused = true)]
async fn panic_in_the_predicate_counts_as_a_failure() {
    let panics = two().with_failures(|_| panic!("in the predicate"));
    assert_eq!(verdict_of_error(panics, "down").await, Verdict::Failure);
}

#[tokio::test(start_paused = true)]
async fn streaming_response_counts_at_its_end() {
    for (error, expected) in [(None, Verdict::Success), (Some("down"), Verdict::Failure)] {
        let read = verdict_of(two(), |breaker| async move {
            let stream = &mut stream_of(breaker.layer(two_items(error)), call()).await;
            rest(stream).await;
        });
        assert_eq!(read.await, expected);
    }
}

/// Case B5. Items that were delivered show that the tool works.
#[tokio::test(start_paused = true)]
async fn stream_that_is_dropped_after_an_item_is_a_success() {
    for policy in [two(), two().with_drops(true)] {
        assert_eq!(verdict_of_left(policy.clone(), 1).await, Verdict::Success);
        assert_eq!(verdict_of_left(policy, 2).await, Verdict::Success);
    }
    assert_eq!(verdict_of_left(two(), 0).await, Verdict::Ignored);
    let drops = two().with_drops(true);
    assert_eq!(verdict_of_left(drops, 0).await, Verdict::Failure);

    let breaker = CircuitBreakerLayer::new();
    let (failing, streams) = (breaker.layer(fails("down")), breaker.layer(two_items(None)));
    assert_eq!(calls(&failing, 4).await, [FAILED; 4]);
    for _ in 0..50 {
        next_text(&mut stream_of(streams.clone(), call()).await).await;
    }
    assert_eq!(calls(&failing, 4).await, [FAILED; 4]);
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[tokio::test(start_paused = true)]
async fn stream_that_is_cancelled_after_an_item_is_a_success() {
    for (items, expected) in [(0, Verdict::Ignored), (1, Verdict::Success)] {
        let cancelled = verdict_of(two(), |breaker| async move {
            let (tool, _) = streams(move |probe| {
                let ready = stream::repeat_with(|| Ok::<_, BoxError>("a".into())).take(items);
                streaming(probe, ready.chain(stream::pending()))
            });
            let call = call();
            let canceller = call.canceller();
            let mut stream = stream_of(breaker.layer(tool), call).await;
            for _ in 0..items {
                next_text(&mut stream).await;
            }
            canceller.cancel();
            let left = rest(&mut stream).await;
            assert_eq!(left.1.map(|error| error.kind()), Some(ErrorKind::Cancelled));
        });
        assert_eq!(cancelled.await, expected, "{items}");
    }
}
