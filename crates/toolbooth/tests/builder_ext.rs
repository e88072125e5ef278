//! The layers as methods of tower's builder: each does what its layer does, is off where it says so, and the first is the outermost.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use tokio::time::{Instant, sleep};
use toolbooth::{
    BoxError, CallContext, CatchPanicLayer, CleanupLayer, ErrorKind, PartialResultLayer, PerTool,
    Quota, ServiceBuilderExt, SpawnLayer, TimeoutScope, ToolCall, ToolError, ToolOutput,
    ToolRequest, ToolResponse, tool_fn,
};
use tower::{Service, ServiceBuilder, ServiceExt};

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// A token each so often, and none to begin with but one.
fn every(period: Duration) -> Quota {
    Quota::with_period(period).expect("longer than 0")
}

/// A tool that registers a hook, emits a text, works so long as its arguments say in milliseconds, and answers.
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

/// Makes calls of so many milliseconds at once: when each was over, and with what.
async fn ends<S>(service: S, calls: &[u64]) -> Vec<(u128, Option<ErrorKind>)>
where
    S: Service<ToolCall, Response = ToolOutput, Error = ToolError> + Clone,
{
    let start = Instant::now();
    let calls = calls.iter().map(|millis| {
        let answer = service.clone().oneshot(call(*millis));
        async move {
            let error = answer.await.err().map(|error| error.kind());
            (start.elapsed().as_millis(), error)
        }
    });
    join_all(calls).await
}

/// How many milliseconds it takes to make calls of 10 ms each at once.
async fn time<S>(service: S, calls: usize) -> u128
where
    S: Service<ToolCall, Response = ToolOutput, Error = ToolError> + Clone,
{
    let ends = ends(service, &vec![10; calls]).await;
    assert!(ends.iter().all(|(_, error)| error.is_none()), "{ends:?}");
    ends.iter().map(|(at, _)| *at).max().unwrap_or_default()
}

// === each of them ===

#[tokio::test(start_paused = true)]
async fn tool_timeout_limits_by_tool() {
    let limits = PerTool::new(ms(5)).with("tool", ms(20));
    let stack = ServiceBuilder::new().tool_timeout(limits).service(tool());
    let ended = ends(stack, &[10, 30]).await;
    assert_eq!(ended, [(10, None), (20, Some(ErrorKind::Timeout))]);
}

#[tokio::test(start_paused = true)]
async fn tool_concurrency_limit_runs_so_many_at_once() {
    let stack = ServiceBuilder::new()
        .tool_concurrency_limit(2)
        .service(tool());
    assert_eq!(time(stack, 5).await, 30);

    let closed = ServiceBuilder::new()
        .tool_concurrency_limit(0)
        .service(tool());
    let refused = closed.oneshot(call(10)).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Overloaded);
}

#[tokio::test(start_paused = true)]
async fn tool_rate_limit_starts_so_many_in_a_time() {
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
async fn tool_partial_results_keeps_what_was_emitted() {
    let stack = ServiceBuilder::new()
        .tool_timeout(ms(10))
        .tool_partial_results(PartialResultLayer::new())
        .service(tool());
    let error = stack.oneshot(call(60_000)).await.unwrap_err();
    assert_eq!(error.partial().unwrap().contents(), ["begun".into()]);
}

/// A tool that says on which task it runs, or panics.
fn tells_its_task() -> impl Service<ToolCall, Response = ToolOutput, Error = ToolError, Future: Send>
+ Clone
+ Send
+ 'static {
    tool_fn("tool", async |panics: bool| {
        assert!(!panics, "as it was told");
        Ok::<_, BoxError>(format!("{:?}", tokio::task::try_id()))
    })
}

#[tokio::test(start_paused = true)]
async fn tool_catch_panic_makes_a_panic_an_error() {
    let stack = ServiceBuilder::new()
        .tool_catch_panic(CatchPanicLayer::new())
        .service(tells_its_task());
    let error = stack.oneshot(ToolCall::new("tool", json!(true))).await;
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Panicked);
}

#[tokio::test(start_paused = true)]
async fn tool_spawn_runs_a_call_on_a_task_of_its_own() {
    let here = format!("{:?}", tokio::task::try_id());
    for (spawn, is_here) in [(SpawnLayer::new(), false), (SpawnLayer::off(), true)] {
        let stack = ServiceBuilder::new()
            .tool_spawn(spawn)
            .service(tells_its_task());
        let answer = stack.oneshot(ToolCall::new("tool", json!(false))).await;
        let task = answer.unwrap().collect().await.unwrap().text();
        assert_eq!(task == here, is_here);
    }
}

#[tokio::test(start_paused = true)]
async fn clones_of_a_builder_share_its_limits() {
    let builder = ServiceBuilder::new().tool_concurrency_limit(1);
    let first = builder.clone().service(tool());
    let second = builder.service(tool());
    let both = [time(first, 2), time(second, 2)];
    assert_eq!(join_all(both).await.into_iter().max(), Some(40));
}

