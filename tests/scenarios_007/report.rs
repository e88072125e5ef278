//! The scenarios of the report's runner, and its pipelines, which it specifies without results.

use toolbooth::Toolbox;
use toolbooth_test::assert_released;

use super::*;

// === the report's runner ===

/// D2: a mock tool, a probe, a recorder and the paused clock.
#[tokio::test(start_paused = true)]
async fn slow_tool_timeout() {
    let tool = SlowTool::new(ms(5_000));
    let booth = booth(ms(2_000));
    let ends = Recorder::new();
    let call = call("slow");
    call.context().on_cleanup(ends.hook());

    let finished = finish(booth.wrap(tool.clone()), call).await;
    assert_timed_out(&finished, ms(2_000));
    assert_eq!((tool.probe().running(), tool.probe().finished()), (0, 1));
    hooks_end(&booth).await;
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
        let tool = booth(ms(limit)).wrap(PartialResultTool::new(ms(500)));
        let finished = finish(tool, call("partial")).await;
        assert_timed_out(&finished, ms(limit));
        assert_eq!(partial(&finished).and_then(Partial::snapshot), expected);
        assert_eq!(contents(&finished), []);
    }
}

/// P1.
#[tokio::test(start_paused = true)]
async fn streaming_tool_timeout() {
    // The chunk that is emitted at the instant of the limit is kept: work that is ready counts.
    for (limit, kept) in [(499, 3), (999, 5), (1_999, 10), (2_000, 11)] {
        let tool = booth(ms(limit)).wrap(StreamingTool::new(ms(200), 20));
        let finished = finish(tool, call("streaming")).await;
        assert_timed_out(&finished, ms(limit));
        assert_eq!(contents(&finished), StreamingTool::chunks(kept));
        assert_eq!(partial(&finished).map(Partial::dropped), Some(0));
    }
    let tool = booth(ms(5_000)).wrap(StreamingTool::new(ms(200), 20));
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
        let booth = booth(ms(3_000));
        let watch = Stopwatch::start();
        let finished = call_all(booth.wrap(tool.clone()), calls(count)).await;
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
async fn ten_thousand_timeouts_expire_on_time_and_leak_nothing() {
    let tool = SlowTool::new(ms(5_000));
    let booth = booth(ms(1_000));
    let finished = call_all(booth.wrap(tool.clone()), calls(10_000)).await;
    assert_eq!(finished.len(), 10_000);
    assert!(finished.iter().all(|finished| finished.at == ms(1_000)));
    assert!(finished.iter().all(|finished| timeout(finished).is_some()));
    let probe = tool.probe();
    assert_eq!((probe.max(), probe.running()), (10_000, 0));
    assert_eq!(booth.limit.available(), PERMITS);
    assert_eq!(booth.limit.queued(), 0);
}

#[tokio::test(start_paused = true)]
async fn resource_cleanup_of_one_shared_tool() {
    for count in [30, 50, 100] {
        let tool = ResourceCleanupTool::new(ms(60_000));
        let booth = booth(ms(2_000));
        let finished = call_all(booth.wrap(tool.clone()), calls(count)).await;
        let resources = tool.resources();
        assert_eq!(resources.running(), 0);
        assert_eq!((resources.started(), resources.finished()), (count, count));
        for finished in &finished {
            assert_timed_out(finished, ms(2_000));
        }
        hooks_end(&booth).await;
        assert_eq!(tool.hooks().values(), vec![Outcome::TimedOut; count]);
    }
}

/// Each name is a tool of its own, and each of its calls cleans up.
#[tokio::test(start_paused = true)]
async fn resource_cleanup_of_thirty_tools() {
    let booth = booth(ms(2_000));
    let tools: Vec<_> = (0..30)
        .map(|_| ResourceCleanupTool::new(ms(60_000)))
        .collect();
    let names: Vec<_> = (0..30).map(|n| format!("tool_{n}")).collect();
    let mut toolbox = Toolbox::builder();
    for (name, tool) in names.iter().zip(&tools) {
        toolbox = toolbox.tool(name.as_str(), tool.clone());
    }
    let toolbox = booth.wrap(toolbox.build().unwrap());
    let finished = call_all(toolbox, names.iter().map(|name| call(name.as_str()))).await;
    assert_timed_out(&finished, ms(2_000));
    for tool in &tools {
        assert_released(tool.resources(), 1);
    }
    hooks_end(&booth).await;
    for tool in &tools {
        assert_eq!(tool.hooks().values(), [Outcome::TimedOut]);
    }
}

#[tokio::test(start_paused = true)]
async fn async_generator_timeout() {
    // (limit, items that the consumer reads, items that it gets, expires, outcome)
    let cases = [
        (1_999, 5, 4, true, Outcome::TimedOut),
        (2_001, 5, 5, false, Outcome::Cancelled),
        (999, 10, 2, true, Outcome::TimedOut),
        (1_999, 10, 4, true, Outcome::TimedOut),
        (2_999, 10, 6, true, Outcome::TimedOut),
    ];
    for (limit, wanted, got, expires, outcome) in cases {
        let tool = GeneratorTool::new(ms(500), 20);
        let booth = booth(ms(limit));
        let inner_ends = Recorder::new();
        let outer_ends = Recorder::new();

        // The outer scope is a tool with its own limit that reads the stream of the inner tool.
        let (generator, ends) = (booth.wrap(tool.clone()), inner_ends.clone());
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
        let outer_booth = super::booth(ms(10_000));
        let outer = call("reader");
        outer.context().on_cleanup(outer_ends.hook());
        let finished = finish(outer_booth.wrap(reader), outer).await;

        let error = expires.then_some("timeout");
        assert_eq!(
            finished.result.unwrap().contents(),
            [json!([got, error]).into()]
        );
        assert_eq!(finished.at, if expires { ms(limit) } else { ms(2_000) });
        assert_eq!((tool.probe().running(), tool.probe().finished()), (0, 1));
        hooks_end(&booth).await;
        hooks_end(&outer_booth).await;
        assert_eq!(inner_ends.values(), [outcome]);
        assert_eq!(outer_ends.values(), [Outcome::Completed]);
    }
}

#[tokio::test(start_paused = true)]
async fn error_injection() {
    let tool = ErrorInjectionTool::new();
    let booth = booth(ms(3_000));
    let stack = booth.wrap(tool.clone());
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
        // The error of the tool is the source, and it is no timeout of a layer.
        assert_eq!(finished.result.as_ref().err().and_then(injected), error);
        assert_eq!(timeout(&finished), None);
        hooks_end(&booth).await;
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

// === the report's pipelines ===

#[tokio::test(start_paused = true)]
async fn slow_tool_at_each_limit() {
    for limit in [500, 1_000, 4_999] {
        let tool = booth(ms(limit)).wrap(SlowTool::new(ms(5_000)));
        assert_timed_out(&finish(tool, call("slow")).await, ms(limit));
    }
    assert_timed_out(
        &finish(
            booth(ms(1_000)).wrap(SlowTool::new(ms(10_000))),
            call("slow"),
        )
        .await,
        ms(1_000),
    );
    // 5000 is a tie: a response that is ready when the limit expires wins.
    for limit in [5_000, 5_001, 10_000] {
        let tool = booth(ms(limit)).wrap(SlowTool::new(ms(5_000)));
        let finished = finish(tool, call("slow")).await;
        assert_eq!((finished.is_ok(), finished.at), (true, ms(5_000)));
    }
}

#[tokio::test(start_paused = true)]
async fn unknown_tool_is_a_typed_error_and_never_a_success() {
    let toolbox = Toolbox::builder().tool("slow", SlowTool::new(ms(500)));
    let toolbox = toolbox.build().unwrap();
    let booth = booth(ms(1_000));
    let ends = Recorder::new();
    for tool in ["slow", "slow_tool"] {
        let call = call(tool);
        call.context().on_cleanup(ends.hook_for(tool));
        let finished = finish(booth.wrap(toolbox.clone()), call).await;
        let expected = (tool == "slow_tool").then_some(ErrorKind::UnknownTool);
        assert_eq!(finished.error_kind(), expected);
    }
    hooks_end(&booth).await;
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
    let tool = booth(ms(2_000)).wrap(worker);
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

/// No busy polling: only the limit wakes a call.
#[tokio::test(start_paused = true)]
async fn timeout_wakes_its_call_once() {
    let tool = booth(ms(2_000)).wrap(SlowTool::new(ms(5_000)));
    let (response, wakes) = count_wakes(tool.oneshot(call("slow"))).await;
    assert_eq!(response.unwrap_err().kind(), ErrorKind::Timeout);
    assert_eq!(wakes, 1);
}
