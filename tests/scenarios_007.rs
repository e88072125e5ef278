//! What a stress-test report on tool timeouts found missing elsewhere, as equalities on the paused clock: its scenarios
//! first, then the guarantees that follow from them, each test under the name of its guarantee: C is cleanup, P partial
//! results, T time limits.

use std::convert::Infallible;
use std::future::{Ready, pending, poll_fn, ready};
use std::num::NonZeroU32;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{FutureExt, StreamExt, stream};
use governor::Quota;
use serde_json::json;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, sleep};
use toolbooth::{
    CallContext, CleanupLayer, ConcurrencyLimitLayer, Content, ErrorKind, Outcome, OverloadReason,
    Partial, PartialResultLayer, PerTool, RateLimitLayer, TimeoutLayer, TimeoutScope, ToolCall,
    ToolError, ToolOutput, stream_tool_fn, tool_fn,
};
use toolbooth_test::{
    ErrorInjectionTool, Finished, GeneratorTool, InjectedError, PartialResultTool, Probe, Recorder,
    ResourceCleanupTool, SlowTool, Stopwatch, StreamingTool, call_all, ms,
};
use tower::retry::{Policy, Retry};
use tower::util::BoxCloneSyncService;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

type BoxTool = BoxCloneSyncService<ToolCall, ToolOutput, ToolError>;

/// All five layers in the recommended order, with plenty of permits and tokens: the values that tests ask afterwards.
struct Booth {
    limit: Duration,
    tokens: RateLimitLayer,
    permits: ConcurrencyLimitLayer,
    cleanup: CleanupLayer,
    partial: PartialResultLayer,
}

const PERMITS: usize = 10_000;

impl Booth {
    fn new(limit: Duration) -> Self {
        let plenty = NonZeroU32::new(100_000).expect("not 0");
        Self {
            limit,
            tokens: RateLimitLayer::new(Quota::per_second(plenty)),
            permits: ConcurrencyLimitLayer::new(PERMITS),
            cleanup: CleanupLayer::new(),
            partial: PartialResultLayer::new(),
        }
    }

    /// Tools that it is put around share its limits.
    fn around<S>(&self, tool: S) -> BoxTool
    where
        S: Service<ToolCall, Response = ToolOutput, Error = ToolError>
            + Clone
            + Send
            + Sync
            + 'static,
        S::Future: Send + 'static,
    {
        BoxTool::new(
            ServiceBuilder::new()
                .layer(TimeoutLayer::new(self.limit))
                .layer(self.tokens.clone())
                .layer(self.permits.clone())
                .layer(self.cleanup.clone())
                .layer(self.partial.clone())
                .service(tool),
        )
    }

    /// Waits for the hooks; they must need no time.
    async fn hooks_done(&self) {
        let before = Instant::now();
        self.cleanup.drain(ms(60_000)).await;
        assert_eq!(before.elapsed(), ms(0));
    }
}

fn call(tool: &str) -> ToolCall {
    ToolCall::new(tool, json!(null))
}

fn calls(count: usize) -> Vec<ToolCall> {
    (0..count).map(|_| call("tool")).collect()
}

async fn finish(tool: impl Into<BoxTool>, call: ToolCall) -> Finished {
    let mut finished = call_all(tool.into(), [call]).await;
    finished.remove(0)
}

/// Scope, limit and elapsed time of a timeout.
fn timeout(finished: &Finished) -> Option<(TimeoutScope, Duration, Duration)> {
    match &finished.result {
        Err(ToolError::Timeout {
            scope,
            limit,
            elapsed,
            ..
        }) => Some((*scope, *limit, *elapsed)),
        _ => None,
    }
}

#[track_caller]
fn assert_timed_out(finished: &Finished, limit: Duration) {
    assert_eq!(
        (timeout(finished), finished.at),
        (Some((TimeoutScope::Total, limit, limit)), limit)
    );
}

fn partial(finished: &Finished) -> Option<&Partial> {
    finished.result.as_ref().err()?.partial()
}

fn contents(finished: &Finished) -> &[Content] {
    partial(finished).map_or(&[], Partial::contents)
}

// === the report's runner ===

#[tokio::test(start_paused = true)]
async fn slow_tool_timeout() {
    let tool = SlowTool::new(ms(5_000));
    let booth = Booth::new(ms(2_000));
    let ends = Recorder::new();
    let call = call("slow");
    call.context().on_cleanup(ends.hook());

    let finished = finish(booth.around(tool.clone()), call).await;
    assert_timed_out(&finished, ms(2_000));
    assert_eq!((tool.probe().running(), tool.probe().finished()), (0, 1));
    booth.hooks_done().await;
    assert_eq!(ends.values(), [Outcome::TimedOut]);
}

#[tokio::test(start_paused = true)]
async fn partial_result_tool() {
    let snapshot =
        Content::from(json!({ "items_processed": 5, "total_items": 100, "status": "in_progress" }));
    for (limit, expected) in [
        (499, None),
        (501, Some(&snapshot)),
        (2_000, Some(&snapshot)),
    ] {
        let tool = Booth::new(ms(limit)).around(PartialResultTool::new(ms(500)));
        let finished = finish(tool, call("partial")).await;
        assert_timed_out(&finished, ms(limit));
        assert_eq!(partial(&finished).and_then(Partial::snapshot), expected);
        assert_eq!(contents(&finished), []);
    }
}

#[tokio::test(start_paused = true)]
async fn streaming_tool_timeout() {
    // The chunk that is emitted at the very moment of the limit is kept: work that is ready counts.
    for (limit, kept) in [(499, 3), (999, 5), (1_999, 10), (2_000, 11)] {
        let tool = Booth::new(ms(limit)).around(StreamingTool::new(ms(200), 20));
        let finished = finish(tool, call("streaming")).await;
        assert_timed_out(&finished, ms(limit));
        assert_eq!(contents(&finished), StreamingTool::chunks(kept));
    }
    let tool = Booth::new(ms(5_000)).around(StreamingTool::new(ms(200), 20));
    let finished = finish(tool, call("streaming")).await;
    assert_eq!(finished.at, ms(4_000));
    assert_eq!(
        finished.result.unwrap().contents(),
        StreamingTool::chunks(20)
    );
}

