//! L: the concurrency limit.

use super::*;

#[tokio::test(start_paused = true)]
async fn l1_as_many_as_the_limit_run_and_no_more() {
    for (limit, takes) in [(1, 1_000), (3, 340), (5, 200), (10, 100), (100, 10)] {
        let tool = FastTool::new();
        let stack = ConcurrencyLimitLayer::new(limit).layer(tool.clone());
        let finished = call_all(stack, calls(100)).await;
        assert_eq!(count_ok(&finished), 100);
        assert_eq!(last_ok(&finished), Some(ms(takes)));
        assert_eq!(tool.probe().max(), limit);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn l1_on_four_threads_the_limit_is_never_exceeded() {
    let probe = Probe::new();
    let inside = probe.clone();
    let tool = tool_fn("tool", move |(): ()| {
        let inside = inside.clone();
        async move {
            let _inside = inside.enter();
            for _ in 0..3 {
                yield_now().await;
            }
            Ok::<_, Infallible>("done")
        }
    });
    let limit = ConcurrencyLimitLayer::new(7).with_queue_capacity(5_000);
    let finished = call_all(limit.layer(tool), calls(5_000)).await;
    assert_eq!(count_ok(&finished), 5_000);
    assert!(probe.max() <= 7, "{}", probe.max());
    assert_eq!((probe.started(), probe.finished()), (5_000, 5_000));
    assert_eq!((limit.available(), limit.queued()), (7, 0));
}

#[tokio::test(start_paused = true)]
async fn l1_one_limit_is_one_over_several_tools_and_a_new_value_is_a_new_limit() {
    let limit = ConcurrencyLimitLayer::new(5);
    let tool = FastTool::new();
    let (one, other) = (limit.layer(tool.clone()), limit.clone().layer(tool.clone()));
    let (one, other) = tokio::join!(call_all(one, calls(25)), call_all(other, calls(25)));
    assert_eq!(count_ok(&one) + count_ok(&other), 50);
    assert_eq!(last_ok(&one).max(last_ok(&other)), Some(ms(100)));
    assert_eq!(tool.probe().max(), 5);

    let tool = FastTool::new();
    let [one, other] = [5, 5].map(|limit| ConcurrencyLimitLayer::new(limit).layer(tool.clone()));
    let (one, other) = tokio::join!(call_all(one, calls(25)), call_all(other, calls(25)));
    assert_eq!(last_ok(&one).max(last_ok(&other)), Some(ms(50)));
    assert_eq!(tool.probe().max(), 10);
}

fn overload(finished: &Finished) -> Option<OverloadReason> {
    match finished.result {
        Err(ToolError::Overloaded { reason, .. }) => Some(reason),
        _ => None,
    }
}

#[tokio::test(start_paused = true)]
async fn l3_when_full_a_bounded_number_waits_and_the_others_are_refused() {
    for (waiting, last) in [(0, 100), (2, 200), (5, 400)] {
        let tool = SlowTool::new(ms(100));
        let limit = ConcurrencyLimitLayer::new(2).with_queue_capacity(waiting);
        let finished = call_all(limit.layer(tool.clone()), calls(10)).await;
        let (served, refused) = finished.split_at(2 + waiting);
        assert_eq!(
            (count_ok(served), last_ok(served)),
            (2 + waiting, Some(ms(last)))
        );
        for refused in refused {
            assert_eq!(refused.at, ms(0));
            assert_eq!(overload(refused), Some(OverloadReason::queue_full(waiting)));
        }
        // The refused never ran, and took nothing.
        assert_eq!(tool.probe().started(), 2 + waiting);
        assert_eq!((limit.available(), limit.queued()), (2, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn l3_a_refusal_leaves_the_limit_as_it_was() {
    let tool = SlowTool::new(ms(100));
    let limit = ConcurrencyLimitLayer::new(1).with_queue_capacity(1);
    let stack = limit.layer(tool.clone());
    let running = begin(&stack, call("tool")).await;
    let waiting = begin(&stack, call("tool")).await;
    let before = (limit.available(), limit.in_flight(), limit.queued());
    assert_eq!(before, (0, 1, 1));
    let refused = stack.clone().oneshot(call("tool")).await.unwrap_err();
    assert_eq!(
        (refused.kind(), refused.outcome(), refused.is_retryable()),
        (ErrorKind::Overloaded, Outcome::Rejected, true)
    );
    assert_eq!(
        (limit.available(), limit.in_flight(), limit.queued()),
        before
    );
    assert_eq!(tool.probe().started(), 1);
    running.await.unwrap().unwrap();
    waiting.await.unwrap().unwrap();
    assert_eq!(tool.probe().started(), 2);
}

#[tokio::test(start_paused = true)]
async fn l3_the_wait_has_a_limit_and_nobody_runs_after_it() {
    let tool = SlowTool::new(ms(100));
    let limit = ConcurrencyLimitLayer::new(2).with_max_wait(ms(150));
    let finished = call_all(limit.layer(tool.clone()), calls(10)).await;
    let (served, refused) = finished.split_at(4);
    assert_eq!((count_ok(served), last_ok(served)), (4, Some(ms(200))));
    for refused in refused {
        assert_eq!(refused.at, ms(150));
        assert_eq!(
            overload(refused),
            Some(OverloadReason::waited_too_long(ms(150)))
        );
    }
    assert_eq!(tool.probe().started(), 4);
    assert_eq!((limit.available(), limit.queued()), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn l3_the_default_line_holds_1024() {
    let tool = FastTool::new();
    let limit = ConcurrencyLimitLayer::new(1);
    let finished = call_all(limit.layer(tool.clone()), calls(1_030)).await;
    assert_eq!(count_ok(&finished), 1_025);
    for refused in &finished[1_025..] {
        assert_eq!(overload(refused), Some(OverloadReason::queue_full(1_024)));
    }
    assert_eq!(tool.probe().started(), 1_025);
}

#[tokio::test(start_paused = true)]
async fn l3_a_limit_of_none_at_all_is_closed() {
    let tool = FastTool::new();
    let limit = ConcurrencyLimitLayer::new(0);
    let finished = call_all(limit.layer(tool.clone()), calls(3)).await;
    for refused in &finished {
        assert_eq!(overload(refused), Some(OverloadReason::Closed));
    }
    assert_eq!(tool.probe().started(), 0);
}

/// Takes 100 ms, and then ends as its name says.
#[expect(clippy::panic, reason = "to panic is one of the ways to end")]
fn ending_tool() -> BoxTool {
    BoxTool::new(tool_fn("ending", async |call: CallContext, (): ()| {
        sleep(ms(100)).await;
        match call.tool() {
            "completes" => Ok("done"),
            "fails" => Err("failed"),
            "panics" => panic!("the tool panics, as it was told"),
            _ => pending().await,
        }
    }))
}

#[tokio::test(start_paused = true)]
async fn l4_the_permit_is_free_before_the_caller_sees_the_end() {
    let limit = ConcurrencyLimitLayer::new(1);
    let stack = ServiceBuilder::new()
        .layer(TimeoutLayer::new(ms(2_000)))
        .layer(limit.clone())
        .service(ending_tool());
    for _ in 0..5 {
        for (name, end) in [
            ("completes", Some(Outcome::Completed)),
            ("fails", Some(Outcome::Failed)),
            ("panics", None),
            ("hangs", Some(Outcome::TimedOut)),
        ] {
            // Still here when the permit is asked for: it is not dropping the future that gives it back.
            let mut running = Box::pin(stack.clone().oneshot(call(name)));
            let seen = AssertUnwindSafe(&mut running).catch_unwind().await.ok();
            assert_eq!((limit.available(), limit.in_flight()), (1, 0), "{name}");
            let seen =
                seen.map(|end| end.map_or_else(|error| error.outcome(), |_| Outcome::Completed));
            assert_eq!(seen, end);
        }
        // The caller leaves.
        let running = stack.clone().oneshot(call("hangs"));
        let left = tokio::time::timeout(ms(499), running).await;
        assert!(left.is_err());
        assert_eq!((limit.available(), limit.in_flight()), (1, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn l4_a_streamed_answer_holds_its_permit_to_its_last_item() {
    let limit = ConcurrencyLimitLayer::new(1);
    let tool = limit.layer(GeneratorTool::new(ms(500), 3));

    let mut items = tool
        .clone()
        .oneshot(call("items"))
        .await
        .unwrap()
        .into_stream();
    for _ in 0..3 {
        items.next().await.unwrap().unwrap();
        assert_eq!((limit.available(), limit.in_flight()), (0, 1));
    }
    assert!(items.next().await.is_none());
    assert_eq!((limit.available(), limit.in_flight()), (1, 0));

    // Or until its consumer drops it.
    let mut items = tool.oneshot(call("items")).await.unwrap().into_stream();
    items.next().await.unwrap().unwrap();
    assert_eq!(limit.available(), 0);
    drop(items);
    assert_eq!(limit.available(), 1);
}

#[tokio::test(start_paused = true)]
async fn l6_the_line_is_first_in_first_out_and_a_dropped_waiter_leaves_it() {
    let starts = Recorder::new();
    let limit = ConcurrencyLimitLayer::new(1);
    let stack = limit.layer(order_tool(starts.clone()));
    let watch = Stopwatch::start();
    let mut running = Vec::new();
    for id in ["a", "b", "c", "d", "e"] {
        running.push(begin(&stack, call("order").with_id(id)).await);
    }
    assert_eq!((limit.in_flight(), limit.queued()), (1, 4));

    // One in the middle leaves, and at 150 ms the one at the front does.
    watch.until(ms(50)).await;
    running[3].abort();
    watch.until(ms(60)).await;
    assert_eq!(limit.queued(), 3);
    watch.until(ms(150)).await;
    running[2].abort();
    watch.until(ms(160)).await;
    assert_eq!((limit.in_flight(), limit.queued()), (1, 1));
    // Who comes now comes last.
    let late = begin(&stack, call("order").with_id("late")).await;
    late.await.unwrap().unwrap();

    let order = [(0, "a"), (100, "b"), (200, "e"), (300, "late")];
    assert_eq!(
        starts.entries(),
        order.map(|(at, id)| (ms(at), id.to_owned()))
    );
    assert_eq!((limit.available(), limit.queued()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn l6_a_hundred_in_line_start_in_the_order_in_which_they_came() {
    let starts = Recorder::new();
    let stack = ConcurrencyLimitLayer::new(3).layer(order_tool(starts.clone()));
    let calls = (0..100).map(|n| call("order").with_id(n.to_string()));
    call_all(stack, calls).await;
    let expected: Vec<_> = (0..100_u64)
        .map(|n| (ms(100 * (n / 3)), n.to_string()))
        .collect();
    assert_eq!(starts.entries(), expected);
}

#[tokio::test(start_paused = true)]
async fn l7_control_without_a_limit_all_hundred_run_at_once() {
    let tool = FastTool::new();
    let finished = call_all(tool.clone(), calls(100)).await;
    assert_eq!(
        (count_ok(&finished), last_ok(&finished)),
        (100, Some(ms(10)))
    );
    assert_eq!(tool.probe().max(), 100);
}

/// Refusing what finds no permit is a typed refusal of the limit, not a timeout; and a call that is cancelled in line is no call that ran.
#[tokio::test(start_paused = true)]
async fn bh1_refused_when_full_is_overloaded_and_a_cancelled_call_gives_all_back() {
    let tool = SlowTool::new(ms(100));
    let limit = ConcurrencyLimitLayer::new(5).with_queue_capacity(0);
    let stack = limit.layer(tool.clone());
    let mut running = Vec::new();
    for _ in 0..5 {
        running.push(begin(&stack, call("tool")).await);
    }
    let refused = stack.clone().oneshot(call("tool")).await.unwrap_err();
    assert_eq!(
        (refused.kind(), refused.outcome()),
        (ErrorKind::Overloaded, Outcome::Rejected)
    );
    for running in running {
        running.abort();
        assert!(running.await.is_err());
    }
    assert_eq!(
        (limit.available(), limit.in_flight(), limit.queued()),
        (5, 0, 0)
    );
    assert_eq!((tool.probe().started(), tool.probe().running()), (5, 0));

    let limit = ConcurrencyLimitLayer::new(1);
    let stack = limit.layer(tool.clone());
    let _running = begin(&stack, call("tool")).await;
    let in_line = begin(&stack, call("tool")).await;
    assert_eq!((limit.in_flight(), limit.queued()), (1, 1));
    in_line.abort();
    assert!(in_line.await.is_err());
    assert_eq!(
        (limit.in_flight(), limit.queued(), tool.probe().started()),
        (1, 0, 6)
    );
}
