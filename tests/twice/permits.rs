//! The same `ConcurrencyLimitLayer` value around a toolbox and around its tools.

use super::*;

/// Free permits, running calls, queued calls.
fn counts(limit: &ConcurrencyLimitLayer) -> (usize, usize, usize) {
    (limit.available(), limit.in_flight(), limit.queued())
}

/// Adds a layer inside of the outer limit.
type Between = fn(BoxTool) -> BoxTool;

const BETWEEN: [(&str, Between); 4] = [
    ("nothing", |tool| tool),
    ("a timeout", |tool| {
        boxed(TimeoutLayer::new(MINUTE).layer(tool))
    }),
    ("a task", |tool| boxed(SpawnLayer::new().layer(tool))),
    ("a retry", |tool| retried(tool, 1)),
];

/// Case F1. Also with other layers in between.
#[tokio::test(start_paused = true)]
async fn limit_around_toolbox_and_tool_takes_one_permit_for_each_call() {
    for (case, between) in BETWEEN {
        for permits in [1, 2] {
            let (limit, inside) = (ConcurrencyLimitLayer::new(permits), Probe::new());
            let stack = limit.layer(between(boxed(limit.layer(slow(&inside)))));
            let finished = run_all(stack, calls(2 * permits)).await;
            let mut expected = vec![(true, 10); permits];
            expected.extend(vec![(true, 20); permits]);
            assert_eq!(ends(&finished), expected, "{case}, {permits}");
            assert_eq!((inside.max(), inside.started()), (permits, 2 * permits));
            assert_eq!(counts(&limit), (permits, 0, 0), "{case}, {permits}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn limit_may_be_stacked_five_times() {
    let (limit, inside) = (ConcurrencyLimitLayer::new(1), Probe::new());
    let five = (0..5).fold(slow(&inside), |tool, _| boxed(limit.layer(tool)));
    assert_eq!(
        ends(&run_all(five, calls(2)).await),
        [(true, 10), (true, 20)]
    );
    assert_eq!(counts(&limit), (1, 0, 0));
}

/// More limits than a context has slots for.
#[tokio::test(start_paused = true)]
async fn each_of_nine_limits_may_be_stacked_twice() {
    let limits: Vec<_> = (0..9).map(|_| ConcurrencyLimitLayer::new(1)).collect();
    let inside = Probe::new();
    let around = |tool| {
        let limits = limits.iter();
        limits.fold(tool, |tool, limit| boxed(limit.layer(tool)))
    };
    let finished = run_all(around(around(slow(&inside))), calls(2)).await;
    assert_eq!(ends(&finished), [(true, 10), (true, 20)]);
    assert!(limits.iter().all(|limit| counts(limit) == (1, 0, 0)));
}

#[tokio::test(start_paused = true)]
async fn every_attempt_inside_of_a_limit_shares_its_permit() {
    let limit = ConcurrencyLimitLayer::new(1);
    let inner = boxed(limit.layer(succeeds_at(4)));
    let stack = limit.layer(retried(inner, 3));
    let output = in_time(stack.oneshot(call("tool"))).await.unwrap();
    assert_eq!(output.collect().await.unwrap().text(), "done");
    assert_eq!(counts(&limit), (1, 0, 0));
}

/// An attempt outside of the limit has a permit of its own.
#[tokio::test(start_paused = true)]
async fn attempts_outside_of_a_limit_take_turns() {
    let limit = ConcurrencyLimitLayer::new(1);
    let twice = boxed(limit.layer(limit.layer(succeeds_at(2))));
    let finished = run_all(retried(twice, 1), calls(1)).await;
    assert_eq!(ends(&finished), [(true, 0)]);
    assert_eq!(counts(&limit), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn permit_of_another_key_is_acquired() {
    let limit = ConcurrencyLimitLayer::by(1, |call| call.tenant().unwrap_or("none").into());
    let inside = Probe::new();
    let inner = boxed(limit.layer(slow(&inside)));
    let held = tokio::spawn(inner.clone().oneshot(call("tool").with_tenant("b")));
    sleep(ms(5)).await;
    // A layer of the user's that changes the key of the call.
    let renames = service_fn(move |call: ToolCall| inner.clone().oneshot(call.with_tenant("b")));
    let stack = limit.layer(boxed(renames));
    let started = tokio::time::Instant::now();
    let running = tokio::spawn(stack.clone().oneshot(call("tool").with_tenant("a")));
    sleep(ms(1)).await;
    assert_eq!((limit.in_flight(), limit.queued()), (2, 1));
    assert!(in_time(running).await.unwrap().is_ok());
    assert_eq!(started.elapsed(), ms(15));
    assert!(in_time(held).await.unwrap().is_ok());
    // The same key, although it is another attempt.
    let same = stack.oneshot(call("tool").with_tenant("b"));
    assert!(in_time(same).await.is_ok());
    assert_eq!((limit.in_flight(), limit.queued()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn permit_of_another_tool_is_acquired_by_a_child_call() {
    let limit = ConcurrencyLimitLayer::per_tool(1);
    let inside = Probe::new();
    let inner = boxed(limit.layer(slow(&inside)));
    let forwards = service_fn(move |call: ToolCall| {
        let child = call.context().child("inner", json!(null));
        let inner = inner.clone();
        async move { inner.oneshot(child?).await }
    });
    let stack = boxed(limit.layer(boxed(forwards)));
    let started = tokio::time::Instant::now();
    // Two tools that call the same one.
    let finished = run_all(stack.clone(), ["one", "two"].map(call)).await;
    assert!(finished.iter().all(Finished::is_ok));
    assert_eq!((started.elapsed(), inside.max()), (ms(20), 1));
    // A tool that calls itself.
    assert!(in_time(stack.oneshot(call("inner"))).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn first_cost_counts() {
    let limit = ConcurrencyLimitLayer::new(3);
    let costs = |permits: usize| limit.clone().with_cost(move |_| permits);
    // The inner cost, the outer one, and the permits that are taken.
    for (outer, inner, taken) in [(2, 1, 2), (1, 3, 1), (1, 9, 1), (0, 2, 2), (3, 0, 3)] {
        let inside = Probe::new();
        let stack = costs(outer).layer(costs(inner).layer(slow(&inside)));
        let running = tokio::spawn(stack.oneshot(call("tool")));
        sleep(ms(1)).await;
        assert_eq!(limit.in_flight(), taken, "{outer} outside of {inner}");
        assert!(in_time(running).await.unwrap().is_ok());
        assert_eq!(limit.in_flight(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn permit_is_held_to_the_end_of_a_stream_and_released_once() {
    let limit = ConcurrencyLimitLayer::new(1);
    let stack = limit.layer(limit.layer(GeneratorTool::new(ms(10), 2)));
    for reads in [0, 1, 3] {
        let response = in_time(stack.clone().oneshot(call("tool"))).await.unwrap();
        let mut items = response.into_stream();
        for _ in 0..reads {
            futures_util::StreamExt::next(&mut items).await;
        }
        let held = usize::from(reads < 3);
        assert_eq!(limit.in_flight(), held, "{reads}");
        drop(items);
        assert_eq!(counts(&limit), (1, 0, 0), "{reads}");
    }
}

/// Before the first poll, in the queue, in the tool.
#[tokio::test(start_paused = true)]
async fn dropped_and_failed_calls_release_the_permit_once() {
    let limit = ConcurrencyLimitLayer::new(1);
    let pending = ScriptedTool::pending();
    let stack = limit.layer(boxed(limit.layer(pending.handle())));
    let unpolled = Service::call(&mut stack.clone(), call("tool"));
    assert_eq!(counts(&limit), (0, 1, 0));
    drop(unpolled);
    assert_eq!(counts(&limit), (1, 0, 0));

    let running = tokio::spawn(stack.clone().oneshot(call("tool")));
    sleep(ms(1)).await;
    let queued = tokio::spawn(stack.clone().oneshot(call("tool")));
    sleep(ms(1)).await;
    assert_eq!(counts(&limit), (0, 1, 1));
    queued.abort();
    assert!(queued.await.unwrap_err().is_cancelled());
    assert_eq!(counts(&limit), (0, 1, 0));
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    assert_eq!(counts(&limit), (1, 0, 0));

    for tool in [
        ScriptedTool::panics_in_call(),
        ScriptedTool::panics_in_future(),
    ] {
        let stack = limit.layer(boxed(limit.layer(tool)));
        let panicked = tokio::spawn(stack.oneshot(call("tool"))).await;
        assert!(panicked.unwrap_err().is_panic());
        assert_eq!(counts(&limit), (1, 0, 0));
    }
}

/// The outer layer admitted the call by the previous limit.
#[tokio::test(start_paused = true)]
async fn change_of_the_limit_between_the_layers_stops_no_call() {
    let (limit, inside) = (ConcurrencyLimitLayer::new(2), Probe::new());
    let inner = boxed(limit.layer(slow(&inside)));
    let pauses = service_fn(move |call: ToolCall| {
        let inner = inner.clone();
        async move {
            sleep(ms(10)).await;
            inner.oneshot(call).await
        }
    });
    let stack = limit.layer(boxed(pauses));
    let running = tokio::spawn(run_all(stack, calls(3)));
    sleep(ms(5)).await;
    limit.set_limit(1).unwrap();
    assert_eq!(counts(&limit), (0, 2, 1));
    let finished = in_time(running).await.unwrap();
    assert_eq!(ends(&finished), [(true, 20), (true, 20), (true, 40)]);
    assert_eq!(counts(&limit), (1, 0, 0));
}

/// Parallel children share the permit of the call that makes them.
#[tokio::test(start_paused = true)]
async fn children_share_the_permit_of_their_parent() {
    let (limit, inside) = (ConcurrencyLimitLayer::new(1), Probe::new());
    let inner = boxed(limit.layer(slow(&inside)));
    let forks = service_fn(move |call: ToolCall| {
        let children = [(); 3].map(|()| call.context().child("inner", json!(null)));
        let inner = inner.clone();
        async move {
            let children = children.map(|child| child.expect("not deep"));
            let finished = run_all(inner, children).await;
            assert!(finished.iter().all(Finished::is_ok));
            Ok::<_, ToolError>(ToolOutput::text("done"))
        }
    });
    let stack = limit.layer(boxed(forks));
    let finished = run_all(stack, calls(2)).await;
    assert_eq!(ends(&finished), [(true, 10), (true, 20)]);
    assert_eq!((inside.max(), counts(&limit)), (3, (1, 0, 0)));
}
