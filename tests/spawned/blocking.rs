//! Work that blocks its thread, on real threads that channels control.
//!
//! A paused clock does not advance while such work runs.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use tokio::runtime::Builder;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::unbounded_channel;
use toolbooth::{CancelFlag, CancelReason, MAX_SPAWNED, Outcome, Spawned};
use tower::retry::Retry;

use super::*;

/// Work that signals its start and ends when the gate opens.
pub(super) struct Gate {
    go: Sender<()>,
    pub(super) work: Arc<Work>,
}

pub(super) struct Work {
    begun: Semaphore,
    go: Mutex<Receiver<()>>,
}

impl Gate {
    pub(super) fn new() -> Self {
        let (go, goes) = channel();
        let work = Work {
            begun: Semaphore::new(0),
            go: Mutex::new(goes),
        };
        let work = Arc::new(work);
        Self { go, work }
    }

    pub(super) fn open(&self) {
        self.go.send(()).expect("the work waits");
    }
}

impl Work {
    /// Signals the start and blocks the thread until the gate opens.
    pub(super) fn block(&self) {
        self.begun.add_permits(1);
        let go = self.go.lock().expect("no panic");
        go.recv().expect("the test opens the gate");
    }

    fn start(self: &Arc<Self>, context: &CallContext) -> Spawned<bool> {
        let work = Arc::clone(self);
        context.spawn_blocking(move |flag| {
            work.block();
            flag.is_cancelled()
        })
    }

    /// Waits for the start. Work that has not started when its call ends never does.
    pub(super) async fn has_begun(&self) {
        self.begun.acquire().await.expect("it stays open").forget();
    }

    /// A tool that returns when the work has started.
    fn tool(self: &Arc<Self>) -> BoxTool {
        let work = Arc::clone(self);
        tool(move |context| {
            let work = Arc::clone(&work);
            async move {
                drop(work.start(&context));
                work.has_begun().await;
                Ok("done")
            }
        })
    }
}

/// C5: it is counted, holds the permit of its call until it ends, and `drain` waits for it.
#[tokio::test(start_paused = true)]
async fn blocking_work_that_outlives_its_call_is_orphaned_and_holds_the_permit() {
    use Ending::{IsCancelled, IsDropped, TimesOut};
    for order in Kind::stacks() {
        for ending in Ending::ALL {
            let case = format!("{order:?}, {ending:?}");
            let (layers, hooks, gate) = (Layers::new(1), Recorder::new(), Gate::new());
            let work = Arc::clone(&gate.work);
            let (end, mut ends) = tokio::sync::watch::channel(false);
            ends.mark_unchanged();
            let stack = layers.stack(
                &order,
                tool(move |context| {
                    let (work, mut ends) = (Arc::clone(&work), ends.clone());
                    async move {
                        drop(work.start(&context));
                        ends.changed().await?;
                        ending.end().await
                    }
                }),
            );
            let mut call = call();
            if matches!(ending, TimesOut) {
                call = call.with_timeout(ms(1));
            }
            let (done, is_done) = tokio::sync::oneshot::channel();
            let log = hooks.clone();
            call.context().on_cleanup(move |outcome| async move {
                log.record(outcome);
                let _ = done.send(());
            });
            let canceller = call.canceller();
            let running = tokio::spawn(stack.oneshot(call));
            gate.work.has_begun().await;
            tokio::time::advance(ms(1)).await;
            match ending {
                IsCancelled => canceller.cancel(),
                IsDropped => running.abort(),
                TimesOut if !order.contains(&Kind::Timeout) => running.abort(),
                TimesOut => {}
                _ => end.send(true).unwrap(),
            }
            let _ = running.await;

            let limited = order.contains(&Kind::Concurrency);
            assert_eq!(layers.limit.in_flight(), usize::from(limited), "{case}");
            let cleaned = order.contains(&Kind::Cleanup);
            assert_eq!(
                layers.cleanup.report().orphaned,
                u64::from(cleaned),
                "{case}"
            );
            // The hooks do not wait for the work.
            is_done.await.unwrap();
            assert_eq!(hooks.len(), 1, "{case}");
            gate.open();
            let report = layers.cleanup.drain(MINUTE).await;
            assert_eq!(
                (report.ran, report.orphaned),
                (u64::from(cleaned), 0),
                "{case}"
            );
            if !cleaned {
                eventually(|| layers.limit.in_flight() == 0).await;
            }
            assert_eq!(layers.limit.available(), 1, "{case}");
        }
    }
}