#[tokio::test(start_paused = true)]
async fn concurrent_timeout() {
    for count in [20, 100] {
        let tool = SlowTool::new(ms(5_000));
        let booth = Booth::new(ms(3_000));
        let watch = Stopwatch::start();
        let finished = call_all(booth.around(tool.clone()), calls(count)).await;
        assert_eq!(watch.elapsed(), ms(3_000));
        assert_eq!(finished.len(), count);
        for finished in &finished {
            assert_timed_out(finished, ms(3_000));
        }
        let probe = tool.probe();
        assert_eq!((probe.started(), probe.finished()), (count, count));
    }
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_timeouts_strike_on_time_and_leave_nothing() {
    let tool = SlowTool::new(ms(5_000));
    let booth = Booth::new(ms(1_000));
    let finished = call_all(booth.around(tool.clone()), calls(10_000)).await;
    assert_eq!(finished.len(), 10_000);
    assert!(finished.iter().all(|finished| finished.at == ms(1_000)));
    assert!(finished.iter().all(|finished| timeout(finished).is_some()));
    let probe = tool.probe();
    assert_eq!((probe.max(), probe.running()), (10_000, 0));
    assert_eq!(booth.permits.available(), PERMITS);
    assert_eq!(booth.permits.queued(), 0);
}

#[tokio::test(start_paused = true)]
async fn resource_cleanup_of_one_shared_tool() {
    for count in [30, 50, 100] {
        let tool = ResourceCleanupTool::new(ms(60_000));
        let booth = Booth::new(ms(2_000));
        let finished = call_all(booth.around(tool.clone()), calls(count)).await;
        let resources = tool.resources();
        assert_eq!(resources.running(), 0);
        assert_eq!((resources.started(), resources.finished()), (count, count));
        for finished in &finished {
            assert_timed_out(finished, ms(2_000));
        }
        booth.hooks_done().await;
        assert_eq!(tool.hooks().values(), vec![Outcome::TimedOut; count]);
    }
}

#[tokio::test(start_paused = true)]
async fn resource_cleanup_of_thirty_tools() {
    let booth = Booth::new(ms(2_000));
    let tools: Vec<_> = (0..30)
        .map(|_| ResourceCleanupTool::new(ms(60_000)))
        .collect();
    let running = tools
        .iter()
        .enumerate()
        .map(|(n, tool)| finish(booth.around(tool.clone()), call(&format!("tool_{n}"))));
    let finished = join_all(running).await;
    for (finished, tool) in finished.iter().zip(&tools) {
        assert_timed_out(finished, ms(2_000));
        let resources = tool.resources();
        assert_eq!((resources.started(), resources.finished()), (1, 1));
    }
    booth.hooks_done().await;
    for tool in &tools {
        assert_eq!(tool.hooks().values(), [Outcome::TimedOut]);
    }
}

#[tokio::test(start_paused = true)]
async fn async_generator_timeout() {
    // (limit, items that its consumer wants, items that it gets, cut?, outcome)
    let cases = [
        (1_999, 5, 4, true, Outcome::TimedOut),
        (2_001, 5, 5, false, Outcome::Cancelled),
        (999, 10, 2, true, Outcome::TimedOut),
        (1_999, 10, 4, true, Outcome::TimedOut),
        (2_999, 10, 6, true, Outcome::TimedOut),
    ];
    for (limit, wanted, got, cut, outcome) in cases {
        let tool = GeneratorTool::new(ms(500), 20);
        let booth = Booth::new(ms(limit));
        let inner_ends = Recorder::new();
        let outer_ends = Recorder::new();

        // The outer scope is a tool of its own, with its own limit; it reads the stream of the inner one.
        let (generator, ends) = (booth.around(tool.clone()), inner_ends.clone());
        let reader = tool_fn("reader", move |()| {
            let generator = generator.clone();
            let inner = call("generator");
            inner.context().on_cleanup(ends.hook());
            async move {
                let mut items = generator.oneshot(inner).await?.into_stream().take(wanted);
                let (mut count, mut error) = (0, None);
                while let Some(item) = items.next().await {
                    match item {
                        Ok(_) => count += 1,
                        Err(timeout) => error = Some(timeout.kind().as_str()),
                    }
                }
                Ok::<_, ToolError>(json!([count, error]))
            }
        });
        let outer_booth = Booth::new(ms(10_000));
        let outer = call("reader");
        outer.context().on_cleanup(outer_ends.hook());
        let finished = finish(outer_booth.around(reader), outer).await;

        let error = cut.then_some("timeout");
        assert_eq!(
            finished.result.unwrap().contents(),
            [json!([got, error]).into()]
        );
        assert_eq!(finished.at, if cut { ms(limit) } else { ms(2_000) });
        assert_eq!((tool.probe().running(), tool.probe().finished()), (0, 1));
        booth.hooks_done().await;
        outer_booth.hooks_done().await;
        assert_eq!(inner_ends.values(), [outcome]);
        assert_eq!(outer_ends.values(), [Outcome::Completed]);
    }
}

#[tokio::test(start_paused = true)]
async fn error_injection() {
    let tool = ErrorInjectionTool::new();
    let booth = Booth::new(ms(3_000));
    let stack = booth.around(tool.clone());
    let ends = Recorder::new();
    let watch = Stopwatch::start();
    let cases = [
        (None, 0),
        (Some(InjectedError::Timeout), 0),
        (Some(InjectedError::Connection), 100),
        (Some(InjectedError::Value), 50),
    ];
    for (error, delay) in cases {
        let call = ToolCall::new("inject", ErrorInjectionTool::args(error, ms(delay)));
        call.context().on_cleanup(ends.hook());
        let finished = finish(stack.clone(), call).await;
        assert_eq!(finished.at, ms(delay));
        assert_eq!(finished.error_kind(), error.map(|_| ErrorKind::Tool));
        // The tool's own error is there, whatever it is about; and it is not one of ours.
        assert_eq!(finished.result.as_ref().err().and_then(injected), error);
        assert_eq!(timeout(&finished), None);
        booth.hooks_done().await;
    }
    assert_eq!(watch.elapsed(), ms(150));
    assert_eq!(
        ends.values(),
        [
            Outcome::Completed,
            Outcome::Failed,
            Outcome::Failed,
            Outcome::Failed
        ]
    );
    assert_eq!(tool.probe().finished(), 4);
}

fn injected(error: &ToolError) -> Option<InjectedError> {
    match error {
        ToolError::Tool { source, .. } => source.downcast_ref().copied(),
        _ => None,
    }
}

// === the report's pipelines, which it specifies and never measured ===

#[tokio::test(start_paused = true)]
async fn slow_tool_at_each_limit() {
    for limit in [500, 1_000, 4_999] {
        let tool = Booth::new(ms(limit)).around(SlowTool::new(ms(5_000)));
        assert_timed_out(&finish(tool, call("slow")).await, ms(limit));
    }
    // At 5000 it is a tie, and what is ready when the limit strikes counts.
    for limit in [5_000, 5_001, 10_000] {
        let tool = Booth::new(ms(limit)).around(SlowTool::new(ms(5_000)));
        let finished = finish(tool, call("slow")).await;
        assert_eq!((finished.is_ok(), finished.at), (true, ms(5_000)));
    }
}

#[tokio::test(start_paused = true)]
async fn an_unknown_tool_is_a_typed_error_and_never_a_success() {
    let toolbox = service_fn(async |call: ToolCall| match call.name() {
        "slow" => Ok(ToolOutput::text("done")),
        other => Err(ToolError::unknown_tool(other)),
    });
    let booth = Booth::new(ms(1_000));
    let ends = Recorder::new();
    for tool in ["slow", "slow_tool"] {
        let call = call(tool);
        call.context().on_cleanup(ends.hook_for(tool));
        let finished = finish(booth.around(toolbox), call).await;
        let expected = (tool == "slow_tool").then_some(ErrorKind::UnknownTool);
        assert_eq!(finished.error_kind(), expected);
    }
    booth.hooks_done().await;
    assert_eq!(
        ends.values(),
        [
            ("slow", Outcome::Completed),
            ("slow_tool", Outcome::Rejected)
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn fan_out_fan_in_keeps_the_order_of_its_input() {
    let worker = tool_fn("worker", async |takes: u64| {
        sleep(ms(takes)).await;
        Ok::<_, Infallible>(takes)
    });
    let tool = Booth::new(ms(2_000)).around(worker);
    let takes = [5_000, 100, 100, 5_000, 5_000, 100, 5_000, 100, 5_000, 100];
    let calls = takes.map(|takes| ToolCall::new("worker", json!(takes)));
    let watch = Stopwatch::start();
    let finished = call_all(tool, calls).await;
    assert_eq!(watch.elapsed(), ms(2_000));
    assert_eq!(finished.len(), 10);
    for (finished, takes) in finished.iter().zip(takes) {
        if takes == 5_000 {
            assert_timed_out(finished, ms(2_000));
        } else {
            assert_eq!((finished.is_ok(), finished.at), (true, ms(100)));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn forced_timeout() {
    let tool = Booth::new(ms(1_000)).around(SlowTool::new(ms(10_000)));
    assert_timed_out(&finish(tool, call("slow")).await, ms(1_000));
}

/// Counts how often a task is woken, and passes it on.
#[derive(Default)]
struct Wakes(AtomicUsize, Mutex<Option<Waker>>);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
        let task = self.1.lock().expect("no panic under it").take();
        task.into_iter().for_each(Waker::wake);
    }
}

/// No busy polling: a call is woken by its limit, and by nothing else.
#[tokio::test(start_paused = true)]
async fn a_timeout_wakes_its_call_once() {
    let tool = Booth::new(ms(2_000)).around(SlowTool::new(ms(5_000)));
    let mut running = std::pin::pin!(tool.oneshot(call("slow")));
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let answer = poll_fn(|cx| {
        *wakes.1.lock().expect("no panic under it") = Some(cx.waker().clone());
        running.as_mut().poll(&mut Context::from_waker(&waker))
    });
    assert_eq!(answer.await.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
}

// === C: cleanup ===

/// Takes a resource, registers three hooks, and ends as its name says.
#[expect(clippy::panic, reason = "to panic is one of the ways to end")]
fn ending_tool(
    resources: Probe,
    hooks: Recorder<(&'static str, Outcome)>,
) -> impl Service<
    ToolCall,
    Response = ToolOutput,
    Error = ToolError,
    Future = impl Future<Output = Result<ToolOutput, ToolError>> + Send + 'static,
> + Clone
+ Send
+ Sync
+ 'static {
    tool_fn("ending", move |call: CallContext, (): ()| {
        let (resources, hooks) = (resources.clone(), hooks.clone());
        async move {
            let _resource = resources.enter();
            for label in ["first", "second", "third"] {
                call.on_cleanup(hooks.hook_for(label));
            }
            sleep(ms(100)).await;
            match call.tool() {
                "completes" => Ok("done"),
                "fails" => Err("failed"),
                "panics" => panic!("the tool panics, as it was told"),
                _ => pending().await,
            }
        }
    })
}

#[tokio::test(start_paused = true)]
async fn c1_every_end_releases_once_and_runs_hooks_last_in_first_out() {
    for (name, outcome, ends_at) in [
        ("completes", Outcome::Completed, 100),
        ("fails", Outcome::Failed, 100),
        ("panics", Outcome::Panicked, 100),
        ("times out", Outcome::TimedOut, 2_000),
        ("is dropped", Outcome::Cancelled, 499),
    ] {
        let (resources, hooks) = (Probe::new(), Recorder::new());
        let booth = Booth::new(ms(2_000));
        let tool = booth.around(ending_tool(resources.clone(), hooks.clone()));
        let watch = Stopwatch::start();
        for round in 1..=5 {
            let running = AssertUnwindSafe(tool.clone().oneshot(call(name))).catch_unwind();
            match name {
                // The caller leaves.
                "is dropped" => {
                    tokio::time::timeout(ms(499), running).await.unwrap_err();
                }
                "panics" => assert!(running.await.is_err()),
                _ => assert_eq!(
                    running
                        .await
                        .unwrap()
                        .map_err(|error| error.outcome())
                        .err(),
                    (outcome != Outcome::Completed).then_some(outcome)
                ),
            }
            assert_eq!(resources.running(), 0, "{name}");
            assert_eq!((resources.started(), resources.finished()), (round, round));
        }
        assert_eq!(watch.elapsed(), ms(5 * ends_at), "{name}");
        booth.hooks_done().await;
        let lifo = ["third", "second", "first"].map(|label| (label, outcome));
        assert_eq!(hooks.values(), lifo.repeat(5), "{name}");
    }
}

#[test]
fn c1_a_shutdown_releases_everything_and_counts_every_hook() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let (resources, hooks) = (Probe::new(), Recorder::new());
    let booth = Booth::new(ms(2_000));
    let tool = booth.around(ending_tool(resources.clone(), hooks.clone()));
    runtime.block_on(async {
        for _ in 0..30 {
            tokio::spawn(tool.clone().oneshot(call("hangs")));
        }
        sleep(ms(1)).await;
    });
    assert_eq!((resources.running(), booth.permits.in_flight()), (30, 30));
    drop(runtime);

    assert_eq!((resources.running(), resources.finished()), (0, 30));
    assert_eq!(booth.permits.available(), PERMITS);
    // Nobody drained, so no hook ran; none is missing in the count.
    let report = booth.cleanup.report();
    assert_eq!((report.ran, report.failed, report.abandoned), (0, 0, 90));
    assert!(hooks.is_empty());
}

#[tokio::test(start_paused = true)]
async fn c2_cleanup_belongs_to_the_call_and_not_to_the_tool_or_its_name() {
    // One tool object: each call has its own cleanup, under its own id.
    let ends = Recorder::new();
    let hooks = ends.clone();
    let tool = tool_fn("one", move |call: CallContext, (): ()| {
        call.on_cleanup(hooks.hook_for(call.id()));
        pending::<Result<(), Infallible>>()
    });
    let booth = Booth::new(ms(100));
    let calls = (0..30).map(|n| call("one").with_id(format!("call {n}")));
    call_all(booth.around(tool), calls).await;
    booth.hooks_done().await;
    let expected: Vec<_> = (0..30)
        .map(|n| (format!("call {n}").into(), Outcome::TimedOut))
        .collect();
    assert_eq!(ends.values(), expected);

    // Thirty tools under one name: none loses its cleanup to another.
    let tools: Vec<_> = (0..30)
        .map(|_| ResourceCleanupTool::new(ms(60_000)))
        .collect();
    let running = tools
        .iter()
        .map(|tool| finish(booth.around(tool.clone()), call("same name")));
    join_all(running).await;
    booth.hooks_done().await;
    for tool in &tools {
        assert_eq!(tool.resources().finished(), 1);
        assert_eq!(tool.hooks().values(), [Outcome::TimedOut]);
    }
}

#[tokio::test(start_paused = true)]
async fn c3_drop_has_run_before_the_error_is_seen_even_when_polled_by_reference() {
    let tool = ResourceCleanupTool::new(ms(60_000));
    let booth = Booth::new(ms(2_000));
    let alone = BoxTool::new(TimeoutLayer::new(ms(2_000)).layer(tool.clone()));
    for (round, mut stack) in [alone, booth.around(tool.clone())].into_iter().enumerate() {
        let mut running = stack.ready().await.unwrap().call(call("resource"));
        let error = (&mut running).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        let resources = tool.resources();
        assert_eq!((resources.running(), resources.finished()), (0, round + 1));
        // Only here the future itself goes.
        drop(running);
        assert_eq!(resources.finished(), round + 1);
    }
}

/// Shows that the test above can fail: it does with tower's timeout.
#[tokio::test(start_paused = true)]
async fn c3_control_towers_timeout_returns_the_error_while_the_tool_is_alive() {
    let tool = ResourceCleanupTool::new(ms(60_000));
    let layer = tower::timeout::TimeoutLayer::new(ms(2_000));
    let running = layer.layer(tool.clone()).oneshot(call("resource"));
    let mut running = Box::pin(running);
    assert!((&mut running).await.is_err());
    assert_eq!(tool.resources().running(), 1);
    drop(running);
    assert_eq!(tool.resources().running(), 0);
}

#[tokio::test(start_paused = true)]
async fn c4_an_asynchronous_hook_does_not_delay_the_caller_and_drain_waits_for_it() {
    let booth = Booth::new(ms(300));
    let done = Recorder::new();
    let call = call("slow");
    let hook = done.clone();
    call.context().on_cleanup(async move |outcome| {
        sleep(ms(500)).await;
        hook.record(outcome);
    });
    let finished = finish(booth.around(SlowTool::new(ms(5_000))), call).await;
    assert_timed_out(&finished, ms(300));
    assert!(done.is_empty());

    let report = booth.cleanup.drain(ms(5_000)).await;
    assert_eq!(done.entries(), [(ms(800), Outcome::TimedOut)]);
    assert_eq!((report.ran, report.failed, report.abandoned), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn c4_a_hook_has_a_limit_of_its_own() {
    // The default is 5 s.
    for (cleanup, limit) in [
        (CleanupLayer::new(), ms(5_000)),
        (CleanupLayer::new().with_hook_limit(ms(200)), ms(200)),
    ] {
        let booth = Booth {
            cleanup,
            ..Booth::new(ms(300))
        };
        let after = Recorder::new();
        let call = call("slow");
        call.context().on_cleanup(after.hook());
        call.context().on_cleanup(|_| pending());
        let finished = finish(booth.around(SlowTool::new(ms(5_000))), call).await;
        assert_timed_out(&finished, ms(300));
        let report = booth.cleanup.drain(ms(60_000)).await;
        assert_eq!((report.ran, report.failed, report.abandoned), (1, 1, 0));
        // The one that overran stopped no other.
        assert_eq!(after.entries(), [(ms(300) + limit, Outcome::TimedOut)]);
    }
}

#[tokio::test(start_paused = true)]
async fn c6_permits_and_places_in_line_are_back_after_thirty_timeouts() {
    for (permits, started) in [(30, 30), (10, 10)] {
        let tool = SlowTool::new(ms(60_000));
        let booth = Booth {
            permits: ConcurrencyLimitLayer::new(permits),
            ..Booth::new(ms(2_000))
        };
        let tool_in_booth = booth.around(tool.clone());
        let running = tokio::spawn(call_all(tool_in_booth.clone(), calls(30)));
        sleep(ms(1)).await;
        assert_eq!(booth.permits.in_flight(), started);
        assert_eq!(booth.permits.queued(), 30 - started);
        for finished in running.await.unwrap() {
            assert_timed_out(&finished, ms(2_000));
        }
        assert_eq!(booth.permits.available(), permits);
        assert_eq!((booth.permits.in_flight(), booth.permits.queued()), (0, 0));
        // Those in line never ran.
        assert_eq!(tool.probe().started(), started);
        // And all permits can be had again, at once.
        let again = tokio::spawn(call_all(tool_in_booth, calls(permits)));
        sleep(ms(1)).await;
        assert_eq!(tool.probe().running(), permits);
        again.await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn c6_those_who_time_out_in_line_leave_it_while_others_run_on() {
    let tool = SlowTool::new(ms(60_000));
    let booth = Booth {
        permits: ConcurrencyLimitLayer::new(10),
        ..Booth::new(ms(2_000))
    };
    // The first ten, which run, may take longer than those who wait.
    let calls = (0..30).map(|n| match n < 10 {
        true => call("tool").with_timeout(ms(3_000)),
        false => call("tool"),
    });
    let watch = Stopwatch::start();
    let calls: Vec<_> = calls.collect();
    let running = tokio::spawn(call_all(booth.around(tool.clone()), calls));
    watch.until(ms(1_999)).await;
    assert_eq!(
        (booth.permits.in_flight(), booth.permits.queued()),
        (10, 20)
    );
    watch.until(ms(2_001)).await;
    assert_eq!((booth.permits.in_flight(), booth.permits.queued()), (10, 0));
    for (n, finished) in running.await.unwrap().iter().enumerate() {
        assert_timed_out(finished, ms(if n < 10 { 3_000 } else { 2_000 }));
    }
    assert_eq!(booth.permits.available(), 10);
    assert_eq!(tool.probe().started(), 10);
}

#[tokio::test(start_paused = true)]
async fn c7_each_call_has_exactly_one_terminal_event() {
    let booth = Booth {
        permits: ConcurrencyLimitLayer::new(24).with_queue_capacity(6),
        ..Booth::new(ms(2_000))
    };
    let (resources, hooks) = (Probe::new(), Recorder::new());
    let tool = booth.around(ending_tool(resources.clone(), hooks.clone()));
    let ends = Recorder::new();
    let names = ["completes", "fails", "panics", "hangs"];
    // 24 run, 6 wait for a place and get it at 100 ms, the last 6 are refused: nine of each name.
    let running = (0..36).map(|n| {
        let call = call(names[n % 4]);
        call.context().on_cleanup(ends.hook_for(n));
        AssertUnwindSafe(tool.clone().oneshot(call)).catch_unwind()
    });
    let results = join_all(running).await;
    booth.hooks_done().await;

    let mut told = ends.values();
    told.sort_by_key(|(n, _)| *n);
    let seen: Vec<_> = results.into_iter().map(outcome).enumerate().collect();
    assert_eq!(told, seen);
    let count = |outcome| told.iter().filter(|(_, told)| *told == outcome).count();
    assert_eq!(count(Outcome::Completed), 8);
    assert_eq!(count(Outcome::Failed), 8);
    assert_eq!(count(Outcome::Panicked), 7);
    assert_eq!(count(Outcome::TimedOut), 7);
    assert_eq!(count(Outcome::Rejected), 6);
    // The tool's own hooks: three for each call that it saw.
    assert_eq!((resources.started(), hooks.len()), (30, 90));
}

/// What the caller sees of an end.
fn outcome<P>(result: Result<Result<ToolOutput, ToolError>, P>) -> Outcome {
    match result {
        Ok(Ok(_)) => Outcome::Completed,
        Ok(Err(error)) => error.outcome(),
        Err(_) => Outcome::Panicked,
    }
}

// === P: partial results ===

#[tokio::test(start_paused = true)]
async fn p1_a_cut_call_hands_out_the_prefix_that_was_emitted() {
    // On a timeout, with its reason, limit and time.
    for (limit, kept) in [(499, 3), (999, 5), (1_999, 10)] {
        let tool = Booth::new(ms(limit)).around(StreamingTool::new(ms(200), 20));
        let finished = finish(tool, call("streaming")).await;
        assert_timed_out(&finished, ms(limit));
        assert_eq!(contents(&finished), StreamingTool::chunks(kept));
        assert_eq!(partial(&finished).map(Partial::dropped), Some(0));
    }
    // On a tool error.
    let fails = StreamingTool::new(ms(200), 20).with_fail_on_chunk(7);
    let finished = finish(Booth::new(ms(5_000)).around(fails), call("streaming")).await;
    assert_eq!(finished.error_kind(), Some(ErrorKind::Tool));
    assert_eq!((finished.at, contents(&finished).len()), (ms(1_400), 7));
    // When the caller has left there is only the hook to tell.
    let booth = Booth::new(ms(5_000));
    let seen = Recorder::new();
    let hook = seen.clone();
    let call = call("streaming");
    call.context().on_cleanup_with(move |end| {
        let contents = end.partial().map(|partial| partial.contents().to_vec());
        hook.record((end.outcome(), contents));
        ready(())
    });
    let running = booth.around(StreamingTool::new(ms(200), 20)).oneshot(call);
    tokio::time::timeout(ms(499), running).await.unwrap_err();
    booth.hooks_done().await;
    assert_eq!(
        seen.values(),
        [(Outcome::Cancelled, Some(StreamingTool::chunks(3)))]
    );
}

#[tokio::test(start_paused = true)]
async fn p1_a_call_that_completes_hands_out_the_whole_and_no_partial() {
    let booth = Booth::new(ms(4_001));
    let seen = Recorder::new();
    let hook = seen.clone();
    let call = call("streaming");
    call.context().on_cleanup_with(move |end| {
        hook.record((end.outcome(), end.partial().is_some()));
        ready(())
    });
    let tool = booth.around(StreamingTool::new(ms(200), 20));
    let finished = finish(tool, call).await;
    assert_eq!(
        finished.result.unwrap().contents(),
        StreamingTool::chunks(20)
    );
    booth.hooks_done().await;
    assert_eq!(seen.entries(), [(ms(4_000), (Outcome::Completed, false))]);
}

/// Without the layer nothing is kept.
#[tokio::test(start_paused = true)]
async fn p1_control_without_the_layer_there_is_no_partial() {
    let tool = TimeoutLayer::new(ms(1_999)).layer(StreamingTool::new(ms(200), 20));
    let finished = finish(BoxTool::new(tool), call("streaming")).await;
    assert_timed_out(&finished, ms(1_999));
    assert_eq!(partial(&finished), None);
}

#[tokio::test(start_paused = true)]
async fn p2_a_stream_ends_in_one_error_that_counts_what_was_delivered() {
    let booth = Booth::new(ms(1_999));
    let tool = booth.around(GeneratorTool::new(ms(500), 20));
    let mut items = tool.oneshot(call("generator")).await.unwrap().into_stream();
    for expected in GeneratorTool::items(4) {
        assert_eq!(items.next().await.unwrap().unwrap(), expected);
    }
    let error = items.next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Timeout);
    let partial = error.partial().unwrap();
    assert_eq!(partial.contents(), GeneratorTool::items(4));
    assert_eq!(partial.delivered(), 4);
    assert!(items.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn p2_collected_nothing_counts_twice() {
    let tool = Booth::new(ms(1_999)).around(GeneratorTool::new(ms(500), 20));
    let finished = finish(tool, call("generator")).await;
    assert_timed_out(&finished, ms(1_999));
    assert_eq!(contents(&finished), GeneratorTool::items(4));
    assert_eq!(partial(&finished).map(Partial::delivered), Some(0));
}

#[tokio::test(start_paused = true)]
async fn p2_emits_and_streamed_chunks_share_one_order_and_only_the_streamed_are_delivered() {
    let tool = stream_tool_fn("both", |call: CallContext, (): ()| {
        stream::iter(0..).then(move |n| {
            let call = call.clone();
            async move {
                call.emit(format!("emitted {n}"));
                sleep(ms(100)).await;
                Ok::<_, Infallible>(Content::from(format!("streamed {n}")))
            }
        })
    });
    let tool = Booth::new(ms(250)).around(tool);
    let items = tool.oneshot(call("both")).await.unwrap().into_stream();
    let mut items: Vec<_> = items.collect().await;
    let error = items.pop().unwrap().unwrap_err();
    assert_eq!(
        items.into_iter().map(Result::unwrap).collect::<Vec<_>>(),
        ["streamed 0", "streamed 1"].map(Content::from)
    );
    let partial = error.partial().unwrap();
    assert_eq!(
        partial.contents(),
        [
            "emitted 0",
            "streamed 0",
            "emitted 1",
            "streamed 1",
            "emitted 2"
        ]
        .map(Content::from)
    );
    assert_eq!(partial.delivered(), 2);
}

#[tokio::test(start_paused = true)]
async fn p3_what_is_kept_is_bounded_and_says_what_it_lost() {
    // Chunks of 7 bytes each, ten of them.
    let chunks = StreamingTool::chunks(10);
    for (layer, kept, dropped) in [
        (PartialResultLayer::new(), &chunks[..], 0),
        (PartialResultLayer::new().with_max_items(4), &chunks[..4], 6),
        (
            PartialResultLayer::new().with_max_bytes(30),
            &chunks[..4],
            6,
        ),
        (
            PartialResultLayer::new()
                .with_max_items(4)
                .with_drop_oldest(),
            &chunks[6..],
            6,
        ),
        (
            PartialResultLayer::new()
                .with_max_bytes(30)
                .with_drop_oldest(),
            &chunks[6..],
            6,
        ),
        (PartialResultLayer::new().with_max_items(0), &[], 10),
    ] {
        let booth = Booth {
            partial: layer,
            ..Booth::new(ms(1_999))
        };
        let tool = booth.around(StreamingTool::new(ms(200), 20));
        let finished = finish(tool, call("streaming")).await;
        assert_timed_out(&finished, ms(1_999));
        assert_eq!(contents(&finished), kept);
        assert_eq!(partial(&finished).map(Partial::dropped), Some(dropped));
    }
}

#[tokio::test(start_paused = true)]
async fn p3_the_default_bounds_are_1024_items_and_one_mebibyte() {
    let many = tool_fn(
        "many",
        async |call: CallContext, (size, count): (usize, usize)| {
            for _ in 0..count {
                call.emit("x".repeat(size));
            }
            Err::<(), _>("failed at the end")
        },
    );
    let tool = Booth::new(ms(1_000)).around(many);
    for (size, count, kept) in [(1, 1_034, 1_024), (256 << 10, 14, 4)] {
        let call = ToolCall::new("many", json!([size, count]));
        let finished = finish(tool.clone(), call).await;
        assert_eq!(contents(&finished).len(), kept);
        assert_eq!(partial(&finished).map(Partial::dropped), Some(10));
    }
}

#[tokio::test(start_paused = true)]
async fn p5_an_error_at_chunk_k_keeps_the_chunks_before_it() {
    for k in [0, 1, 3, 10, 19] {
        let tool = StreamingTool::new(ms(200), 20).with_fail_on_chunk(k);
        let finished = finish(Booth::new(ms(60_000)).around(tool), call("streaming")).await;
        // The error stays what it is; at chunk 0 there is nothing to attach to it.
        let error = finished.result.as_ref().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Tool);
        let source = std::error::Error::source(error).unwrap();
        assert_eq!(source.to_string(), format!("failed on chunk {k}"));
        assert_eq!(contents(&finished), StreamingTool::chunks(k));
        assert_eq!(partial(&finished).is_some(), k > 0);
    }
}

#[tokio::test(start_paused = true)]
async fn p6_a_tool_that_does_not_stream_publishes_snapshots_and_the_last_one_wins() {
    let tool = tool_fn("index", async |call: CallContext, (): ()| {
        for done in 1..=100 {
            sleep(ms(100)).await;
            call.snapshot(json!({ "items_processed": done, "total_items": 100 }));
        }
        Ok::<_, Infallible>("indexed")
    });
    for (limit, done) in [
        (99, None),
        (101, Some(1)),
        (599, Some(5)),
        (9_999, Some(99)),
    ] {
        let finished = finish(Booth::new(ms(limit)).around(tool.clone()), call("index")).await;
        assert_timed_out(&finished, ms(limit));
        let snapshot =
            done.map(|done| Content::from(json!({ "items_processed": done, "total_items": 100 })));
        assert_eq!(
            partial(&finished).and_then(Partial::snapshot),
            snapshot.as_ref()
        );
        assert_eq!(contents(&finished), []);
    }
}

/// Tries a second time whatever may be tried again.
#[derive(Clone)]
struct Again(bool);

impl Policy<ToolCall, ToolOutput, ToolError> for Again {
    type Future = Ready<()>;

    fn retry(
        &mut self,
        _: &mut ToolCall,
        result: &mut Result<ToolOutput, ToolError>,
    ) -> Option<Ready<()>> {
        let retryable = result.as_ref().is_err_and(ToolError::is_retryable);
        (retryable && std::mem::take(&mut self.0)).then(|| ready(()))
    }

    fn clone_request(&mut self, call: &ToolCall) -> Option<ToolCall> {
        Some(call.clone())
    }
}

#[tokio::test(start_paused = true)]
async fn p7_a_partial_is_no_success_and_nobody_retries_without_a_policy() {
    let tool = StreamingTool::new(ms(200), 20);
    let booth = Booth::new(ms(499));
    let ends = Recorder::new();
    let once = call("streaming");
    once.context().on_cleanup(ends.hook());
    let finished = finish(booth.around(tool.clone()), once).await;
    booth.hooks_done().await;
    assert_eq!(contents(&finished).len(), 3);
    assert_eq!(finished.error_kind(), Some(ErrorKind::Timeout));
    assert_eq!(ends.values(), [Outcome::TimedOut]);
    assert_eq!(tool.probe().started(), 1);

    // With a policy that says so it runs again, and is still none.
    let tool = StreamingTool::new(ms(200), 20);
    let retried = BoxTool::new(Retry::new(Again(true), booth.around(tool.clone())));
    let finished = finish(retried, call("streaming")).await;
    assert_eq!(finished.at, ms(998));
    assert_eq!(finished.error_kind(), Some(ErrorKind::Timeout));
    assert_eq!(contents(&finished), StreamingTool::chunks(3));
    assert_eq!(tool.probe().started(), 2);
}

// === T: time limits ===

#[tokio::test(start_paused = true)]
async fn t1_the_call_goes_before_the_tool_and_the_tool_before_the_layer() {
    let limits = PerTool::new(ms(1_000))
        .with("db", ms(500))
        .with("file", None);
    let tool = BoxTool::new(TimeoutLayer::new(limits).layer(SlowTool::new(ms(60_000))));
    for (call, limit) in [
        (call("other"), 1_000),
        (call("db"), 500),
        (call("db").with_timeout(ms(2_000)), 2_000),
        (call("db").with_timeout(ms(100)), 100),
        (call("other").with_timeout(ms(2_000)), 2_000),
        (call("file").with_timeout(ms(300)), 300),
    ] {
        assert_timed_out(&finish(tool.clone(), call).await, ms(limit));
    }
    let unlimited = finish(tool, call("file")).await;
    assert_eq!((unlimited.is_ok(), unlimited.at), (true, ms(60_000)));
}

#[tokio::test(start_paused = true)]
async fn t1_an_enclosing_deadline_is_always_a_cap() {
    let limits = PerTool::new(ms(1_000)).with("db", ms(500));
    let tool = BoxTool::new(TimeoutLayer::new(limits).layer(SlowTool::new(ms(60_000))));
    for (name, own, within, scope, limit) in [
        ("db", None, 300, TimeoutScope::Deadline, 300),
        ("db", None, 501, TimeoutScope::Total, 500),
        ("other", None, 800, TimeoutScope::Deadline, 800),
        ("db", Some(ms(5_000)), 800, TimeoutScope::Deadline, 800),
    ] {
        let mut call = call(name).with_deadline(Instant::now() + ms(within));
        if let Some(own) = own {
            call = call.with_timeout(own);
        }
        let finished = finish(tool.clone(), call).await;
        let expected = (scope, ms(limit), ms(limit));
        assert_eq!(timeout(&finished), Some(expected));
        assert_eq!(finished.at, ms(limit));
    }
}

#[tokio::test(start_paused = true)]
async fn t1_a_limit_further_out_is_a_cap_and_the_call_replaces_only_the_outermost() {
    let nested = |outer, inner| {
        BoxTool::new(
            ServiceBuilder::new()
                .layer(TimeoutLayer::new(ms(outer)))
                .layer(TimeoutLayer::new(ms(inner)))
                .service(SlowTool::new(ms(60_000))),
        )
    };
    assert_timed_out(&finish(nested(300, 500), call("db")).await, ms(300));
    assert_timed_out(&finish(nested(500, 300), call("db")).await, ms(300));
    let longer = call("db").with_timeout(ms(2_000));
    assert_timed_out(&finish(nested(1_000, 400), longer).await, ms(400));
    let longer = call("db").with_timeout(ms(2_000));
    assert_timed_out(&finish(nested(1_000, 5_000), longer).await, ms(2_000));
}

#[tokio::test(start_paused = true)]
async fn t2_db_5_s_file_30_s_api_10_s() {
    let limits = PerTool::none()
        .with("db", ms(5_000))
        .with("file", ms(30_000))
        .with("api", ms(10_000));
    let run = async |work: Duration, within: Option<Duration>| {
        let tool = TimeoutLayer::new(limits.clone()).layer(SlowTool::new(work));
        let calls = ["db", "api", "file"].map(|name| match within {
            Some(within) => call(name).with_deadline(Instant::now() + within),
            None => call(name),
        });
        let finished = call_all(tool, calls).await;
        finished
            .into_iter()
            .map(|finished| (finished.at, timeout(&finished).map(|(scope, ..)| scope)))
            .collect::<Vec<_>>()
    };
    let (total, deadline) = (Some(TimeoutScope::Total), Some(TimeoutScope::Deadline));
    assert_eq!(
        run(ms(6_000), None).await,
        [(ms(5_000), total), (ms(6_000), None), (ms(6_000), None)]
    );
    assert_eq!(
        run(ms(20_000), None).await,
        [(ms(5_000), total), (ms(10_000), total), (ms(20_000), None)]
    );
    assert_eq!(
        run(ms(20_000), Some(ms(8_000))).await,
        [
            (ms(5_000), total),
            (ms(8_000), deadline),
            (ms(8_000), deadline)
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn t3_the_wait_and_the_work_have_limits_of_their_own_and_the_total_covers_both() {
    // One call runs for 300 ms, the other waits for it.
    let run = async |total: Option<Duration>, wait: Option<Duration>, work: Option<Duration>| {
        let permits = ConcurrencyLimitLayer::new(1);
        let permits = match wait {
            Some(wait) => permits.with_max_wait(wait),
            None => permits,
        };
        let tool = ServiceBuilder::new()
            .layer(TimeoutLayer::new(total))
            .layer(permits.clone())
            .layer(TimeoutLayer::new(work))
            .service(tool_fn("work", async |takes: u64| {
                sleep(ms(takes)).await;
                Ok::<_, Infallible>("done")
            }));
        let calls = [300, 1_000].map(|takes| ToolCall::new("work", json!(takes)));
        let mut finished = call_all(tool, calls).await;
        assert_eq!((finished[0].is_ok(), finished[0].at), (true, ms(300)));
        assert_eq!((permits.available(), permits.queued()), (1, 0));
        finished.remove(1)
    };

    let done = run(None, None, None).await;
    assert_eq!((done.is_ok(), done.at), (true, ms(1_300)));

    let waited = run(None, Some(ms(200)), None).await;
    assert_eq!(waited.at, ms(200));
    let Err(ToolError::Overloaded { reason, .. }) = waited.result else {
        panic!("it waited too long: {:?}", waited.result);
    };
    assert_eq!(reason, OverloadReason::waited_too_long(ms(200)));

    // The limit on the work begins when the call is admitted.
    let worked = run(None, Some(ms(301)), Some(ms(500))).await;
    assert_eq!(worked.at, ms(800));
    assert_eq!(
        timeout(&worked),
        Some((TimeoutScope::Total, ms(500), ms(800)))
    );

    // Around both it strikes in the wait as in the work.
    assert_timed_out(&run(Some(ms(301)), None, Some(ms(500))).await, ms(301));
    assert_timed_out(&run(Some(ms(600)), None, None).await, ms(600));
}

#[tokio::test(start_paused = true)]
async fn t3_a_total_limit_strikes_in_the_queue() {
    let permits = ConcurrencyLimitLayer::new(1);
    let tool = SlowTool::new(ms(1_000));
    let stack = ServiceBuilder::new()
        .layer(TimeoutLayer::new(PerTool::none().with("hasty", ms(250))))
        .layer(permits.clone())
        .service(tool.clone());
    let finished = call_all(stack, [call("patient"), call("hasty")]).await;
    assert_eq!((finished[0].is_ok(), finished[0].at), (true, ms(1_000)));
    assert_timed_out(&finished[1], ms(250));
    assert_eq!(tool.probe().started(), 1);
    assert_eq!((permits.available(), permits.queued()), (1, 0));
}

/// 300 ms for each attempt, 1 s for the call: four attempts, of which the last has what is left.
#[tokio::test(start_paused = true)]
async fn t4_each_attempt_has_a_limit_and_the_call_as_a_whole_another() {
    /// Tries again as often as it fails in a way that may pass.
    #[derive(Clone)]
    struct Always;

    impl Policy<ToolCall, ToolOutput, ToolError> for Always {
        type Future = Ready<()>;

        fn retry(
            &mut self,
            _: &mut ToolCall,
            result: &mut Result<ToolOutput, ToolError>,
        ) -> Option<Ready<()>> {
            let retryable = result.as_ref().is_err_and(ToolError::is_retryable);
            retryable.then(|| ready(()))
        }

        fn clone_request(&mut self, call: &ToolCall) -> Option<ToolCall> {
            Some(call.clone())
        }
    }

    let tool = SlowTool::new(ms(5_000));
    let stack = ServiceBuilder::new()
        .layer(TimeoutLayer::new(ms(1_000)))
        .layer_fn(|inner| Retry::new(Always, inner))
        .layer(TimeoutLayer::new(ms(300)))
        .service(tool.clone());
    let finished = finish(BoxTool::new(stack), call("slow")).await;
    assert_timed_out(&finished, ms(1_000));
    assert_eq!((tool.probe().started(), tool.probe().running()), (4, 0));
}

#[tokio::test(start_paused = true)]
async fn t5_no_limit_and_a_limit_of_zero() {
    let hour = ms(3_600_000);
    for layer in [
        TimeoutLayer::unlimited(),
        TimeoutLayer::new(Duration::MAX),
        TimeoutLayer::new(None),
    ] {
        let finished = finish(BoxTool::new(layer.layer(SlowTool::new(hour))), call("slow")).await;
        assert_eq!((finished.is_ok(), finished.at), (true, hour));
    }
    // The call can lift the layer's limit.
    let lifted = call("slow").with_timeout(Duration::MAX);
    let tool = BoxTool::new(TimeoutLayer::new(ms(1_000)).layer(SlowTool::new(hour)));
    let finished = finish(tool, lifted).await;
    assert_eq!((finished.is_ok(), finished.at), (true, hour));

    let zero = TimeoutLayer::new(Duration::ZERO);
    let at_once = tool_fn("at once", async |(): ()| Ok::<_, Infallible>("done"));
    let finished = finish(BoxTool::new(zero.layer(at_once)), call("at once")).await;
    assert_eq!((finished.is_ok(), finished.at), (true, ms(0)));
    let tool = BoxTool::new(zero.layer(SlowTool::new(ms(1))));
    assert_timed_out(&finish(tool, call("slow")).await, ms(0));
}

#[tokio::test(start_paused = true)]
async fn t6_a_tools_own_timeout_is_not_ours() {
    let tool = Booth::new(ms(3_000)).around(ErrorInjectionTool::new());
    let own = ToolCall::new(
        "inject",
        ErrorInjectionTool::args(InjectedError::Timeout, ms(0)),
    );
    let finished = finish(tool, own).await;
    let error = finished.result.unwrap_err();
    assert_eq!(
        (error.kind(), error.outcome()),
        (ErrorKind::Tool, Outcome::Failed)
    );
    assert_eq!(injected(&error), Some(InjectedError::Timeout));
    assert!(!error.is_retryable());

    // tokio's, which a tool that bounds its own steps returns, is the tool's as well.
    let bounded = tool_fn("bounded", async |(): ()| {
        tokio::time::timeout(ms(100), pending::<()>()).await
    });
    let finished = finish(Booth::new(ms(3_000)).around(bounded), call("bounded")).await;
    assert_eq!(finished.error_kind(), Some(ErrorKind::Tool));
    assert_eq!(finished.at, ms(100));

    let ours = Booth::new(ms(3_000)).around(SlowTool::new(ms(5_000)));
    assert_timed_out(&finish(ours, call("slow")).await, ms(3_000));
}

#[tokio::test(start_paused = true)]
async fn t6_a_tools_own_error_is_the_source_and_is_found_there_by_downcast() {
    let tool = Booth::new(ms(3_000)).around(ErrorInjectionTool::new());
    let args = ErrorInjectionTool::args(InjectedError::Timeout, ms(0));
    let finished = finish(tool, ToolCall::new("inject", args)).await;
    let error = finished.result.unwrap_err();
    let source = std::error::Error::source(&error).unwrap();
    assert_eq!(source.to_string(), "simulated timeout error");
    assert_eq!(source.downcast_ref(), Some(&InjectedError::Timeout));
}

/// Loops for a while over something that is always ready, which its name says: it never waits, and only uses up the
/// budget that tokio gives to a task.
async fn always_ready(name: &str, lasts: Duration) {
    let started = Instant::now();
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let semaphore = Semaphore::new(1);
    while started.elapsed() < lasts {
        match name {
            "budget" => consume_budget().await,
            "channel" => {
                sender.send(()).expect("the receiver is here");
                receiver.recv().await.expect("the sender is here");
            }
            _ => drop(semaphore.acquire().await),
        }
    }
}

/// On the real clock: a paused one stands still while a task can run.
#[tokio::test]
async fn t7_a_tool_that_only_uses_up_its_budget_is_cut() {
    for name in ["budget", "channel", "semaphore"] {
        let probe = Probe::new();
        let inside = probe.clone();
        let tool = tool_fn("busy", move |call: CallContext, (): ()| {
            let inside = inside.enter();
            async move {
                always_ready(call.tool(), ms(1_500)).await;
                drop(inside);
                Ok::<_, Infallible>("done")
            }
        });
        let alone = BoxTool::new(TimeoutLayer::new(ms(50)).layer(tool.clone()));
        for stack in [alone, Booth::new(ms(50)).around(tool)] {
            let finished = finish(stack, call(name)).await;
            assert_eq!(finished.error_kind(), Some(ErrorKind::Timeout), "{name}");
            assert!(finished.at >= ms(50), "{name}: {:?}", finished.at);
            assert!(finished.at < ms(1_500), "{name}: {:?}", finished.at);
            assert_eq!(probe.running(), 0, "{name}");
        }
    }
}

/// Shows that the test above can fail: it does with tower's timeout.
#[tokio::test]
async fn t7_control_towers_timeout_does_not_cut_it() {
    let tool = service_fn(async |_: ToolCall| {
        always_ready("budget", ms(200)).await;
        Ok::<_, ToolError>(ToolOutput::text("done"))
    });
    let tool = tower::timeout::TimeoutLayer::new(ms(50)).layer(tool);
    assert!(tool.oneshot(call("busy")).await.is_ok());
}
