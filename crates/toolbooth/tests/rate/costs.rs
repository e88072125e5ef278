//! Costs that are known only afterwards.

use toolbooth::{CallContext, Order, RetryPolicy, ToolOutput};
use tower::ServiceBuilder;
use tower::retry::RetryLayer;

use super::*;

/// Ten tokens, of which one comes back each second. A call takes as many as its priority.
fn ten() -> RateLimitLayer {
    RateLimitLayer::new(per_second(1, 10))
        .with_cost(|call| call.priority().unsigned_abs())
        .with_adjustable_cost()
}

/// Makes a call that is charged `estimate`, and returns its context.
async fn charged(rate: &RateLimitLayer, estimate: i32) -> CallContext {
    let call = call().with_priority(estimate);
    let context = call.context().clone();
    let made = rate.layer(ScriptedTool::ready()).call(call).await;
    made.expect("there are tokens");
    context
}

#[tokio::test(start_paused = true)]
async fn actual_cost_replaces_the_estimate() {
    let rate = ten();
    let call = charged(&rate, 4).await;
    for (actual, remaining) in [(7, 3), (2, 8), (2, 8), (4, 6), (0, 10), (10, 0)] {
        assert!(call.adjust_cost("rate", actual));
        assert_eq!(rate.remaining(), remaining, "{actual}");
    }
}

#[tokio::test(start_paused = true)]
async fn tool_adjusts_the_cost_of_its_own_call() {
    let rate = ten();
    let tool = ScriptedTool::new(|call| async move {
        assert!(call.context().adjust_cost("rate", 6));
        Ok(ToolOutput::text("done"))
    });
    let mut tool = rate.layer(tool);
    tool.call(call().with_priority(1)).await.unwrap();
    assert_eq!(rate.remaining(), 4);
    // This one waits for its tokens.
    tool.call(call().with_priority(9)).await.unwrap();
    assert_eq!((rate.remaining(), rate.reset_after()), (3, ms(7_000)));
}

#[tokio::test(start_paused = true)]
async fn debt_is_at_most_one_full_bucket() {
    let rate = ten();
    let call = charged(&rate, 10).await;
    assert!(call.adjust_cost("rate", 14));
    assert_eq!((rate.remaining(), rate.reset_after()), (0, ms(14_000)));
    assert!(call.adjust_cost("rate", u32::MAX));
    assert_eq!(rate.reset_after(), ms(20_000));
    let watch = Instant::now();
    charged(&rate, 1).await;
    assert_eq!(watch.elapsed(), ms(11_000));

    let window = RateLimitLayer::window(10, ms(5_000))
        .unwrap()
        .with_adjustable_cost();
    let call = charged(&window, 1).await;
    sleep(ms(1_000)).await;
    assert!(call.adjust_cost("rate", 20));
    assert_eq!((window.remaining(), window.reset_after()), (0, ms(5_000)));
    sleep(ms(1_000)).await;
    // The debt is a whole window already.
    assert!(call.adjust_cost("rate", 1_000));
    let watch = Instant::now();
    charged(&window, 1).await;
    assert_eq!(watch.elapsed(), ms(4_000));
}

#[tokio::test(start_paused = true)]
async fn lower_cost_refunds_what_has_not_refilled() {
    let rate = ten();
    let call = charged(&rate, 8).await;
    sleep(ms(2_000)).await;
    assert_eq!(rate.reset_after(), ms(6_000));
    assert!(call.adjust_cost("rate", 3));
    assert_eq!(rate.reset_after(), ms(3_000));
}

#[tokio::test(start_paused = true)]
async fn refunded_tokens_go_to_waiters() {
    let rate = ten();
    let call = charged(&rate, 10).await;
    let mut tool = rate.layer(ScriptedTool::ready());
    let mut waits = task::spawn(tool.call(super::call().with_priority(5)));
    assert_pending!(waits.poll());
    assert!(call.adjust_cost("rate", 5));
    assert!(waits.is_woken());
    assert_ready_ok!(waits.poll());
}

