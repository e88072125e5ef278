//! Layers of tower in every position of a stack of five toolbooth layers.

use std::convert::Infallible;

use futures_util::future::join_all;
use serde_json::json;
use toolbooth::{
    CallContext, CleanupLayer, ConcurrencyLimitLayer, Outcome, PartialResultLayer, RateLimitLayer,
    TimeoutScope, tool_fn,
};
use toolbooth_test::{Recorder, timeout_of};
use tower::buffer::BufferLayer;
use tower::load_shed::LoadShedLayer;
use tower::retry::RetryLayer;
use tower::timeout::TimeoutLayer as TowerTimeoutLayer;

use super::*;

/// Without boxes in between.
#[tokio::test(start_paused = true)]
async fn all_layers_of_tower_and_toolbooth_stack_in_one_static_type() {
    let tool = ServiceBuilder::new()
        .layer(BufferLayer::new(4))
        .layer(TowerTimeoutLayer::new(MINUTE))
        .layer(TimeoutLayer::new(MINUTE))
        .layer(RetryLayer::new(Retries::new(1)))
        .layer(RateLimitLayer::new(None))
        .layer(TowerConcurrencyLimitLayer::new(2))
        .layer(ConcurrencyLimitLayer::new(2))
        .layer(GlobalConcurrencyLimitLayer::new(2))
        .layer(CleanupLayer::new())
        .layer(LoadShedLayer::new())
        .layer(PartialResultLayer::new())
        .layer(TowerTimeoutLayer::new(MINUTE))
        .service(tool_fn("tool", async |(): ()| Ok::<_, Infallible>("done")));
    assert_eq!(respond(erased(tool), call()).await.unwrap(), "done");
}

#[tokio::test(start_paused = true)]
async fn every_layer_of_tower_works_in_every_position() {
    for foreign in Foreign::ALL {
        for outside in 0..=5 {
            let case = format!("{foreign:?} inside {outside} layers");
            let ours = ours();
            let hooks = Recorder::new();
            let retried = foreign == Foreign::Retry;
            let log = hooks.clone();
            let tool = erased(tool_fn("tool", move |context: CallContext, n: u32| {
                let attempt = context.attempt();
                context.on_cleanup(log.hook_for(attempt));
                async move {
                    sleep(ms(100)).await;
                    match retried && attempt == 1 {
                        true => Err("not yet"),
                        false => Ok(n),
                    }
                }
            }));
            let stack = stack(&ours, |inner| foreign.around(inner), outside, tool);

            let start = Instant::now();
            let calls = (0..20).map(|n| {
                let call = ToolCall::new("tool", json!(n));
                let stack = stack.clone();
                async move {
                    let output = stack.oneshot(call).await.map_err(ToolError::from)?;
                    Ok::<_, ToolError>(output.collect().await?.into_contents())
                }
            });
            let responses = join_all(calls).await;
            let took = start.elapsed();
            for (n, response) in responses.into_iter().enumerate() {
                let contents = response.unwrap_or_else(|error| panic!("{case}: {error:?}"));
                assert_eq!(contents, [json!(n).into()], "{case}");
            }

            // 20 calls of 100 ms, 4 at once; 2 at once in the limit of tower, 40 in its retry.
            let expected = match foreign.is_limit() || retried {
                true => ms(1_000),
                false => ms(500),
            };
            assert_eq!(took, expected, "{case}");
            ours.assert_released(&case);
            let spent = if retried && outside <= 1 { 40 } else { 20 };
            assert_eq!(ours.rate.remaining(), TOKENS - spent, "{case}");

            ours.cleanup.drain(MINUTE).await;
            let mut hooks = hooks.values();
            hooks.sort_by_key(|(attempt, _)| *attempt);
            // Inside the retry, cleanup observes the end of each attempt.
            let first = match retried && outside <= CLEANUP {
                true => Outcome::Failed,
                false => Outcome::Completed,
            };
            let mut expected = vec![(1, first); 20];
            expected.extend(vec![(2, Outcome::Completed); if retried { 20 } else { 0 }]);
            assert_eq!(hooks, expected, "{case}");
        }
    }
}

/// A failure after 100 ms, and a call that is dropped after 50 ms.
#[tokio::test(start_paused = true)]
async fn failure_and_drop_pass_every_layer_of_tower_in_every_position() {
    for foreign in Foreign::ALL {
        for outside in 0..=5 {
            let case = format!("{foreign:?} inside {outside} layers");
            let ours = ours();
            let hooks = Recorder::new();
            let log = hooks.clone();
            let tool = erased(tool_fn("tool", move |context: CallContext, (): ()| {
                context.on_cleanup(log.hook());
                async move {
                    context.emit("half");
                    sleep(ms(100)).await;
                    Err::<(), _>("it broke")
                }
            }));
            let stack = stack(&ours, |inner| foreign.around(inner), outside, tool);
            let attempts = if foreign == Foreign::Retry { 2 } else { 1 };

            let start = Instant::now();
            let failing = call().with_id("call_7");
            let error = respond(stack.clone(), failing).await.unwrap_err();
            assert_eq!(start.elapsed(), ms(100) * attempts, "{case}");
            assert_eq!(error.kind(), ErrorKind::Tool, "{case}");
            assert_eq!(error.call_id(), Some("call_7"), "{case}");
            let partial = error.partial().map(|partial| partial.contents().to_vec());
            assert_eq!(partial, Some(vec!["half".into()]), "{case}");
            ours.assert_released(&case);

            let dropped = tokio::time::timeout(ms(50), respond(stack, call())).await;
            assert!(dropped.is_err(), "{case}");
            ours.assert_released(&case);
            ours.cleanup.drain(MINUTE).await;
            let mut outcomes = vec![Outcome::Failed; attempts as usize];
            outcomes.push(Outcome::Cancelled);
            assert_eq!(hooks.values(), outcomes, "{case}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn tower_timeout_in_any_position_is_a_timeout_with_foreign_scope() {
    for outside in 0..=5 {
        let case = format!("inside {outside} layers");
        let ours = ours();
        let hooks = Recorder::new();
        let log = hooks.clone();
        let tool = erased(tool_fn("tool", move |context: CallContext, (): ()| {
            context.on_cleanup(log.hook());
            async move {
                context.emit("half");
                std::future::pending::<Result<(), Infallible>>().await
            }
        }));
        let timeout = |inner| erased(TowerTimeout::new(inner, ms(50)));
        let stack = stack(&ours, timeout, outside, tool);
        let start = Instant::now();
        let error = respond(stack, call()).await.unwrap_err();
        assert_eq!(start.elapsed(), ms(50), "{case}");
        let (scope, _, elapsed) = timeout_of(&error).expect(&case);
        assert_eq!(scope, TimeoutScope::Foreign, "{case}");
        // Outermost, no toolbooth layer fills in the time.
        let seen = outside > 0;
        assert_eq!(elapsed, ms(if seen { 50 } else { 0 }), "{case}");
        assert_eq!(error.partial().is_some(), seen, "{case}");
        ours.assert_released(&case);
        ours.cleanup.drain(MINUTE).await;
        // Inside of the timeout of tower, cleanup is dropped without a reason.
        let outcome = match outside > CLEANUP {
            true => Outcome::TimedOut,
            false => Outcome::Cancelled,
        };
        assert_eq!(hooks.values(), [outcome], "{case}");
    }
}
