//! Nested calls.

use std::sync::{Arc, Mutex};

use tokio::time::sleep;
use toolbooth::middleware::Part;
use toolbooth::{CancelReason, Canceller, ErrorKind, Outcome, TimeoutScope};
use toolbooth_test::{ChainedTool, FastTool, call_all};

use super::*;

/// A tool that forwards to a nested call of `inner`.
fn forwarding(inner: BoxTool) -> BoxTool {
    boxed(tower::service_fn(move |call: ToolCall| {
        let inner = inner.clone();
        async move {
            let child = call.context().child("inner", json!(null))?;
            inner.oneshot(child).await
        }
    }))
}

/// L2.
#[tokio::test(start_paused = true)]
async fn nested_calls_through_one_limit_do_not_deadlock() {
    let limit = ConcurrencyLimitLayer::new(1);
    let fast = FastTool::new();
    let chained = ChainedTool::new(limit.layer(fast.clone()));
    let most = Recorder::new();
    let (seen, watched) = (most.clone(), limit.clone());
    let stack = limit.layer(chained.clone());
    tokio::spawn(async move {
        for _ in 0..59 {
            sleep(ms(1)).await;
            seen.record(watched.in_flight());
        }
    });
    let calls = (0..2).map(|_| call());
    let finished = call_all(stack, calls).await;
    assert!(finished.iter().all(toolbooth_test::Finished::is_ok));
    assert_eq!((finished[0].at, finished[1].at), (ms(30), ms(60)));
    assert_eq!((chained.probe().max(), fast.probe().started()), (1, 6));
    assert_eq!(most.values(), [1; 59]);
    assert_eq!((limit.available(), limit.queued()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn permit_is_inherited_by_five_levels_of_nested_calls_in_every_order() {
    for order in Kind::stacks() {
        let case = format!("{order:?}");
        let layers = Layers::new(1);
        let mut stack = layers.stack(&order, tool(|_| async { Ok("done") }));
        for _ in 0..5 {
            stack = layers.stack(&order, forwarding(stack));
        }
        let output = stack.oneshot(call()).await.unwrap();
        assert_eq!(output.collect().await.unwrap().text(), "done", "{case}");
        assert_eq!(
            (layers.limit.in_flight(), layers.limit.queued()),
            (0, 0),
            "{case}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn permits_of_five_limits_are_inherited() {
    let limits: Vec<_> = (0..5).map(|_| ConcurrencyLimitLayer::new(1)).collect();
    let around = |tool: BoxTool| {
        let limits = limits.iter();
        limits.fold(tool, |tool, limit| boxed(limit.layer(tool)))
    };
    let stack = around(forwarding(around(forwarding(around(tool(|_| async {
        Ok("done")
    }))))));
    assert!(stack.oneshot(call()).await.is_ok());
    assert!(limits.iter().all(|limit| limit.available() == 1));
}

#[tokio::test(start_paused = true)]
async fn released_permit_is_not_inherited() {
    let limit = ConcurrencyLimitLayer::new(1);
    let call = call();
    let context = call.context().clone();
    let fast = limit.layer(FastTool::new());
    assert!(fast.clone().oneshot(call).await.is_ok());
    // Another call holds the permit, and a child of the ended call is rejected.
    let _other = tokio::spawn(fast.clone().oneshot(self::call()));
    sleep(ms(1)).await;
    let late = context.child("fast", json!(null)).unwrap();
    let error = fast.oneshot(late).await.unwrap_err();
    assert_eq!(cancel_reason(&error), Some(CancelReason::Parent));
}

#[tokio::test(start_paused = true)]
async fn nested_call_acquires_its_own_permit_of_another_limit() {
    let (outer, inner) = (ConcurrencyLimitLayer::new(1), ConcurrencyLimitLayer::new(1));
    let _held = tokio::spawn(inner.layer(hanging(&Probe::new())).oneshot(call()));
    sleep(ms(1)).await;
    let stack = outer.layer(forwarding(boxed(
        inner.layer(tool(|_| async { Ok("done") })),
    )));
    let waiting = tokio::spawn(stack.oneshot(call()));
    sleep(ms(1)).await;
    assert_eq!(
        (outer.in_flight(), inner.in_flight(), inner.queued()),
        (1, 1, 1)
    );
    waiting.abort();
}

#[tokio::test]
async fn child_inherits_tenant_priority_and_extensions() {
    let parent = call()
        .with_id("parent")
        .with_tenant("acme")
        .with_priority(7)
        .with_idempotent(true)
        .with_timeout(ms(5))
        .with_extension(42_u8);
    let child = parent.context().child("inner", json!({ "n": 1 })).unwrap();
    let context = child.context();
    assert_eq!(
        (context.tool(), context.tenant(), context.priority()),
        ("inner", Some("acme"), 7)
    );
    assert_eq!(context.extension::<u8>(), Some(&42));
    assert!(!context.is_idempotent());
    assert_ne!(context.id(), "parent");
    assert_eq!((context.deadline(), context.attempt()), (None, 1));
    assert_eq!(child.args()["n"], 1);
    // Its own settings make no further attempt.
    let child = child.with_priority(-1).with_tenant("other");
    assert_eq!(
        (child.context().priority(), child.context().tenant()),
        (-1, Some("other"))
    );
    assert_eq!(child.context().attempt(), 1);
    assert_eq!(Part::enter(child.context()).timeout(), None);
}

#[tokio::test(start_paused = true)]
async fn limit_of_the_parent_is_a_deadline_of_the_child_in_every_order() {
    for order in Kind::stacks() {
        if !order.contains(&Kind::Timeout) {
            continue;
        }
        let case = format!("{order:?}");
        let layers = Layers::new(1);
        let errors = Recorder::new();
        let log = errors.clone();
        let inner = TimeoutLayer::new(ms(5_000));
        let parent = tool(move |context| {
            let (inner, log) = (inner.clone(), log.clone());
            async move {
                sleep(ms(100)).await;
                let child = context.child("inner", json!(null))?;
                log.record(child.context().remaining());
                let longer = child.with_deadline(Instant::now() + MINUTE);
                log.record(longer.context().remaining());
                let _ = inner.layer(hanging(&Probe::new())).oneshot(longer).await;
                std::future::pending().await
            }
        });
        let call = call().with_timeout(ms(300));
        let error = layers
            .stack(&order, parent)
            .oneshot(call)
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{case}");
        assert_eq!(errors.values(), [Some(ms(200)); 2], "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn inherited_deadline_is_reported_as_a_deadline() {
    let inner = TimeoutLayer::new(ms(5_000));
    let deadlines = Recorder::new();
    let log = deadlines.clone();
    let parent = tool(move |context| {
        let (inner, log) = (inner.clone(), log.clone());
        async move {
            let child = context.child("inner", json!(null))?;
            let error = inner
                .layer(hanging(&Probe::new()))
                .oneshot(child)
                .await
                .unwrap_err();
            if let ToolError::Timeout {
                scope,
                limit,
                elapsed,
                ..
            } = error
            {
                log.record((scope, limit, elapsed));
            }
            Ok("done")
        }
    });
    // The parent does not time out without a timeout layer.
    let call = call().with_deadline(Instant::now() + ms(300));
    assert!(
        CleanupLayer::new()
            .layer(parent)
            .oneshot(call)
            .await
            .is_ok()
    );
    assert_eq!(
        deadlines.values(),
        [(TimeoutScope::Deadline, ms(300), ms(300))]
    );
}

/// C5: both are cancelled with the reason `Parent`, on whatever task they run.
#[tokio::test(start_paused = true)]
async fn end_of_a_call_cancels_child_and_grandchild() {
    use Ending::{IsCancelled, IsDropped, TimesOut};
    for order in Kind::stacks() {
        for ending in Ending::ALL {
            let case = format!("{order:?}, {ending:?}");
            let (layers, ended) = (Layers::new(1), Recorder::new());
            let log = ended.clone();
            let parent = tool(move |context| {
                let log = log.clone();
                async move {
                    detached(&context, &log);
                    sleep(ms(10)).await;
                    ending.end().await
                }
            });
            let mut call = call();
            if matches!(ending, TimesOut) && order.contains(&Kind::Timeout) {
                call = call.with_timeout(ms(10));
            }
            let canceller = call.canceller();
            let running = tokio::spawn(layers.stack(&order, parent).oneshot(call));
            sleep(ms(11)).await;
            match ending {
                IsDropped | TimesOut => running.abort(),
                IsCancelled => canceller.cancel(),
                _ => {}
            }
            let _ = running.await;
            sleep(ms(1)).await;
            let parent = Some(CancelReason::Parent);
            assert_eq!(ended.values(), [parent; 4], "{case}");
        }
    }
}

/// Spawns a child that spawns a grandchild, and records the reasons that they observe.
fn detached(context: &CallContext, log: &Recorder<Option<CancelReason>>) {
    let child = context.child("child", json!(null)).expect("not deep");
    let grandchild = {
        let log = log.clone();
        tool(move |context| {
            let log = log.clone();
            async move {
                context.cancelled().await;
                log.record(context.cancel_reason());
                std::future::pending().await
            }
        })
    };
    let middle = {
        let log = log.clone();
        tool(move |context| {
            let (log, grandchild) = (log.clone(), grandchild.clone());
            async move {
                let nested = context.child("grandchild", json!(null))?;
                let limit = ConcurrencyLimitLayer::new(1);
                tokio::spawn(async move {
                    let error = limit
                        .layer(grandchild)
                        .oneshot(nested)
                        .await
                        .expect_err("it is cancelled");
                    log.record(cancel_reason(&error));
                });
                std::future::pending().await
            }
        })
    };
    let log = log.clone();
    let context = child.context().clone();
    tokio::spawn(async move {
        let error = CleanupLayer::new()
            .layer(middle)
            .oneshot(child)
            .await
            .expect_err("it is cancelled");
        log.record(cancel_reason(&error));
        log.record(context.cancel_reason());
    });
}

#[tokio::test(start_paused = true)]
async fn end_of_an_attempt_cancels_only_its_own_child() {
    let ended = Recorder::new();
    let log = ended.clone();
    let attempts = tool(move |context| {
        let log = log.clone();
        async move {
            let attempt = context.attempt();
            let child = context.child("child", json!(null))?;
            let seen = child.context().clone();
            tokio::spawn(async move {
                let limit = ConcurrencyLimitLayer::new(1);
                let _ = limit.layer(hanging(&Probe::new())).oneshot(child).await;
                log.record((attempt, seen.cancel_reason()));
            });
            sleep(ms(10)).await;
            match attempt {
                2 => Ok("done"),
                _ => Err("no".into()),
            }
        }
    });
    let retry =
        tower::retry::Retry::new(Retries::new(1), boxed(CleanupLayer::new().layer(attempts)));
    let stack = TimeoutLayer::new(MINUTE).layer(retry);
    let running = tokio::spawn(stack.oneshot(call()));
    sleep(ms(15)).await;
    assert_eq!(ended.values(), [(1, Some(CancelReason::Parent))]);
    assert!(running.await.unwrap().is_ok());
    sleep(ms(1)).await;
    assert_eq!(ended.values()[1..], [(2, Some(CancelReason::Parent))]);
}

#[tokio::test(start_paused = true)]
async fn cancelled_child_does_not_cancel_its_parent() {
    let cancellers = Arc::<Mutex<Option<Canceller>>>::default();
    let taken = Arc::clone(&cancellers);
    let parent = tool(move |context| {
        let taken = Arc::clone(&taken);
        async move {
            let child = context.child("inner", json!(null))?;
            *taken.lock().expect("no panic") = Some(child.canceller());
            let limit = ConcurrencyLimitLayer::new(1);
            let error = limit
                .layer(hanging(&Probe::new()))
                .oneshot(child)
                .await
                .unwrap_err();
            assert_eq!(cancel_reason(&error), Some(CancelReason::Explicit));
            assert_eq!(context.cancel_reason(), None);
            Ok("goes on")
        }
    });
    let running = tokio::spawn(CleanupLayer::new().layer(parent).oneshot(call()));
    sleep(ms(10)).await;
    let canceller = cancellers.lock().unwrap().take().unwrap();
    canceller.cancel();
    let output = running.await.unwrap().unwrap();
    assert_eq!(output.collect().await.unwrap().text(), "goes on");
}

/// A tool that calls itself for ever and records the depth.
fn recursing(deepest: &Recorder<u32>, level: u32) -> BoxTool {
    let deepest = deepest.clone();
    boxed(tower::service_fn(move |call: ToolCall| {
        let deepest = deepest.clone();
        async move {
            deepest.record(level);
            let child = call.context().child("again", json!(null))?;
            recursing(&deepest, level + 1).oneshot(child).await
        }
    }))
}

#[tokio::test]
async fn depth_of_nested_calls_is_bounded() {
    for (limit, call) in [
        (5, call()),
        (2, call().with_max_depth(2)),
        (0, call().with_max_depth(0)),
    ] {
        let levels = Recorder::new();
        let error = recursing(&levels, 0).oneshot(call).await.unwrap_err();
        assert_eq!(levels.values(), (0..=limit).collect::<Vec<_>>());
        assert!(
            matches!(error, ToolError::TooDeep { limit: reported, .. } if reported == limit),
            "{error}"
        );
        assert_eq!(
            (error.kind().as_str(), error.outcome()),
            ("too_deep", Outcome::Rejected)
        );
        assert!(!error.is_retryable());
        assert_eq!(error.tool(), Some("again"));
        let text = format!("nested too deep: at most {limit} levels below the outermost call");
        assert_eq!(error.to_string(), text);
    }
    assert_eq!(toolbooth::DEFAULT_MAX_DEPTH, 5);
}
