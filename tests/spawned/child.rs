//! Calls that a call makes.

use std::error::Error;
use std::sync::{Arc, Mutex};

use tokio::time::sleep;
use toolbooth::middleware::Part;
use toolbooth::{CancelReason, Canceller, ErrorKind, Outcome, TimeoutScope};
use toolbooth_test::{ChainedTool, FastTool, call_all};

use super::*;

/// A tool that makes one call through `inner`, and answers as that one does.
fn forwarding(inner: Tool) -> Tool {
    boxed(tower::service_fn(move |call: ToolCall| {
        let inner = inner.clone();
        async move {
            let child = call.context().child("inner", json!(null))?;
            inner.oneshot(child).await
        }
    }))
}

#[tokio::test(start_paused = true)]
async fn chained_through_one_limit_it_does_not_deadlock() {
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
async fn a_permit_reaches_through_every_call_below_and_every_layer_between() {
    for order in Ours::stacks() {
        let case = format!("{order:?}");
        let layers = Layers::new();
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
async fn more_lines_than_two_are_inherited_as_well() {
    let limits: Vec<_> = (0..5).map(|_| ConcurrencyLimitLayer::new(1)).collect();
    let around = |tool: Tool| {
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
async fn a_permit_that_was_given_back_is_not_inherited() {
    let limit = ConcurrencyLimitLayer::new(1);
    let call = call();
    let context = call.context().clone();
    let fast = limit.layer(FastTool::new());
    assert!(fast.clone().oneshot(call).await.is_ok());
    // Another call has it now, and a call of the first one's kin is refused: the first one is over.
    let _other = tokio::spawn(fast.clone().oneshot(self::call()));
    sleep(ms(1)).await;
    let late = context.child("fast", json!(null)).unwrap();
    let error = fast.oneshot(late).await.unwrap_err();
    assert_eq!(reason(&error), Some(CancelReason::Parent));
}

#[tokio::test(start_paused = true)]
async fn a_call_of_another_limit_takes_its_own_permit() {
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

fn reason(error: &ToolError) -> Option<CancelReason> {
    match error {
        ToolError::Cancelled { reason, .. } => Some(*reason),
        _ => None,
    }
}

#[tokio::test]
async fn what_a_child_has_of_its_parent() {
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
    // And it can be given its own, without another attempt.
    let child = child.with_priority(-1).with_tenant("other");
    assert_eq!(
        (child.context().priority(), child.context().tenant()),
        (-1, Some("other"))
    );
    assert_eq!(child.context().attempt(), 1);
    assert_eq!(Part::enter(child.context()).timeout(), None);
}

#[tokio::test(start_paused = true)]
async fn the_parents_limit_is_a_deadline_for_the_child_in_every_order() {
    for order in Ours::stacks() {
        if !order.contains(&Ours::Timeout) {
            continue;
        }
        let case = format!("{order:?}");
        let layers = Layers::new();
        let errors = Recorder::new();
        let notes = errors.clone();
        let inner = TimeoutLayer::new(ms(5_000));
        let parent = tool(move |context| {
            let (inner, notes) = (inner.clone(), notes.clone());
            async move {
                sleep(ms(100)).await;
                let child = context.child("inner", json!(null))?;
                notes.record(child.context().remaining());
                let longer = child.with_deadline(Instant::now() + MINUTE);
                notes.record(longer.context().remaining());
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
async fn a_nested_deadline_is_reported_as_one() {
    let inner = TimeoutLayer::new(ms(5_000));
    let deadlines = Recorder::new();
    let notes = deadlines.clone();
    let parent = tool(move |context| {
        let (inner, notes) = (inner.clone(), notes.clone());
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
                notes.record((scope, limit, elapsed));
            }
            Ok("the child was cut")
        }
    });
    // The parent itself is not cut: no timeout layer stands around it.
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

/// How the parent ends.
#[derive(Debug, Clone, Copy)]
enum Ending {
    Completes,
    Fails,
    Panics,
    TimesOut,
    IsDropped,
    IsCancelled,
}

/// Whatever ends a call, and wherever its child runs: that one is told, and ends with `Parent`; and so does the child of the child.
#[tokio::test(start_paused = true)]
async fn the_end_of_a_call_reaches_child_and_grandchild() {
    use Ending::{Completes, Fails, IsCancelled, IsDropped, Panics, TimesOut};
    for order in Ours::stacks() {
        for ending in [Completes, Fails, Panics, TimesOut, IsDropped, IsCancelled] {
            let case = format!("{order:?}, {ending:?}");
            let (layers, ended) = (Layers::new(), Recorder::new());
            let notes = ended.clone();
            let parent = tool(move |context| {
                let notes = notes.clone();
                async move {
                    detached(&context, &notes);
                    sleep(ms(10)).await;
                    match ending {
                        Completes => Ok("done"),
                        Fails => Err("as it was told".into()),
                        Panics => panic!("as it was told"),
                        _ => std::future::pending().await,
                    }
                }
            });
            let mut call = call();
            if matches!(ending, TimesOut) && order.contains(&Ours::Timeout) {
                call = call.with_timeout(ms(10));
            }
            let canceller = call.canceller();
            let answer = tokio::spawn(layers.stack(&order, parent).oneshot(call));
            sleep(ms(11)).await;
            match ending {
                IsDropped | TimesOut => answer.abort(),
                IsCancelled => canceller.cancel(),
                _ => {}
            }
            let _ = answer.await;
            sleep(ms(1)).await;
            let parent = Some(CancelReason::Parent);
            assert_eq!(ended.values(), [parent; 4], "{case}");
        }
    }
}

/// A child on a task that nobody waits for, which makes a child of its own; what each sees, and how each ends.
fn detached(context: &CallContext, notes: &Recorder<Option<CancelReason>>) {
    let child = context.child("child", json!(null)).expect("not deep");
    let grandchild = {
        let notes = notes.clone();
        tool(move |context| {
            let notes = notes.clone();
            async move {
                context.cancelled().await;
                notes.record(context.cancel_reason());
                std::future::pending().await
            }
        })
    };
    let middle = {
        let notes = notes.clone();
        tool(move |context| {
            let (notes, grandchild) = (notes.clone(), grandchild.clone());
            async move {
                let nested = context.child("grandchild", json!(null))?;
                let limit = ConcurrencyLimitLayer::new(1);
                tokio::spawn(async move {
                    let error = limit
                        .layer(grandchild)
                        .oneshot(nested)
                        .await
                        .expect_err("it is cancelled");
                    notes.record(reason(&error));
                });
                std::future::pending().await
            }
        })
    };
    let notes = notes.clone();
    let context = child.context().clone();
    tokio::spawn(async move {
        let error = CleanupLayer::new()
            .layer(middle)
            .oneshot(child)
            .await
            .expect_err("it is cancelled");
        notes.record(reason(&error));
        notes.record(context.cancel_reason());
    });
}

/// An attempt that fails ends what it started, and the next one is another parent.
#[tokio::test(start_paused = true)]
async fn the_end_of_an_attempt_reaches_its_child_and_no_other() {
    let ended = Recorder::new();
    let notes = ended.clone();
    let attempts = tool(move |context| {
        let notes = notes.clone();
        async move {
            let attempt = context.attempt();
            let child = context.child("child", json!(null))?;
            let seen = child.context().clone();
            tokio::spawn(async move {
                let limit = ConcurrencyLimitLayer::new(1);
                let _ = limit.layer(hanging(&Probe::new())).oneshot(child).await;
                notes.record((attempt, seen.cancel_reason()));
            });
            sleep(ms(10)).await;
            match attempt {
                2 => Ok("done"),
                _ => Err("no".into()),
            }
        }
    });
    let retry = tower::retry::Retry::new(Once(true), boxed(CleanupLayer::new().layer(attempts)));
    let stack = TimeoutLayer::new(MINUTE).layer(retry);
    let answer = tokio::spawn(stack.oneshot(call()));
    sleep(ms(15)).await;
    assert_eq!(ended.values(), [(1, Some(CancelReason::Parent))]);
    assert!(answer.await.unwrap().is_ok());
    sleep(ms(1)).await;
    assert_eq!(ended.values()[1..], [(2, Some(CancelReason::Parent))]);
}

#[derive(Debug, Clone)]
struct Once(bool);

impl<T> tower::retry::Policy<ToolCall, T, ToolError> for Once {
    type Future = std::future::Ready<()>;

    fn retry(
        &mut self,
        _: &mut ToolCall,
        result: &mut Result<T, ToolError>,
    ) -> Option<Self::Future> {
        let again = result.is_err() && std::mem::take(&mut self.0);
        again.then(|| std::future::ready(()))
    }

    fn clone_request(&mut self, request: &ToolCall) -> Option<ToolCall> {
        Some(request.clone())
    }
}

#[tokio::test(start_paused = true)]
async fn a_childs_own_end_does_not_touch_its_parent() {
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
            assert_eq!(reason(&error), Some(CancelReason::Explicit));
            assert_eq!(context.cancel_reason(), None);
            Ok("goes on")
        }
    });
    let answer = tokio::spawn(CleanupLayer::new().layer(parent).oneshot(call()));
    sleep(ms(10)).await;
    let canceller = cancellers.lock().unwrap().take().unwrap();
    canceller.cancel();
    let output = answer.await.unwrap().unwrap();
    assert_eq!(output.collect().await.unwrap().text(), "goes on");
}

#[tokio::test(start_paused = true)]
async fn an_error_of_a_child_is_a_failure_of_the_tool_that_forwards_it() {
    let inner = boxed(TimeoutLayer::new(ms(10)).layer(hanging(&Probe::new())));
    let stack = CleanupLayer::new().layer(forwarding(inner));
    let error = stack.oneshot(call()).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.outcome()),
        (ErrorKind::Tool, Outcome::Failed)
    );
    let source = error.source().unwrap().downcast_ref::<ToolError>().unwrap();
    assert_eq!(
        (source.kind(), source.tool()),
        (ErrorKind::Timeout, Some("inner"))
    );
}

/// A tool that calls itself for ever, and how deep it came.
fn recursing(deepest: &Recorder<u32>, level: u32) -> Tool {
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
async fn the_depth_is_bounded() {
    for (limit, call) in [
        (5, call()),
        (2, call().with_max_depth(2)),
        (0, call().with_max_depth(0)),
    ] {
        let levels = Recorder::new();
        let error = recursing(&levels, 0).oneshot(call).await.unwrap_err();
        assert_eq!(levels.values(), (0..=limit).collect::<Vec<_>>());
        assert!(
            matches!(error, ToolError::TooDeep { limit: said, .. } if said == limit),
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
