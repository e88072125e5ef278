//! Tasks that a call starts.

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{StreamExt, stream};
use tokio::time::sleep;
use toolbooth::{
    CancelReason, Content, ErrorKind, MAX_SPAWNED, Outcome, TooManySpawned, stream_tool_fn,
};
use tower::retry::{Policy, Retry};

use super::*;

/// How a call ends, 10 ms after its tool began.
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
    StreamIsCut,
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
        Self::StreamIsCut,
    ];
}

/// A task that ticks each millisecond, and is inside of `inside` until it is dropped.
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

/// A tool that starts a ticking task, and ends as it is told.
fn starting(ending: Ending, ticks: &Arc<AtomicUsize>, inside: &Probe) -> Tool {
    let (ticks, inside) = (Arc::clone(ticks), inside.clone());
    let start = move |context: &CallContext| ticking(context, &ticks, &inside);
    match ending {
        Ending::StreamCompletes
        | Ending::StreamFails
        | Ending::StreamIsDropped
        | Ending::StreamIsCut => boxed(stream_tool_fn(
            "tool",
            move |context: CallContext, (): ()| {
                start(&context);
                let last = stream::once(async move {
                    sleep(ms(10)).await;
                    match ending {
                        Ending::StreamCompletes => Ok(Content::from("last")),
                        Ending::StreamFails => Err(ToolError::failed("as it was told")),
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
                    Ending::Fails => Err("as it was told".into()),
                    Ending::Panics => panic!("as it was told"),
                    _ => std::future::pending().await,
                }
            }
        }),
    }
}

/// Makes the call and lets it end; the answer is read to its last byte.
async fn end(stack: Tool, call: ToolCall, ending: Ending) {
    let canceller = call.canceller();
    let answer = tokio::spawn(async move {
        let mut contents = stack.oneshot(call).await?.into_stream();
        while let Some(content) = contents.next().await {
            content?;
        }
        Ok::<_, ToolError>(())
    });
    sleep(ms(10)).await;
    sleep(ms(1)).await;
    match ending {
        Ending::IsDropped | Ending::StreamIsDropped | Ending::TimesOut => answer.abort(),
        Ending::IsCancelled | Ending::StreamIsCut => canceller.cancel(),
        _ => {}
    }
    let ended = answer.await;
    match ending {
        Ending::Completes | Ending::StreamCompletes => {
            ended.expect("no panic").expect("an answer");
        }
        Ending::Panics => assert!(ended.expect_err("a panic").is_panic()),
        Ending::Fails | Ending::StreamFails => {
            let error = ended.expect("no panic").expect_err("a failure");
            assert_eq!(error.kind(), ErrorKind::Tool);
        }
        _ => assert!(!matches!(ended, Ok(Ok(())))),
    }
}

#[tokio::test(start_paused = true)]
async fn they_stop_on_every_ending_in_every_order() {
    for order in Ours::stacks() {
        for ending in Ending::ALL {
            let case = format!("{order:?}, {ending:?}");
            let (layers, ticks, inside) = (Layers::new(), Arc::default(), Probe::new());
            let seen = Recorder::new();
            let (notes, still) = (seen.clone(), inside.clone());
            let mut call = call();
            call.context()
                .on_cleanup(move |_| async move { notes.record(still.running()) });
            if ending == Ending::TimesOut && order.contains(&Ours::Timeout) {
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
            // It had been told to stop when the outcome was seen, and was gone before the hook ran.
            assert_eq!(ticks.load(Ordering::Relaxed), stopped, "{case}");
            assert_eq!((inside.started(), inside.running()), (1, 0), "{case}");
            assert_eq!(seen.values(), [0], "{case}");
            let ran = u64::from(order.contains(&Ours::Cleanup));
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

/// What ends them is the call's end, whether or not there is a hook.
#[tokio::test(start_paused = true)]
async fn they_stop_without_any_hook_and_drain_waits_for_them() {
    for order in Ours::stacks() {
        let (layers, ticks, inside) = (Layers::new(), Arc::default(), Probe::new());
        let stack = layers.stack(&order, starting(Ending::Completes, &ticks, &inside));
        end(stack, call(), Ending::Completes).await;
        let stopped = ticks.load(Ordering::Relaxed);
        let report = layers.cleanup.drain(MINUTE).await;
        if order.contains(&Ours::Cleanup) {
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
async fn they_stop_with_the_last_handle_where_there_is_no_layer() {
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

/// Those of an attempt end with the attempt, though its hooks may wait for the end of the call.
#[tokio::test(start_paused = true)]
async fn those_of_an_attempt_stop_before_the_next_begins() {
    for outside in 0..=1 {
        let (inside, most) = (Probe::new(), Recorder::new());
        let (probe, notes) = (inside.clone(), most.clone());
        let failing = tool(move |context| {
            notes.record(probe.running());
            ticking(&context, &Arc::default(), &probe);
            async move {
                sleep(ms(10)).await;
                Err("no".into())
            }
        });
        let layers = Layers::new();
        let (outer, inner) = [Ours::Cleanup, Ours::Partial].split_at(outside);
        let retry = Retry::new(Again(2), layers.stack(inner, failing));
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

/// So many more attempts, 5 ms later each.
#[derive(Debug, Clone)]
struct Again(u32);

impl<T> Policy<ToolCall, T, ToolError> for Again {
    type Future = std::pin::Pin<Box<tokio::time::Sleep>>;

    fn retry(
        &mut self,
        _: &mut ToolCall,
        result: &mut Result<T, ToolError>,
    ) -> Option<Self::Future> {
        self.0 = self.0.checked_sub(1).filter(|_| result.is_err())?;
        Some(Box::pin(sleep(ms(5))))
    }

    fn clone_request(&mut self, request: &ToolCall) -> Option<ToolCall> {
        Some(request.clone())
    }
}

#[tokio::test(start_paused = true)]
async fn the_handle_gives_what_the_task_gives() {
    let stack = CleanupLayer::new().layer(tool(|context| async move {
        let mut slow = context.spawn(async {
            sleep(ms(20)).await;
            "slow"
        });
        // Dropping one stops nothing: this task wakes the other.
        let (wake, woken) = tokio::sync::oneshot::channel();
        drop(context.spawn(async move { wake.send(()) }));
        let quick = context.spawn(async move { woken.await.map(|()| "quick") });
        assert_eq!(quick.await?, Ok("quick"));
        assert!(futures_util::poll!(&mut slow).is_pending());
        assert_eq!(slow.await?, "slow");

        let panics = context.spawn(async { panic!("as it was told") });
        let error: ToolError = panics.await.map(|(): ()| ()).expect_err("it panics");
        assert_eq!(error.to_string(), "the tool panicked: as it was told");

        let mut aborted = context.spawn(std::future::pending::<()>());
        aborted.abort();
        let error = aborted.await.expect_err("it is aborted");
        assert!(matches!(
            error,
            ToolError::Cancelled {
                reason: CancelReason::Explicit,
                ..
            }
        ));
        Ok("done")
    }));
    stack.oneshot(call()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_task_that_the_end_cut_short_says_so() {
    let (handles, mut taken) = tokio::sync::mpsc::unbounded_channel();
    let tool = tool(move |context| {
        handles
            .send(context.spawn(std::future::pending::<()>()))
            .expect("it is read");
        async { std::future::pending().await }
    });
    let timeout = TimeoutLayer::new(ms(10));
    assert!(timeout.layer(tool).oneshot(call()).await.is_err());
    let error = taken.recv().await.unwrap().await.unwrap_err();
    assert!(
        matches!(
            error,
            ToolError::Cancelled {
                reason: CancelReason::Parent,
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn after_the_end_nothing_is_started() {
    for order in Ours::stacks() {
        let call = call();
        let context = call.context().clone();
        let stack = Layers::new().stack(&order, tool(|_| async { Ok("done") }));
        stack.oneshot(call).await.unwrap();
        let inside = Probe::new();
        let probe = inside.clone();
        let error = context
            .spawn(async move { drop(probe.enter()) })
            .await
            .unwrap_err();
        assert!(
            matches!(
                error,
                ToolError::Cancelled {
                    reason: CancelReason::Parent,
                    ..
                }
            ),
            "{error}"
        );
        sleep(ms(1)).await;
        assert_eq!(inside.started(), 0, "{order:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn so_many_at_once_and_no_more() {
    let inside = Probe::new();
    let probe = inside.clone();
    let stack = CleanupLayer::new().layer(tool(move |context| {
        let inside = probe.clone();
        async move {
            // Those that are done do not count.
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
                source.map(|refused: &TooManySpawned| refused.limit),
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
async fn a_task_has_the_span_of_its_call() {
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
async fn closed_and_drained_nothing_of_a_call_is_left() {
    let (layers, ticks, inside) = (Layers::new(), Arc::default(), Probe::new());
    let stack = layers.stack(
        &[Ours::Cleanup, Ours::Partial],
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

/// However many hooks there are: what the layers themselves wait for takes no room of theirs.
#[test]
fn hooks_wait_for_a_task_that_outlives_its_call_also_when_there_is_no_room_for_more() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .expect("a runtime");
    let (begun, mut has_begun) = tokio::sync::mpsc::unbounded_channel();
    let (go, goes) = std::sync::mpsc::channel();
    let goes = Arc::new(std::sync::Mutex::new(goes));
    let (cleanup, inside) = (CleanupLayer::new(), Probe::new());
    let probe = inside.clone();
    let blocks = tool(move |_| {
        let (begun, goes, inside) = (begun.clone(), goes.clone(), probe.enter());
        async move {
            let _inside = inside;
            begun.send(()).expect("it is read");
            goes.lock().expect("no panic").recv().expect("it is sent");
            std::future::pending().await
        }
    });
    let stack = cleanup.layer(toolbooth::SpawnLayer::new().layer(blocks));
    runtime.block_on(async {
        let (call, hooks) = (call(), Recorder::new());
        for _ in 0..toolbooth::MAX_HOOKS {
            let (hooks, inside) = (hooks.clone(), inside.clone());
            call.context().on_cleanup(move |_| async move {
                hooks.record(inside.running());
            });
        }
        let answer = tokio::spawn(stack.oneshot(call));
        has_begun.recv().await.unwrap();
        answer.abort();
        let _ = answer.await;
        sleep(ms(20)).await;
        assert_eq!((hooks.len(), inside.running()), (0, 1));
        go.send(()).unwrap();
        cleanup.drain(MINUTE).await;
        assert_eq!(hooks.values(), [0; toolbooth::MAX_HOOKS]);
    });
}
