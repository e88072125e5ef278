//! `ServiceBuilderExt`: each method adds its layer, in tower's order, next to tower's own layers.

mod support;

use std::time::Duration;

use serde_json::json;
use support::{call_all, ms};
use tokio::time::sleep;
use toolbooth::{
    BoxError, CallContext, CatchPanicLayer, CleanupLayer, ErrorKind, EventsLayer,
    PartialResultLayer, PerTool, Quota, ServiceBuilderExt, ShutdownLayer, SpawnLayer, TimeoutScope,
    ToolCall, ToolError, ToolOutput, ToolRequest, tool_fn,
};
use tower::{Service, ServiceBuilder, ServiceExt};

/// One token per period, and a burst of one.
fn every(period: Duration) -> Quota {
    Quota::with_period(period).expect("longer than 0")
}

/// A tool that registers a hook, emits `begun`, and runs for the milliseconds of its arguments.
fn tool() -> impl Service<ToolCall, Response = ToolOutput, Error = ToolError, Future: Send + 'static>
+ Clone
+ Send
+ Sync
+ 'static {
    tool_fn("tool", async |call: CallContext, millis: u64| {
        call.on_cleanup(|_| async {});
        call.emit("begun");
        sleep(ms(millis)).await;
        Ok::<_, BoxError>("done")
    })
}

fn call(millis: u64) -> ToolCall {
    ToolCall::new("tool", json!(millis))
}

/// When concurrent calls of these milliseconds ended, in milliseconds, and with which error.
async fn ends<S>(service: S, calls: &[u64]) -> Vec<(u128, Option<ErrorKind>)>
where
    S: Service<ToolCall, Response = ToolOutput, Error = ToolError, Future: Send>,
    S: Clone + Send + 'static,
{
    let ends = call_all(service, calls.iter().map(|millis| call(*millis))).await;
    ends.iter()
        .map(|end| (end.at.as_millis(), end.error_kind()))
        .collect()
}

/// The milliseconds that `calls` concurrent calls of 10 ms take.
async fn time<S>(service: S, calls: usize) -> u128
where
    S: Service<ToolCall, Response = ToolOutput, Error = ToolError, Future: Send>,
    S: Clone + Send + 'static,
{
    let ends = ends(service, &vec![10; calls]).await;
    assert!(ends.iter().all(|(_, error)| error.is_none()), "{ends:?}");
    ends.iter().map(|(at, _)| *at).max().unwrap_or_default()
}

// === each method

#[tokio::test(start_paused = true)]
async fn tool_timeout_limits_per_tool() {
    let limits = PerTool::new(ms(5)).with("tool", ms(20));
    let stack = ServiceBuilder::new().tool_timeout(limits).service(tool());
    let expected = [(10, None), (20, Some(ErrorKind::Timeout))];
    assert_eq!(ends(stack, &[10, 30]).await, expected);
}

#[tokio::test(start_paused = true)]
async fn tool_concurrency_limit_limits_running_calls() {
    let limited = |limit| {
        ServiceBuilder::new()
            .tool_concurrency_limit(limit)
            .service(tool())
    };
    assert_eq!(time(limited(2), 5).await, 30);
    let rejected = limited(0).oneshot(call(10)).await.unwrap_err();
    assert_eq!(rejected.kind(), ErrorKind::Overloaded);
}

#[tokio::test(start_paused = true)]
async fn tool_rate_limit_limits_starts() {
    let stack = ServiceBuilder::new()
        .tool_rate_limit(every(ms(100)))
        .service(tool());
    assert_eq!(time(stack, 4).await, 310);
}

#[tokio::test(start_paused = true)]
async fn tool_cleanup_runs_hooks_and_its_layer_stays_the_handle() {
    let cleanup = CleanupLayer::new();
    let stack = ServiceBuilder::new()
        .tool_cleanup(cleanup.clone())
        .service(tool());
    time(stack, 3).await;
    assert_eq!(cleanup.drain(ms(1_000)).await.ran, 3);
}

#[tokio::test(start_paused = true)]
async fn tool_partial_results_keeps_emitted_items_unless_it_is_off() {
    for (layer, kept) in [
        (PartialResultLayer::new(), 1),
        (PartialResultLayer::off(), 0),
    ] {
        let stack = ServiceBuilder::new()
            .tool_timeout(ms(10))
            .tool_partial_results(layer)
            .service(tool());
        let error = stack.oneshot(call(60_000)).await.unwrap_err();
        let contents = error.partial().map(|partial| partial.contents());
        assert_eq!(contents.unwrap_or_default(), vec!["begun".into(); kept]);
    }
}