// === off ===

#[tokio::test(start_paused = true)]
async fn off_values_pass_everything_through() {
    let stack = ServiceBuilder::new()
        .tool_timeout(None)
        .tool_rate_limit(None)
        .tool_concurrency_limit(None)
        .tool_cleanup(CleanupLayer::off())
        .tool_partial_results(PartialResultLayer::off())
        .tool_catch_panic(CatchPanicLayer::off())
        .tool_spawn(SpawnLayer::off())
        .service(tool());
    // More at once than any limit here would allow to wait.
    assert_eq!(time(stack.clone(), 2_000).await, 10);
    let day = 24 * 60 * 60 * 1_000;
    assert_eq!(ends(stack, &[day]).await, [(u128::from(day), None)]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_kept_where_partial_results_are_off() {
    let stack = ServiceBuilder::new()
        .tool_timeout(ms(10))
        .tool_partial_results(PartialResultLayer::off())
        .service(tool());
    let error = stack.oneshot(call(60_000)).await.unwrap_err();
    assert!(error.partial().is_none());
}

#[tokio::test(start_paused = true)]
async fn on_or_off_is_one_type() {
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
    for (stack, took) in [
        (stack(None, Some(1), None, true), 40),
        (stack(None, None, Some(every(ms(100))), true), 310),
        (stack(Some(ms(1_000)), None, None, true), 10),
        (off, 10),
    ] {
        assert_eq!(time(stack, 4).await, took);
    }
}

// === together ===

#[tokio::test(start_paused = true)]
async fn all_five_in_a_row_are_the_layers_in_a_row() {
    let cleanup = CleanupLayer::new();
    let stack = ServiceBuilder::new()
        .tool_timeout(ms(250))
        .tool_rate_limit(every(ms(20)))
        .tool_concurrency_limit(1)
        .tool_cleanup(cleanup.clone())
        .tool_partial_results(PartialResultLayer::new())
        .service(tool());

    let calls = [100, 100, 100, 100].map(|millis| stack.clone().oneshot(call(millis)));
    let start = Instant::now();
    let answers = join_all(calls).await;
    assert_eq!(start.elapsed(), ms(250));

    let kinds: Vec<_> = answers
        .iter()
        .map(|answer| answer.as_ref().err().map(ToolError::kind))
        .collect();
    let timeout = Some(ErrorKind::Timeout);
    assert_eq!(kinds, [None, None, timeout, timeout]);
    // The third was cut at work, the fourth in line.
    let cut = |at: usize| answers[at].as_ref().unwrap_err();
    assert_eq!(cut(2).partial().unwrap().contents(), ["begun".into()]);
    assert!(cut(3).partial().is_none());
    assert_eq!(cleanup.drain(ms(1_000)).await.ran, 3);
}

#[tokio::test(start_paused = true)]
async fn the_first_is_the_outermost() {
    let counted = ServiceBuilder::new()
        .tool_timeout(ms(15))
        .tool_concurrency_limit(1)
        .service(tool());
    let ended = ends(counted, &[10, 10]).await;
    assert_eq!(ended, [(10, None), (15, Some(ErrorKind::Timeout))]);

    let free = ServiceBuilder::new()
        .tool_concurrency_limit(1)
        .tool_timeout(ms(15))
        .service(tool());
    assert_eq!(ends(free, &[10, 10]).await, [(10, None), (20, None)]);
}

/// The limit that struck first is told by its layer's error.
async fn scope_of<S, T>(stack: S) -> TimeoutScope
where
    S: Service<ToolCall, Response = T, Error = ToolError>,
    T: ToolResponse,
{
    match stack.oneshot(call(60_000)).await.err() {
        Some(ToolError::Timeout { scope, .. }) => scope,
        other => unreachable!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn towers_own_timeout_stands_in_the_same_builder() {
    let towers_is_shorter = ServiceBuilder::new()
        .tool_timeout(ms(50))
        .timeout(ms(10))
        .tool_concurrency_limit(1)
        .service(tool());
    assert_eq!(scope_of(towers_is_shorter).await, TimeoutScope::Foreign);

    let ours_is_shorter = ServiceBuilder::new()
        .tool_timeout(ms(10))
        .timeout(ms(50))
        .tool_concurrency_limit(1)
        .service(tool());
    assert_eq!(scope_of(ours_is_shorter).await, TimeoutScope::Total);

    // Outside of ours it returns a boxed error, in which ours is found.
    let outside = ServiceBuilder::new()
        .timeout(ms(50))
        .tool_timeout(ms(10))
        .service(tool());
    let error: BoxError = outside.oneshot(call(60_000)).await.unwrap_err();
    assert_eq!(ToolError::from(error).kind(), ErrorKind::Timeout);
}

#[tokio::test(start_paused = true)]
async fn it_builds_around_any_request_of_a_tool() {
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
    let answer = built(http).oneshot(http::Request::new(())).await;
    assert_eq!(answer.unwrap(), "/");
}