/// Its token was predicted for an earlier moment.
#[tokio::test(start_paused = true)]
async fn waiter_that_a_debt_delays_ends_at_its_deadline() {
    for order in [Order::fifo(), Order::priority()] {
        let rate = ten().with_order(order);
        let call = charged(&rate, 10).await;
        let mut tool = rate.layer(ScriptedTool::ready());
        let begin = Instant::now();
        let late = super::call()
            .with_priority(1)
            .with_deadline(begin + ms(3_000));
        let waits = tokio::spawn(tool.call(late));
        sleep(ms(500)).await;
        assert_eq!(rate.queued(), 1);
        assert!(call.adjust_cost("rate", 15));
        let error = waits.await.unwrap().unwrap_err();
        assert_eq!(timeout(&error), (TimeoutScope::Deadline, 3_000, 3_000));
        assert_eq!((begin.elapsed(), rate.queued()), (ms(3_000), 0));
    }
}

#[tokio::test(start_paused = true)]
async fn other_names_and_limits_without_the_option_are_not_adjusted() {
    let rate = ten();
    assert!(!charged(&rate, 1).await.adjust_cost("other", 5));
    let fixed = RateLimitLayer::new(per_second(1, 10));
    assert!(!charged(&fixed, 1).await.adjust_cost("rate", 5));
    // A call that takes no token has no cost to adjust, and neither has one without a limit.
    assert!(!charged(&rate, 0).await.adjust_cost("rate", 5));
    assert!(!call().context().adjust_cost("rate", 5));
    assert_eq!((rate.remaining(), fixed.remaining()), (9, 9));
}

/// Of two limits around a call, each is adjusted by its own name.
#[tokio::test(start_paused = true)]
async fn cost_is_adjusted_by_the_name_of_the_layer() {
    let (minute, day) = (ten().with_name("minute"), ten().with_name("day"));
    let tool = ScriptedTool::new(|call| async move {
        let context = call.context();
        let adjusted = [("minute", 2), ("day", 3), ("rate", 9)]
            .map(|(name, actual)| context.adjust_cost(name, actual));
        assert_eq!(adjusted, [true, true, false]);
        Ok(ToolOutput::text("done"))
    });
    let mut stack = ServiceBuilder::new()
        .layer(minute.clone())
        .layer(day.clone())
        .service(tool);
    stack.call(call().with_priority(1)).await.unwrap();
    assert_eq!((minute.remaining(), day.remaining()), (8, 7));
    // This one waits for its tokens.
    stack.call(call().with_priority(10)).await.unwrap();
    assert_eq!((minute.remaining(), day.remaining()), (8, 7));
}

/// Each attempt has a cost of its own in a limit inside of the retry. Outside, the last one counts.
#[tokio::test(start_paused = true)]
async fn attempt_adjusts_the_limits_that_it_is_inside_of() {
    let (outer, inner) = (ten(), ten());
    let tool = ScriptedTool::new(|call| async move {
        let attempt = call.context().attempt();
        assert!(call.context().adjust_cost("rate", 2 + attempt));
        match attempt {
            1 => Err(ToolError::failed("broken").into()),
            _ => Ok(ToolOutput::text("done")),
        }
    });
    let mut stack = ServiceBuilder::new()
        .layer(outer.clone())
        .layer(RetryLayer::new(RetryPolicy::new(2)))
        .layer(inner.clone())
        .service(tool);
    let call = call().with_priority(1).with_idempotent(true);
    let context = call.context().clone();
    let begin = Instant::now();
    stack.call(call).await.unwrap();
    // The backoff is random, and tokens come back meanwhile.
    let reset = |layer: &RateLimitLayer| layer.reset_after() + begin.elapsed();
    assert_eq!(
        (reset(&outer), reset(&inner)),
        (ms(4_000), ms(3_000 + 4_000))
    );
    // The context of the caller is that of the first attempt.
    assert!(context.adjust_cost("rate", 1));
}