#[tokio::test(start_paused = true)]
async fn tool_catch_panic_turns_a_panic_into_an_error() {
    let tool = tool_fn("tool", async |(): ()| -> Result<(), BoxError> {
        panic!("oh")
    });
    let stack = ServiceBuilder::new()
        .tool_catch_panic(CatchPanicLayer::new())
        .service(tool);
    let error = stack.oneshot(toolbooth_test::call("tool")).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Panicked);
}

#[tokio::test(start_paused = true)]
async fn tool_spawn_runs_a_call_on_its_own_task_unless_it_is_off() {
    let task = || format!("{:?}", tokio::task::try_id());
    for (layer, is_here) in [(SpawnLayer::new(), false), (SpawnLayer::off(), true)] {
        let tool = tool_fn(
            "tool",
            move |(): ()| async move { Ok::<_, BoxError>(task()) },
        );
        let stack = ServiceBuilder::new().tool_spawn(layer).service(tool);
        let id = support::text_of(stack, toolbooth_test::call("tool")).await;
        assert_eq!(id == task(), is_here);
    }
}

#[tokio::test(start_paused = true)]
async fn tool_shutdown_cancels_calls_unless_it_is_off() {
    for (layer, expected) in [
        (ShutdownLayer::new(), (50, Some(ErrorKind::Cancelled))),
        (ShutdownLayer::off(), (100, None)),
    ] {
        let stack = ServiceBuilder::new()
            .tool_shutdown(layer.clone())
            .service(tool());
        let shut_down = async {
            sleep(ms(10)).await;
            layer.shutdown(ms(40), ms(0)).await
        };
        let (ends, _) = tokio::join!(ends(stack, &[100]), shut_down);
        assert_eq!(ends, [expected]);
    }
}

