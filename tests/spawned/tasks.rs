//! Tasks that a call starts.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{StreamExt, stream};
use tokio::time::sleep;
use toolbooth::{
    CancelReason, Content, ErrorKind, MAX_SPAWNED, Outcome, TooManySpawned, stream_tool_fn,
};
use tower::retry::Retry;

use super::blocking::Gate;
use super::*;

/// How a call or its stream ends, 10 ms after its tool has started.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Ending {
    Completes,
    Fails,
    Panics,
    TimesOut,
    IsDropped,
    IsCancelled,
    StreamCompletes,
    StreamFails,
    StreamIsDropped,
    StreamIsCancelled,
}

impl Ending {
    const ALL: [Self; 10] = [
        Self::Completes,
        Self::Fails,
        Self::Panics,
        Self::TimesOut,
        Self::IsDropped,
        Self::IsCancelled,
        Self::StreamCompletes,
        Self::StreamFails,
        Self::StreamIsDropped,
        Self::StreamIsCancelled,
    ];
}

/// Spawns a task that counts milliseconds; the probe counts the task until it is dropped.
fn ticking(context: &CallContext, ticks: &Arc<AtomicUsize>, inside: &Probe) {
    let (ticks, inside) = (Arc::clone(ticks), inside.enter());
    drop(context.spawn(async move {
        let _inside = inside;
        loop {
            ticks.fetch_add(1, Ordering::Relaxed);
            sleep(ms(1)).await;
        }
    }));
}

/// A tool that spawns a ticking task and ends in the given way.
fn starting(ending: Ending, ticks: &Arc<AtomicUsize>, inside: &Probe) -> BoxTool {
    let (ticks, inside) = (Arc::clone(ticks), inside.clone());
    let start = move |context: &CallContext| ticking(context, &ticks, &inside);
    match ending {
        Ending::StreamCompletes
        | Ending::StreamFails
        | Ending::StreamIsDropped
        | Ending::StreamIsCancelled => boxed(stream_tool_fn(
            "tool",
            move |context: CallContext, (): ()| {
                start(&context);
                let last = stream::once(async move {
                    sleep(ms(10)).await;
                    match ending {
                        Ending::StreamCompletes => Ok(Content::from("last")),
                        Ending::StreamFails => Err(ToolError::failed("the task panics")),
                        _ => std::future::pending().await,
                    }
                });
                stream::iter([Ok(Content::from("first"))]).chain(last)
            },
        )),
        _ => tool(move |context| {
            start(&context);
            async move {
                sleep(ms(10)).await;
                match ending {
                    Ending::Completes => Ok("done"),
                    Ending::Fails => Err("the task panics".into()),
                    Ending::Panics => panic!("the task panics"),
                    _ => std::future::pending().await,
                }
            }
        }),
    }
}

/// Makes the call, reads its response to the end, and ends it in the given way.
async fn end(stack: BoxTool, call: ToolCall, ending: Ending) {
    let canceller = call.canceller();
    let running = tokio::spawn(async move {
        let mut contents = stack.oneshot(call).await?.into_stream();
        while let Some(content) = contents.next().await {
            content?;
        }
        Ok::<_, ToolError>(())
    });
    sleep(ms(10)).await;
    sleep(ms(1)).await;
    match ending {
        Ending::IsDropped | Ending::StreamIsDropped | Ending::TimesOut => running.abort(),
        Ending::IsCancelled | Ending::StreamIsCancelled => canceller.cancel(),
        _ => {}
    }
    let ended = running.await;
    match ending {
        Ending::Completes | Ending::StreamCompletes => {
            ended.expect("no panic").expect("a response");
        }
        Ending::Panics => assert!(ended.expect_err("a panic").is_panic()),
        Ending::Fails | Ending::StreamFails => {
            let error = ended.expect("no panic").expect_err("a failure");
            assert_eq!(error.kind(), ErrorKind::Tool);
        }
        _ => assert!(!matches!(ended, Ok(Ok(())))),
    }
}