pub(super) async fn eventually(condition: impl Fn() -> bool) {
    let limit = Instant::now() + MINUTE;
    while !condition() {
        assert!(Instant::now() < limit);
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn drain_waits_for_blocking_work_up_to_its_limit() {
    let (layers, gate) = (Layers::new(1), Gate::new());
    let stack = layers.stack(&Kind::ALL, gate.work.tool());
    stack.oneshot(call()).await.unwrap();
    let cleanup = layers.cleanup.clone();
    let drain = tokio::spawn(async move { cleanup.drain(ms(1)).await });
    tokio::task::yield_now().await;
    // The limit, and the time in which an aborted hook may end.
    tokio::time::advance(ms(1)).await;
    tokio::time::advance(ms(10)).await;
    assert_eq!(drain.await.unwrap().orphaned, 1);
    let counts = (layers.limit.in_flight(), layers.cleanup.report().orphaned);
    assert_eq!(counts, (1, 1));
    gate.open();
    assert_eq!(layers.cleanup.drain(MINUTE).await.orphaned, 0);
    let counts = (layers.limit.in_flight(), layers.cleanup.report().orphaned);
    assert_eq!(counts, (0, 0));
}

#[tokio::test(start_paused = true)]
async fn next_call_waits_for_the_end_of_blocking_work() {
    let (limit, gate) = (ConcurrencyLimitLayer::new(1), Gate::new());
    let first = limit.layer(gate.work.tool());
    first.oneshot(call()).await.unwrap();
    let next = tokio::spawn(limit.layer(tool(|_| async { Ok("next") })).oneshot(call()));
    eventually(|| limit.queued() == 1).await;
    assert_eq!(limit.in_flight(), 1);
    gate.open();
    let output = next.await.unwrap().unwrap();
    assert_eq!(output.collect().await.unwrap().text(), "next");
    assert_eq!(limit.available(), 1);
}

#[tokio::test(start_paused = true)]
async fn work_that_ends_before_its_call_is_not_orphaned() {
    let layers = Layers::new(1);
    let stack = layers.stack(
        &Kind::ALL,
        tool(|context| async move {
            let sum = context.spawn_blocking(|flag| match flag.is_cancelled() {
                true => 0,
                false => (1..=100_u32).sum(),
            });
            assert_eq!(sum.await?, 5_050);
            let panics = context.spawn_blocking(|_| panic!("the work panics"));
            let error: ToolError = panics.await.map(|(): ()| ()).expect_err("it panics");
            assert_eq!(error.to_string(), "the tool panicked: the work panics");
            Ok("done")
        }),
    );
    stack.oneshot(call()).await.unwrap();
    assert_eq!(
        (layers.limit.in_flight(), layers.cleanup.report().orphaned),
        (0, 0)
    );
}

/// Runs until the flag is set.
fn watching(flag: &CancelFlag) {
    while !flag.is_cancelled() {
        std::thread::yield_now();
    }
}

#[tokio::test(start_paused = true)]
async fn flag_is_set_when_the_call_ends() {
    for ending in ["completes", "is cancelled", "is dropped"] {
        let layers = Layers::new(1);
        let (begun, has_begun) = tokio::sync::watch::channel(false);
        let begun = Arc::new(begun);
        let (ended, has_ended) = channel();
        let stack = layers.stack(
            &Kind::ALL,
            tool(move |context| {
                let (begun, ended) = (Arc::clone(&begun), ended.clone());
                let mut has_begun = begun.subscribe();
                drop(context.spawn_blocking(move |flag| {
                    begun.send_replace(true);
                    watching(&flag);
                    ended.send(()).expect("the test reads it");
                }));
                async move {
                    has_begun.wait_for(|begun| *begun).await?;
                    match ending {
                        "completes" => Ok("done"),
                        _ => std::future::pending().await,
                    }
                }
            }),
        );
        let call = call();
        let canceller = call.canceller();
        let running = tokio::spawn(stack.oneshot(call));
        has_begun.clone().wait_for(|begun| *begun).await.unwrap();
        match ending {
            "is cancelled" => canceller.cancel(),
            "is dropped" => running.abort(),
            _ => {}
        }
        let _ = running.await;
        assert_eq!(layers.cleanup.drain(MINUTE).await.orphaned, 0, "{ending}");
        has_ended.try_recv().unwrap();
        assert_eq!(layers.limit.available(), 1, "{ending}");
    }
}

/// A runtime with one thread for blocking work.
fn narrow() -> tokio::runtime::Runtime {
    Builder::new_current_thread()
        .enable_time()
        .max_blocking_threads(1)
        .build()
        .expect("a runtime")
}

#[test]
fn work_that_has_not_started_when_the_call_ends_does_not_start() {
    narrow().block_on(async {
        let (layers, gate, inside) = (Layers::new(1), Gate::new(), Probe::new());
        let (work, probe) = (Arc::clone(&gate.work), inside.clone());
        let (handles, mut taken) = unbounded_channel();
        let stack = layers.stack(
            &Kind::ALL,
            tool(move |context| {
                let (work, probe) = (Arc::clone(&work), probe.clone());
                drop(work.start(&context));
                let second = context.spawn_blocking(move |_| drop(probe.enter()));
                handles.send(second).expect("the test reads it");
                async move {
                    work.has_begun().await;
                    Ok("done")
                }
            }),
        );
        stack.oneshot(call()).await.unwrap();
        assert_eq!(layers.cleanup.report().orphaned, 2);
        gate.open();
        assert_eq!(layers.cleanup.drain(MINUTE).await.orphaned, 0);
        let error = taken.recv().await.unwrap().await.unwrap_err();
        assert_eq!(cancel_reason(&error), Some(CancelReason::Parent));
        assert_eq!((inside.started(), layers.limit.available()), (0, 1));
    });
}

#[test]
fn blocking_work_of_a_call_is_bounded() {
    narrow().block_on(async {
        let gate = Gate::new();
        let call = call();
        let first = gate.work.start(call.context());
        gate.work.has_begun().await;
        let others: Vec<_> = (1..MAX_SPAWNED)
            .map(|n| call.context().spawn_blocking(move |_| n))
            .collect();
        let error = call.context().spawn_blocking(|_| ()).await.unwrap_err();
        let text = "the call already runs 1024 tasks or blocking jobs, the maximum";
        assert_eq!(std::error::Error::source(&error).unwrap().to_string(), text);
        gate.open();
        assert!(!first.await.unwrap());
        for (other, n) in others.into_iter().zip(1..) {
            assert_eq!(other.await.unwrap(), n);
        }
        assert_eq!(
            call.context().spawn_blocking(|_| "another").await.unwrap(),
            "another"
        );
    });
}

#[tokio::test(start_paused = true)]
async fn no_blocking_work_starts_after_the_end() {
    let call = call();
    let context = call.context().clone();
    let cleanup = CleanupLayer::new();
    cleanup
        .layer(tool(|_| async { Ok("done") }))
        .oneshot(call)
        .await
        .unwrap();
    let inside = Probe::new();
    let probe = inside.clone();
    let late = context.spawn_blocking(move |_| drop(probe.enter()));
    assert_eq!(
        cancel_reason(&late.await.unwrap_err()),
        Some(CancelReason::Parent)
    );
    assert_eq!((inside.started(), cleanup.report().orphaned), (0, 0));
}

/// Also if the permit is outside of a retry, or inherited by a nested call.
#[tokio::test(start_paused = true)]
async fn work_of_an_attempt_and_of_a_nested_call_holds_the_permit() {
    let (limit, cleanup) = (ConcurrencyLimitLayer::new(1), CleanupLayer::new());
    let gate = Gate::new();
    let nested = boxed(limit.layer(gate.work.tool()));
    let attempts = boxed(tower::service_fn(move |call: ToolCall| {
        let nested = nested.clone();
        async move {
            if call.context().attempt() == 1 {
                return Err(ToolError::failed("no"));
            }
            let child = call.context().child("nested", json!(null))?;
            nested.oneshot(child).await
        }
    }));
    let retry = boxed(Retry::new(Retries::new(1), attempts));
    let stack = cleanup.layer(limit.layer(retry));
    stack.oneshot(call()).await.unwrap();
    assert_eq!((limit.in_flight(), cleanup.report().orphaned), (1, 1));
    gate.open();
    assert_eq!(cleanup.drain(MINUTE).await.orphaned, 0);
    assert_eq!(limit.available(), 1);
}

#[tokio::test(start_paused = true)]
async fn work_of_an_attempt_of_a_nested_call_counts_once() {
    let (cleanup, gate) = (CleanupLayer::new(), Gate::new());
    let work = gate.work.tool();
    let attempts = boxed(tower::service_fn(move |call: ToolCall| {
        let work = work.clone();
        async move {
            match call.context().attempt() {
                1 => Err(ToolError::failed("no")),
                _ => work.oneshot(call).await,
            }
        }
    }));
    let retry = boxed(Retry::new(Retries::new(1), attempts));
    let nested = boxed(PartialResultLayer::new().layer(retry));
    let outer = boxed(tower::service_fn(move |call: ToolCall| {
        let nested = nested.clone();
        async move {
            let child = call.context().child("nested", json!(null))?;
            nested.oneshot(child).await
        }
    }));
    cleanup.layer(outer).oneshot(call()).await.unwrap();
    assert_eq!(cleanup.report().orphaned, 1);
    gate.open();
    assert_eq!(cleanup.drain(MINUTE).await.orphaned, 0);
}

/// A tool that never returns and whose task blocks its thread; the probe counts the task.
pub(super) fn blocking_task(gate: &Gate, inside: &Probe) -> BoxTool {
    let (work, probe) = (Arc::clone(&gate.work), inside.clone());
    tool(move |context| {
        let (work, inside) = (Arc::clone(&work), probe.enter());
        drop(context.spawn(async move {
            let _inside = inside;
            work.block();
        }));
        async { std::future::pending().await }
    })
}

/// Such a task cannot be aborted. The hooks wait for it up to their limit, and a drain counts it.
#[test]
fn task_that_blocks_its_thread_delays_hooks_up_to_their_limit() {
    let (gate, hooks) = (Gate::new(), Recorder::new());
    let cleanup = CleanupLayer::new().with_hook_limit(ms(5));
    let stack = cleanup.layer(blocking_task(&gate, &Probe::new()));
    runtime(2).block_on(async {
        let call = call();
        call.context().on_cleanup(hooks.hook());
        let running = tokio::spawn(stack.oneshot(call));
        gate.work.has_begun().await;
        running.abort();
        let _ = running.await;
        eventually(|| hooks.len() == 1).await;
        assert_eq!(hooks.values(), [Outcome::Cancelled]);
        assert_eq!(cleanup.drain(ms(1)).await.orphaned, 1);
        gate.open();
        assert_eq!(cleanup.drain(MINUTE).await.orphaned, 0);
        assert_eq!(cleanup.report().ran, 1);
    });
}

#[test]
fn hooks_wait_for_the_end_of_tasks() {
    let (gate, inside, seen) = (Gate::new(), Probe::new(), Recorder::new());
    let cleanup = CleanupLayer::new().with_hook_limit(MINUTE);
    let stack = cleanup.layer(blocking_task(&gate, &inside));
    let log = seen.clone();
    runtime(2).block_on(async {
        let call = call();
        let hook = move |_| async move { log.record(inside.running()) };
        call.context().on_cleanup(hook);
        let running = tokio::spawn(stack.oneshot(call));
        gate.work.has_begun().await;
        running.abort();
        let _ = running.await;
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        gate.open();
        assert_eq!(cleanup.drain(MINUTE).await.ran, 1);
        assert_eq!(seen.values(), [0]);
    });
}
