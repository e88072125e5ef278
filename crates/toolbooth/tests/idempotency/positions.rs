//! The layer among the others: in every order, twice, and around nested calls.

use std::num::NonZeroU32;

use toolbooth::{
    CleanupLayer, ConcurrencyLimitLayer, PartialResultLayer, Quota, RateLimitLayer, TimeoutLayer,
};
use toolbooth_test::{BoxTool, boxed, orders};
use tower::ServiceBuilder;

use super::*;

#[tokio::test(start_paused = true)]
async fn calls_share_one_execution_in_every_order_of_six_layers() {
    let mut stacks = 0;
    for order in orders([0, 1, 2, 3, 4, 5]) {
        let tool = counts();
        let hour = Quota::per_hour(NonZeroU32::MIN.saturating_add(9));
        let (timeout, rate) = (TimeoutLayer::new(ms(1_000)), RateLimitLayer::new(hour));
        let permits = ConcurrencyLimitLayer::new(10);
        let (cleanup, partial) = (CleanupLayer::new(), PartialResultLayer::new());
        let layer = IdempotencyLayer::new();
        let mut stack: BoxTool = boxed(tool.clone());
        for kind in order.iter().rev() {
            stack = match kind {
                0 => boxed(timeout.layer(stack)),
                1 => boxed(rate.layer(stack)),
                2 => boxed(permits.layer(stack)),
                3 => boxed(cleanup.layer(stack)),
                4 => boxed(partial.layer(stack)),
                _ => boxed(layer.layer(stack)),
            };
        }
        let calls = (0..5).map(|_| text_of(stack.clone(), keyed("a", 1)));
        let texts = futures_util::future::join_all(calls).await;
        assert_eq!(texts, ["run 1"; 5], "{order:?}");
        assert_eq!((tool.probe().started(), permits.in_flight()), (1, 0));
        stacks += 1;
    }
    assert_eq!(stacks, 720);
}

#[tokio::test(start_paused = true)]
async fn shared_response_takes_no_token_of_a_rate_limit_inside() {
    let rate = RateLimitLayer::new(Quota::per_hour(NonZeroU32::MIN));
    let stack = ServiceBuilder::new()
        .layer(IdempotencyLayer::new())
        .layer(rate)
        .service(counts());
    let started = Instant::now();
    for _ in 0..3 {
        assert_eq!(text_of(stack.clone(), keyed("a", 1)).await, "run 1");
    }
    assert_eq!(started.elapsed(), ms(10));
}

#[tokio::test(start_paused = true)]
async fn call_that_passes_one_layer_twice_does_not_wait_for_itself() {
    let layer = IdempotencyLayer::new();
    let stack = ServiceBuilder::new()
        .layer(layer.clone())
        .layer(layer)
        .service(counts());
    for _ in 0..2 {
        let response = tokio::time::timeout(ms(20), text_of(stack.clone(), keyed("a", 1))).await;
        assert_eq!(response.unwrap(), "run 1");
    }
}

#[tokio::test(start_paused = true)]
async fn children_do_not_inherit_the_key() {
    let inner = counts();
    let layer = IdempotencyLayer::new();
    let stack = layer.layer(inner.clone());
    let parent = ScriptedTool::new(move |call| {
        let stack = stack.clone();
        async move {
            let mut texts = Vec::new();
            for argument in [1, 2] {
                let child = call.context().child("child", json!(argument))?;
                let response = stack.clone().oneshot(child).await?;
                texts.push(response.collect().await?.text());
            }
            Ok(ToolOutput::text(texts.join(", ")))
        }
    });
    let parent = layer.layer(parent);
    for _ in 0..2 {
        assert_eq!(text_of(parent.clone(), keyed("a", 1)).await, "run 1, run 2");
    }
    assert_eq!(inner.probe().started(), 2);
}

#[tokio::test(start_paused = true)]
async fn token_of_a_rate_limit_outside_is_refunded_for_a_shared_response() {
    let rate = RateLimitLayer::new(Quota::per_hour(NonZeroU32::MIN.saturating_add(4)));
    let stack = ServiceBuilder::new()
        .layer(rate.clone())
        .layer(IdempotencyLayer::new())
        .service(counts());
    for _ in 0..4 {
        assert_eq!(text_of(stack.clone(), keyed("a", 1)).await, "run 1");
        assert_eq!(rate.remaining(), 4);
    }
}