/// C5.
#[tokio::test(start_paused = true)]
async fn spawned_tasks_stop_on_every_ending_in_every_order() {
    for order in Kind::stacks() {
        for ending in Ending::ALL {
            let case = format!("{order:?}, {ending:?}");
            let (layers, ticks, inside) = (Layers::new(1), Arc::default(), Probe::new());
            let seen = Recorder::new();
            let (log, still) = (seen.clone(), inside.clone());
            let mut call = call();
            call.context()
                .on_cleanup(move |_| async move { log.record(still.running()) });
            if ending == Ending::TimesOut && order.contains(&Kind::Timeout) {
                call = call.with_timeout(ms(10));
            }
            end(
                layers.stack(&order, starting(ending, &ticks, &inside)),
                call,
                ending,
            )
            .await;
            let stopped = ticks.load(Ordering::Relaxed);
            let report = layers.cleanup.drain(MINUTE).await;
            sleep(ms(5)).await;
            // The task is aborted before the outcome is observed and dropped before the hook runs.
            assert_eq!(ticks.load(Ordering::Relaxed), stopped, "{case}");
            assert_eq!((inside.started(), inside.running()), (1, 0), "{case}");
            assert_eq!(seen.values(), [0], "{case}");
            let ran = u64::from(order.contains(&Kind::Cleanup));
            assert_eq!(
                (report.ran, report.failed, report.abandoned),
                (ran, 0, 0),
                "{case}"
            );
            assert_eq!(
                (report.orphaned, layers.limit.available()),
                (0, 1),
                "{case}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn spawned_tasks_stop_without_any_hook_and_drain_waits_for_them() {
    for order in Kind::stacks() {
        let (layers, ticks, inside) = (Layers::new(1), Arc::default(), Probe::new());
        let stack = layers.stack(&order, starting(Ending::Completes, &ticks, &inside));
        end(stack, call(), Ending::Completes).await;
        let stopped = ticks.load(Ordering::Relaxed);
        let report = layers.cleanup.drain(MINUTE).await;
        if order.contains(&Kind::Cleanup) {
            assert_eq!((report.ran, inside.running()), (0, 0), "{order:?}");
        }
        sleep(ms(5)).await;
        assert_eq!(
            (ticks.load(Ordering::Relaxed), inside.running()),
            (stopped, 0),
            "{order:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn spawned_tasks_stop_with_the_last_context_without_any_layer() {
    let (ticks, inside) = (Arc::default(), Probe::new());
    end(
        starting(Ending::Completes, &ticks, &inside),
        call(),
        Ending::Completes,
    )
    .await;
    sleep(ms(1)).await;
    assert_eq!((inside.started(), inside.running()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn spawned_tasks_of_an_attempt_stop_before_the_next_attempt_starts() {
    for outside in 0..=1 {
        let (inside, most) = (Probe::new(), Recorder::new());
        let (probe, log) = (inside.clone(), most.clone());
        let failing = tool(move |context| {
            log.record(probe.running());
            ticking(&context, &Arc::default(), &probe);
            async move {
                sleep(ms(10)).await;
                Err("no".into())
            }
        });
        let layers = Layers::new(1);
        let (outer, inner) = [Kind::Cleanup, Kind::Partial].split_at(outside);
        let retry = Retry::new(Retries::new(2).after(ms(5)), layers.stack(inner, failing));
        let stack = layers.stack(outer, boxed(retry));
        assert!(stack.oneshot(call()).await.is_err());
        layers.cleanup.drain(MINUTE).await;
        assert_eq!(most.values(), [0, 0, 0], "retry inside {outside}");
        assert_eq!(
            (inside.started(), inside.running()),
            (3, 0),
            "retry inside {outside}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn handle_returns_what_the_task_returns() {
    let stack = CleanupLayer::new().layer(tool(|context| async move {
        let mut slow = context.spawn(async {
            sleep(ms(20)).await;
            "slow"
        });
        // Dropping a handle aborts nothing: this task wakes the other.
        let (wake, woken) = tokio::sync::oneshot::channel();
        drop(context.spawn(async move { wake.send(()) }));
        let quick = context.spawn(async move { woken.await.map(|()| "quick") });
        assert_eq!(quick.await?, Ok("quick"));
        assert!(futures_util::poll!(&mut slow).is_pending());
        assert_eq!(slow.await?, "slow");

        let panics = context.spawn(async { panic!("the task panics") });
        let error: ToolError = panics.await.map(|(): ()| ()).expect_err("it panics");
        assert_eq!(error.to_string(), "the tool panicked: the task panics");

        let mut aborted = context.spawn(std::future::pending::<()>());
        aborted.abort();
        let error = aborted.await.expect_err("it is aborted");
        assert_eq!(cancel_reason(&error), Some(CancelReason::Explicit));
        Ok("done")
    }));
    stack.oneshot(call()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn handle_of_an_aborted_task_returns_the_reason() {
    let (handles, mut taken) = tokio::sync::mpsc::unbounded_channel();
    let tool = tool(move |context| {
        handles
            .send(context.spawn(std::future::pending::<()>()))
            .expect("the test reads it");
        async { std::future::pending().await }
    });
    let timeout = TimeoutLayer::new(ms(10));
    assert!(timeout.layer(tool).oneshot(call()).await.is_err());
    let error = taken.recv().await.unwrap().await.unwrap_err();
    assert_eq!(cancel_reason(&error), Some(CancelReason::Parent));
}

#[tokio::test(start_paused = true)]
async fn no_task_starts_after_the_end() {
    for order in Kind::stacks() {
        let call = call();
        let context = call.context().clone();
        let stack = Layers::new(1).stack(&order, tool(|_| async { Ok("done") }));
        stack.oneshot(call).await.unwrap();
        let inside = Probe::new();
        let probe = inside.clone();
        let error = context
            .spawn(async move { drop(probe.enter()) })
            .await
            .unwrap_err();
        assert_eq!(cancel_reason(&error), Some(CancelReason::Parent));
        sleep(ms(1)).await;
        assert_eq!(inside.started(), 0, "{order:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn spawned_tasks_of_a_call_are_bounded() {
    let inside = Probe::new();
    let probe = inside.clone();
    let stack = CleanupLayer::new().layer(tool(move |context| {
        let inside = probe.clone();
        async move {
            // Completed tasks do not count.
            for n in 0..3 * MAX_SPAWNED {
                assert_eq!(context.spawn(async move { n }).await?, n);
            }
            let start = || {
                let inside = inside.enter();
                context.spawn(async move {
                    let _inside = inside;
                    sleep(ms(100)).await;
                })
            };
            let handles: Vec<_> = (0..MAX_SPAWNED).map(|_| start()).collect();
            let error = start().await.expect_err("one too many");
            assert_eq!(
                (error.kind(), error.outcome()),
                (ErrorKind::Tool, Outcome::Failed)
            );
            let source = error.source().and_then(|source| source.downcast_ref());
            assert_eq!(
                source.map(|error: &TooManySpawned| error.limit),
                Some(MAX_SPAWNED)
            );
            for handle in handles {
                handle.await?;
            }
            start().await?;
            Ok("done")
        }
    }));
    stack.oneshot(call()).await.unwrap();
    assert_eq!((inside.max(), inside.running()), (MAX_SPAWNED + 1, 0));
}

#[tokio::test(start_paused = true)]
async fn task_runs_in_the_span_of_its_call() {
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry());
    let stack = tool(|context| async move {
        let here = tracing::Span::current().id();
        let there = context
            .spawn(async { tracing::Span::current().id() })
            .await?;
        assert_eq!(here, there);
        assert!(here.is_some());
        Ok("done")
    });
    let call = stack.oneshot(call());
    tracing::Instrument::instrument(call, tracing::info_span!("call"))
        .await
        .unwrap();
}

#[tokio::test(start_paused = true)]
async fn no_task_is_left_after_close_and_drain() {
    let (layers, ticks, inside) = (Layers::new(1), Arc::default(), Probe::new());
    let stack = layers.stack(
        &[Kind::Cleanup, Kind::Partial],
        starting(Ending::Completes, &ticks, &inside),
    );
    let running = tokio::spawn(stack.clone().oneshot(call()));
    sleep(ms(5)).await;
    layers.cleanup.close();
    assert!(stack.oneshot(call()).await.is_err());
    assert_eq!(inside.running(), 1);
    assert!(running.await.unwrap().is_ok());
    layers.cleanup.drain(MINUTE).await;
    assert_eq!((inside.started(), inside.running()), (1, 0));
}

/// The waits of the layers themselves do not count as hooks.
#[test]
fn full_registry_of_hooks_waits_for_a_task_that_outlives_its_call() {
    let (gate, cleanup, inside) = (Gate::new(), CleanupLayer::new(), Probe::new());
    let (work, probe) = (Arc::clone(&gate.work), inside.clone());
    let blocks = tool(move |_| {
        let (work, inside) = (Arc::clone(&work), probe.enter());
        async move {
            let _inside = inside;
            work.block();
            std::future::pending().await
        }
    });
    let stack = cleanup.layer(toolbooth::SpawnLayer::new().layer(blocks));
    runtime(2).block_on(async {
        let (call, hooks) = (call(), Recorder::new());
        for _ in 0..toolbooth::MAX_HOOKS {
            let (hooks, inside) = (hooks.clone(), inside.clone());
            let hook = move |_| async move { hooks.record(inside.running()) };
            call.context().on_cleanup(hook);
        }
        let running = tokio::spawn(stack.oneshot(call));
        gate.work.has_begun().await;
        running.abort();
        let _ = running.await;
        sleep(ms(20)).await;
        assert_eq!((hooks.len(), inside.running()), (0, 1));
        gate.open();
        cleanup.drain(MINUTE).await;
        assert_eq!(hooks.values(), [0; toolbooth::MAX_HOOKS]);
    });
}