#[tokio::test(start_paused = true)]
async fn tool_events_delivers_the_events_of_calls_unless_it_is_off() {
    let (sink, mut events) = toolbooth::events::channel(8);
    for (layer, expected) in [
        (EventsLayer::off(), &[][..]),
        (
            EventsLayer::new(sink),
            &["tool.invoked", "tool.started", "tool.completed"],
        ),
    ] {
        let stack = ServiceBuilder::new()
            .tool_events(layer)
            .tool_partial_results(PartialResultLayer::new())
            .service(tool_fn("tool", async |_: u64| Ok::<_, BoxError>("done")));
        stack.oneshot(call(10)).await.unwrap();
        let seen = std::iter::from_fn(|| events.try_recv());
        let names: Vec<_> = seen.map(|event| event.name()).collect();
        assert_eq!(names, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn clones_of_a_builder_share_its_limits() {
    let builder = ServiceBuilder::new().tool_concurrency_limit(1);
    let first = builder.clone().service(tool());
    let second = builder.service(tool());
    let (first, second) = tokio::join!(time(first, 2), time(second, 2));
    assert_eq!(first.max(second), 40);
}

// === values that are off, and all methods together

#[tokio::test(start_paused = true)]
async fn stack_has_one_type_with_each_layer_on_or_off() {
    let stack =
        |limit: Option<Duration>, at_once: Option<usize>, quota: Option<Quota>, on: bool| {
            let (cleanup, partial) = match on {
                true => (CleanupLayer::new(), PartialResultLayer::new()),
                false => (CleanupLayer::off(), PartialResultLayer::off()),
            };
            ServiceBuilder::new()
                .tool_timeout(limit)
                .tool_rate_limit(quota)
                .tool_concurrency_limit(at_once)
                .tool_cleanup(cleanup)
                .tool_partial_results(partial)
                .service(tool())
        };
    let off = stack(None, None, None, false);
    for (stack, expected) in [
        (stack(None, Some(1), None, true), 40),
        (stack(None, None, Some(every(ms(100))), true), 310),
        (stack(Some(ms(1_000)), None, None, true), 10),
        (off.clone(), 10),
    ] {
        assert_eq!(time(stack, 4).await, expected);
    }
    // More calls than any queue holds by default.
    assert_eq!(time(off, 2_000).await, 10);
}

#[tokio::test(start_paused = true)]
async fn five_methods_in_a_row_are_five_layers_in_a_row() {
    let cleanup = CleanupLayer::new();
    let stack = ServiceBuilder::new()
        .tool_timeout(ms(250))
        .tool_rate_limit(every(ms(20)))
        .tool_concurrency_limit(1)
        .tool_cleanup(cleanup.clone())
        .tool_partial_results(PartialResultLayer::new())
        .service(tool());

    let calls = call_all(stack, [100; 4].map(call)).await;
    let ends: Vec<_> = calls.iter().map(|end| (end.at, end.error_kind())).collect();
    let timeout = (ms(250), Some(ErrorKind::Timeout));
    assert_eq!(ends, [(ms(100), None), (ms(200), None), timeout, timeout]);
    // The third call expired while it ran, the fourth in the queue.
    let partial = |call: usize| calls[call].result.as_ref().unwrap_err().partial();
    assert_eq!(partial(2).unwrap().contents(), ["begun".into()]);
    assert!(partial(3).is_none());
    assert_eq!(cleanup.drain(ms(1_000)).await.ran, 3);
}

#[tokio::test(start_paused = true)]
async fn first_method_is_the_outermost_layer() {
    let queue_counts = ServiceBuilder::new()
        .tool_timeout(ms(15))
        .tool_concurrency_limit(1)
        .service(tool());
    let expected = [(10, None), (15, Some(ErrorKind::Timeout))];
    assert_eq!(ends(queue_counts, &[10, 10]).await, expected);

    let queue_is_free = ServiceBuilder::new()
        .tool_concurrency_limit(1)
        .tool_timeout(ms(15))
        .service(tool());
    let expected = [(10, None), (20, None)];
    assert_eq!(ends(queue_is_free, &[10, 10]).await, expected);
}

#[tokio::test(start_paused = true)]
async fn timeout_of_tower_fits_in_the_same_builder() {
    async fn scope<S>(stack: S) -> TimeoutScope
    where
        S: Service<ToolCall, Response = ToolOutput, Error = ToolError>,
    {
        support::timeout(&support::error_of(stack, call(60_000)).await).0
    }
    let towers_is_shorter = ServiceBuilder::new()
        .tool_timeout(ms(50))
        .timeout(ms(10))
        .tool_concurrency_limit(1)
        .service(tool());
    assert_eq!(scope(towers_is_shorter).await, TimeoutScope::Foreign);

    let ours_is_shorter = ServiceBuilder::new()
        .tool_timeout(ms(10))
        .timeout(ms(50))
        .tool_concurrency_limit(1)
        .service(tool());
    assert_eq!(scope(ours_is_shorter).await, TimeoutScope::Total);

    // Outside ours it returns a boxed error, in which ours is found.
    let outside = ServiceBuilder::new()
        .timeout(ms(50))
        .tool_timeout(ms(10))
        .service(tool());
    let error: BoxError = outside.oneshot(call(60_000)).await.unwrap_err();
    assert_eq!(ToolError::from(error).kind(), ErrorKind::Timeout);
}

#[tokio::test(start_paused = true)]
async fn builder_accepts_any_request_of_a_tool() {
    fn built<R, S>(service: S) -> impl Service<R, Response = String, Error = ToolError>
    where
        R: ToolRequest,
        S: Service<R, Response = String, Error = BoxError> + Clone,
    {
        ServiceBuilder::new()
            .tool_timeout(ms(10))
            .tool_concurrency_limit(1)
            .service(service)
    }
    let http = tower::service_fn(async |request: http::Request<()>| {
        Ok::<_, BoxError>(request.uri().to_string())
    });
    let response = built(http).oneshot(http::Request::new(())).await;
    assert_eq!(response.unwrap(), "/");
}

#[cfg(feature = "state")]
#[tokio::test]
async fn state_layer_provides_its_state() {
    use toolbooth::{SharedState, StateLayer};

    let state = SharedState::new();
    let stack = ServiceBuilder::new()
        .tool_state(StateLayer::new(state.clone()))
        .service(tool_fn("tool", async |call: CallContext, by: i64| {
            let state = call.extension::<SharedState>().expect("a state");
            state.increment("counter", by)
        }));
    stack.oneshot(call(3)).await.unwrap();
    assert_eq!(state.get("counter"), Ok(Some(3_i64)));
}

#[tokio::test(start_paused = true)]
async fn idempotency_layer_shares_responses() {
    use toolbooth::IdempotencyLayer;

    let layer = IdempotencyLayer::new();
    let stack = ServiceBuilder::new()
        .tool_idempotency(layer.clone())
        .service(tool());
    let calls = [1, 2].map(|id| call(10).with_id(format!("{id}")).with_idempotency_key("a"));
    let ended = call_all(stack, calls).await;
    assert!(ended.iter().all(|call| call.at == ms(10)));
    assert_eq!(layer.keys(), 1);
}
