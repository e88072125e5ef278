//! A call that does not succeed shares nothing: the next call with its key runs.

use toolbooth::{CancelReason, RetryPolicy, TimeoutLayer};
use toolbooth_test::cancel_reason;
use tower::ServiceBuilder;
use tower::retry::RetryLayer;

use super::*;

/// A tool of which the first executions end as the list says, and the others succeed.
fn scripted(ends: &'static [&'static str]) -> ScriptedTool {
    let runs = Arc::new(AtomicUsize::new(0));
    ScriptedTool::new(move |_| {
        let run = runs.fetch_add(1, Ordering::Relaxed);
        async move {
            sleep(ms(10)).await;
            match ends.get(run) {
                Some(&"error") => Err(BoxError::from("failed")),
                Some(&"is_error") => Ok(ToolOutput::error("failed")),
                Some(&"panic") => unreachable!("failed"),
                Some(&"hang") => std::future::pending().await,
                Some(&"stream") => {
                    let items = [Ok(Content::from("partial")), Err(BoxError::from("failed"))];
                    Ok(ToolOutput::stream(futures_util::stream::iter(items)))
                }
                _ => Ok(ToolOutput::text(format!("run {}", run + 1))),
            }
        }
    })
}

/// The outcome of a call: its text, or `is_error`, or the kind of its error.
async fn brief<S>(stack: S, call: ToolCall) -> String
where
    S: tower::Service<ToolCall, Response = ToolOutput, Error = ToolError>,
{
    let response = match stack.oneshot(call).await {
        Ok(response) => response.collect().await,
        Err(error) => Err(error),
    };
    match response {
        Ok(response) if response.is_error() => "is_error".to_owned(),
        Ok(response) => response.text(),
        Err(error) => error.kind().to_string(),
    }
}

#[tokio::test(start_paused = true)]
async fn call_that_waits_runs_after_one_that_failed() {
    let ends = [
        ("error", "tool_error"),
        ("is_error", "is_error"),
        ("panic", "panicked"),
        ("hang", "timeout"),
        ("stream", "tool_error"),
    ];
    for (end, outcome) in ends {
        let tool = match end {
            "error" => scripted(&["error"]),
            "is_error" => scripted(&["is_error"]),
            "panic" => scripted(&["panic"]),
            "hang" => scripted(&["hang"]),
            _ => scripted(&["stream"]),
        };
        let layer = IdempotencyLayer::new();
        let stack = ServiceBuilder::new()
            .layer(layer.clone())
            .layer(toolbooth::CatchPanicLayer::new())
            .layer(TimeoutLayer::new(ms(100)))
            .service(tool.clone());
        let calls = (0..4).map(|_| brief(stack.clone(), keyed("a", 1)));
        let outcomes = futures_util::future::join_all(calls).await;
        assert_eq!(outcomes, [outcome, "run 2", "run 2", "run 2"]);
        assert_eq!((tool.probe().started(), layer.keys()), (2, 1));
    }
}

#[tokio::test(start_paused = true)]
async fn key_of_a_failed_call_is_free_at_once() {
    let tool = scripted(&["error"]);
    let layer = IdempotencyLayer::new();
    let stack = layer.layer(tool);
    assert_eq!(brief(stack.clone(), keyed("a", 1)).await, "tool_error");
    assert_eq!(layer.keys(), 0);
    // Also for other arguments.
    assert_eq!(brief(stack, keyed("a", 2)).await, "run 2");
}

#[tokio::test(start_paused = true)]
async fn waiters_take_over_from_a_call_that_is_dropped_or_cancelled() {
    for is_cancelled in [false, true] {
        let tool = scripted(&["hang"]);
        let stack = IdempotencyLayer::new().layer(tool.clone());
        let first = keyed("a", 1);
        let canceller = first.canceller();
        let first = tokio::spawn(stack.clone().oneshot(first));
        tokio::task::yield_now().await;
        let second = tokio::spawn(text_of(stack.clone(), keyed("a", 1)));
        let third = tokio::spawn(text_of(stack.clone(), keyed("a", 1)));
        sleep(ms(50)).await;
        match is_cancelled {
            true => canceller.cancel(),
            false => first.abort(),
        }
        let first = first.await.ok().map(|response| response.unwrap_err());
        let reason = is_cancelled.then_some(CancelReason::Explicit);
        assert_eq!(first.as_ref().and_then(cancel_reason), reason);
        assert_eq!(second.await.unwrap(), "run 2");
        assert_eq!(third.await.unwrap(), "run 2");
        assert_eq!(tool.probe().started(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn dropped_waiter_leaves_the_queue() {
    let tool = scripted(&[]);
    let stack = IdempotencyLayer::new().layer(tool.clone());
    let first = tokio::spawn(text_of(stack.clone(), keyed("a", 1)));
    tokio::task::yield_now().await;
    let waits = tokio::time::timeout(ms(5), stack.clone().oneshot(keyed("a", 1))).await;
    assert!(waits.is_err());
    assert_eq!(text_of(stack, keyed("a", 1)).await, "run 1");
    assert_eq!(first.await.unwrap(), "run 1");
}

#[tokio::test(start_paused = true)]
async fn half_read_stream_is_not_shared() {
    let (tool, probe) = support::streams(|probe| support::ticking(probe, ms(10), ["1", "2"]));
    let stack = IdempotencyLayer::new().layer(tool);
    let mut first = support::stream_of(stack.clone(), keyed("a", 1)).await;
    assert_eq!(support::next_text(&mut first).await, "1");
    drop(first);
    assert_eq!(text_of(stack, keyed("a", 1)).await, "12");
    assert_eq!(probe.started(), 2);
}

#[tokio::test(start_paused = true)]
async fn call_that_waits_obeys_its_deadline() {
    let stack = IdempotencyLayer::new().layer(scripted(&["hang"]));
    let _first = tokio::spawn(stack.clone().oneshot(keyed("a", 1)));
    tokio::task::yield_now().await;
    let started = Instant::now();
    let own = keyed("a", 1).with_deadline(started + ms(30));
    let own = error_of(stack.clone(), own).await;
    assert_eq!(started.elapsed(), ms(30));
    let outer = TimeoutLayer::new(ms(40)).layer(stack);
    let outer = error_of(outer, keyed("a", 1)).await;
    for (error, layer) in [(own, "idempotency"), (outer, "timeout")] {
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert_eq!(
            (error.queue(), error.layer()),
            (Some("idempotency"), Some(layer))
        );
        assert!(!error.started());
    }
}

#[tokio::test(start_paused = true)]
async fn attempts_of_a_retry_run_until_one_succeeds() {
    for is_outside in [false, true] {
        let layer = IdempotencyLayer::new();
        let (outer, inner) = match is_outside {
            true => (layer, IdempotencyLayer::off()),
            false => (IdempotencyLayer::off(), layer),
        };
        let tool = scripted(&["error", "error"]);
        let stack = ServiceBuilder::new()
            .layer(outer)
            .layer(RetryLayer::new(RetryPolicy::new(3)))
            .layer(inner)
            .service(tool.clone());
        let call = || keyed("a", 1).with_idempotent(true);
        let calls = [text_of(stack.clone(), call()), text_of(stack, call())];
        let texts = futures_util::future::join_all(calls).await;
        assert_eq!(texts, ["run 3", "run 3"]);
        assert_eq!(tool.probe().started(), 3);
    }
}
