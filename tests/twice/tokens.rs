//! The same `RateLimitLayer` value around a toolbox and around its tools.

use super::*;

fn kinds(finished: &[Finished]) -> Vec<Option<ErrorKind>> {
    finished.iter().map(Finished::error_kind).collect()
}

/// Case F1c.
#[tokio::test(start_paused = true)]
async fn rate_limit_around_toolbox_and_tool_takes_one_token_for_each_call() {
    for reject in [true, false] {
        let rate = RateLimitLayer::new(hourly(2));
        let rate = if reject { rate.reject() } else { rate };
        let inside = Probe::new();
        let stack = rate.layer(boxed(rate.layer(slow(&inside))));
        let finished = run_all(stack.clone(), calls(2)).await;
        assert_eq!(ends(&finished), [(true, 10); 2], "{reject}");
        assert_eq!(rate.remaining(), 0);
        let late = call("tool").with_timeout(MINUTE);
        let stack = TimeoutLayer::new(MINUTE).layer(stack);
        let rejected = stack.oneshot(late).await.unwrap_err();
        assert_eq!(rejected.kind(), ErrorKind::RateLimited);
    }
}

/// Each attempt inside of the outer layer takes a token, but the first has its token.
#[tokio::test(start_paused = true)]
async fn later_attempts_take_tokens_of_their_own() {
    let rate = RateLimitLayer::new(hourly(10)).reject();
    let inner = boxed(rate.layer(succeeds_at(3)));
    let stack = rate.layer(retried(inner, 2));
    assert_eq!(ends(&run_all(stack, calls(1)).await), [(true, 0)]);
    assert_eq!(rate.remaining(), 7);

    let rate = RateLimitLayer::new(hourly(2)).reject();
    let inner = boxed(rate.layer(succeeds_at(3)));
    let stack = rate.layer(retried(inner, 2));
    let finished = run_all(stack, calls(1)).await;
    assert_eq!(kinds(&finished), [Some(ErrorKind::RateLimited)]);
}

#[tokio::test(start_paused = true)]
async fn children_take_tokens_of_their_own() {
    let rate = RateLimitLayer::new(hourly(10)).reject();
    let inner = boxed(rate.layer(rate.layer(ScriptedTool::ready())));
    let forwards = service_fn(move |call: ToolCall| {
        let children = [(); 2].map(|()| call.context().child("inner", json!(null)));
        let inner = inner.clone();
        async move {
            for child in children {
                inner.clone().oneshot(child?).await?;
            }
            Ok::<_, ToolError>(ToolOutput::text("done"))
        }
    });
    let stack = rate.layer(boxed(forwards));
    assert_eq!(ends(&run_all(stack, calls(1)).await), [(true, 0)]);
    assert_eq!(rate.remaining(), 7);
}

#[tokio::test(start_paused = true)]
async fn tokens_of_another_key_are_taken() {
    let rate = RateLimitLayer::by(hourly(5), |call| call.tenant().unwrap_or("none").into());
    let inner = boxed(rate.layer(ScriptedTool::ready()));
    let renames = service_fn(move |call: ToolCall| inner.clone().oneshot(call.with_tenant("b")));
    let stack = rate.layer(boxed(renames));
    let call = call("tool").with_tenant("a");
    assert!(in_time(stack.oneshot(call)).await.is_ok());
    assert_eq!((rate.remaining_for("a"), rate.remaining_for("b")), (4, 4));
}

#[tokio::test(start_paused = true)]
async fn first_cost_in_tokens_counts() {
    let rate = RateLimitLayer::new(hourly(9)).reject();
    let costs = |tokens: u32| rate.clone().with_cost(move |_| tokens);
    for (outer, inner, remaining) in [(2, 1, 7), (1, 50, 6), (0, 3, 3)] {
        let stack = costs(outer).layer(costs(inner).layer(ScriptedTool::ready()));
        assert!(in_time(stack.oneshot(call("tool"))).await.is_ok());
        assert_eq!(rate.remaining(), remaining, "{outer} outside of {inner}");
    }
}

/// The token was waited for by the outer layer.
#[tokio::test(start_paused = true)]
async fn call_that_waited_for_its_token_takes_no_other() {
    let rate = RateLimitLayer::new(toolbooth_tests::quota(1, 1));
    let starts = Recorder::new();
    let log = starts.clone();
    let inner = tool(move |_| {
        log.record(());
        async { Ok::<_, BoxError>("done") }
    });
    let stack = rate.layer(rate.layer(inner));
    assert!(run_all(stack, calls(3)).await.iter().all(Finished::is_ok));
    assert_eq!(starts.times(), [ms(0), ms(1_000), ms(2_000)]);
}
