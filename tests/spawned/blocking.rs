//! Work that blocks its thread: real threads, told when to go on by channels. A paused clock stands still while such work runs.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use tokio::runtime::Builder;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::unbounded_channel;
use toolbooth::{CancelFlag, CancelReason, MAX_SPAWNED, Outcome, Spawned};
use tower::retry::{Policy, Retry};

use super::*;

/// Work that says that it has begun, and ends when it is let go.
struct Gate {
    go: Sender<()>,
    work: Arc<Work>,
}

struct Work {
    begun: Semaphore,
    go: Mutex<Receiver<()>>,
}

impl Gate {
    fn new() -> Self {
        let (go, goes) = channel();
        let work = Work {
            begun: Semaphore::new(0),
            go: Mutex::new(goes),
        };
        let work = Arc::new(work);
        Self { go, work }
    }

    fn let_go(&self) {
        self.go.send(()).expect("it waits");
    }
}

impl Work {
    fn start(self: &Arc<Self>, context: &CallContext) -> Spawned<bool> {
        let work = Arc::clone(self);
        context.spawn_blocking(move |flag| {
            work.begun.add_permits(1);
            work.go
                .lock()
                .expect("no panic")
                .recv()
                .expect("it is sent");
            flag.is_cancelled()
        })
    }

    /// Waits until it has begun: work that has not when its call ends does not begin.
    async fn has_begun(&self) {
        self.begun.acquire().await.expect("it is open").forget();
    }

    /// A tool that answers when the work has begun.
    fn tool(self: &Arc<Self>) -> Tool {
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

#[derive(Debug, Clone, Copy)]
enum Ending {
    Completes,
    Fails,
    Panics,
    TimesOut,
    IsDropped,
    IsCancelled,
}

/// C5: it is counted, keeps the permit of its call until it ends, and `drain` waits for it.
#[tokio::test(start_paused = true)]
async fn work_that_outlives_its_call_is_orphaned_on_every_ending_in_every_order() {
    use Ending::{Completes, Fails, IsCancelled, IsDropped, Panics, TimesOut};
    for order in Ours::stacks() {
        for ending in [Completes, Fails, Panics, TimesOut, IsDropped, IsCancelled] {
            let case = format!("{order:?}, {ending:?}");
            let (layers, hooks, gate) = (Layers::new(), Recorder::new(), Gate::new());
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
                        match ending {
                            Completes => Ok("done"),
                            Fails => Err("as it was told".into()),
                            Panics => panic!("as it was told"),
                            _ => std::future::pending().await,
                        }
                    }
                }),
            );
            let mut call = call();
            if matches!(ending, TimesOut) {
                call = call.with_timeout(ms(1));
            }
            let (done, is_done) = tokio::sync::oneshot::channel();
            let notes = hooks.clone();
            call.context().on_cleanup(move |outcome| async move {
                notes.record(outcome);
                let _ = done.send(());
            });
            let canceller = call.canceller();
            let answer = tokio::spawn(stack.oneshot(call));
            gate.work.has_begun().await;
            tokio::time::advance(ms(1)).await;
            match ending {
                IsCancelled => canceller.cancel(),
                IsDropped => answer.abort(),
                TimesOut if !order.contains(&Ours::Timeout) => answer.abort(),
                TimesOut => {}
                _ => end.send(true).unwrap(),
            }
            let _ = answer.await;

            let limited = order.contains(&Ours::Concurrency);
            assert_eq!(layers.limit.in_flight(), usize::from(limited), "{case}");
            let cleaned = order.contains(&Ours::Cleanup);
            assert_eq!(
                layers.cleanup.report().orphaned,
                u64::from(cleaned),
                "{case}"
            );
            // The hooks do not wait for it.
            is_done.await.unwrap();
            assert_eq!(hooks.len(), 1, "{case}");
            gate.let_go();
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

async fn eventually(so: impl Fn() -> bool) {
    let patience = Instant::now() + MINUTE;
    while !so() {
        assert!(Instant::now() < patience);
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn drain_waits_for_it_and_no_longer_than_its_limit() {
    let (layers, gate) = (Layers::new(), Gate::new());
    let stack = layers.stack(&Ours::ALL, gate.work.tool());
    stack.oneshot(call()).await.unwrap();
    let cleanup = layers.cleanup.clone();
    let drain = tokio::spawn(async move { cleanup.drain(ms(1)).await });
    tokio::task::yield_now().await;
    // The limit, and what a hook that is told to stop may take.
    tokio::time::advance(ms(1)).await;
    tokio::time::advance(ms(10)).await;
    assert_eq!(drain.await.unwrap().orphaned, 1);
    let counts = (layers.limit.in_flight(), layers.cleanup.report().orphaned);
    assert_eq!(counts, (1, 1));
    gate.let_go();
    assert_eq!(layers.cleanup.drain(MINUTE).await.orphaned, 0);
    let counts = (layers.limit.in_flight(), layers.cleanup.report().orphaned);
    assert_eq!(counts, (0, 0));
}

/// The next call in line gets the permit when the work of the one before has ended, and not before.
#[tokio::test(start_paused = true)]
async fn the_next_call_waits_for_its_permit() {
    let (limit, gate) = (ConcurrencyLimitLayer::new(1), Gate::new());
    let first = limit.layer(gate.work.tool());
    first.oneshot(call()).await.unwrap();
    let next = tokio::spawn(limit.layer(tool(|_| async { Ok("next") })).oneshot(call()));
    eventually(|| limit.queued() == 1).await;
    assert_eq!(limit.in_flight(), 1);
    gate.let_go();
    let output = next.await.unwrap().unwrap();
    assert_eq!(output.collect().await.unwrap().text(), "next");
    assert_eq!(limit.available(), 1);
}

#[tokio::test(start_paused = true)]
async fn work_that_ends_in_time_is_no_orphan() {
    let layers = Layers::new();
    let stack = layers.stack(
        &Ours::ALL,
        tool(|context| async move {
            let sum = context.spawn_blocking(|flag| match flag.is_cancelled() {
                true => 0,
                false => (1..=100_u32).sum(),
            });
            assert_eq!(sum.await?, 5_050);
            let panics = context.spawn_blocking(|_| panic!("as it was told"));
            let error: ToolError = panics.await.map(|(): ()| ()).expect_err("it panics");
            assert_eq!(error.to_string(), "the tool panicked: as it was told");
            Ok("done")
        }),
    );
    stack.oneshot(call()).await.unwrap();
    assert_eq!(
        (layers.limit.in_flight(), layers.cleanup.report().orphaned),
        (0, 0)
    );
}

/// Work that looks at its flag.
fn watching(flag: &CancelFlag) {
    while !flag.is_cancelled() {
        std::thread::yield_now();
    }
}

#[tokio::test(start_paused = true)]
async fn the_flag_says_when_the_call_is_over() {
    for ending in ["completes", "is cut", "is dropped"] {
        let layers = Layers::new();
        let (begun, has_begun) = tokio::sync::watch::channel(false);
        let begun = Arc::new(begun);
        let (ended, has_ended) = channel();
        let stack = layers.stack(
            &Ours::ALL,
            tool(move |context| {
                let (begun, ended) = (Arc::clone(&begun), ended.clone());
                let mut has_begun = begun.subscribe();
                drop(context.spawn_blocking(move |flag| {
                    begun.send_replace(true);
                    watching(&flag);
                    ended.send(()).expect("it is read");
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
        let answer = tokio::spawn(stack.oneshot(call));
        has_begun.clone().wait_for(|begun| *begun).await.unwrap();
        match ending {
            "is cut" => canceller.cancel(),
            "is dropped" => answer.abort(),
            _ => {}
        }
        let _ = answer.await;
        assert_eq!(layers.cleanup.drain(MINUTE).await.orphaned, 0, "{ending}");
        has_ended.try_recv().unwrap();
        assert_eq!(layers.limit.available(), 1, "{ending}");
    }
}

/// A runtime with one thread for such work.
fn narrow() -> tokio::runtime::Runtime {
    Builder::new_current_thread()
        .enable_time()
        .max_blocking_threads(1)
        .build()
        .expect("a runtime")
}

#[test]
fn work_that_has_not_begun_when_the_call_ends_does_not_begin() {
    narrow().block_on(async {
        let (layers, gate, inside) = (Layers::new(), Gate::new(), Probe::new());
        let (work, probe) = (Arc::clone(&gate.work), inside.clone());
        let (handles, mut taken) = unbounded_channel();
        let stack = layers.stack(
            &Ours::ALL,
            tool(move |context| {
                let (work, probe) = (Arc::clone(&work), probe.clone());
                drop(work.start(&context));
                let second = context.spawn_blocking(move |_| drop(probe.enter()));
                handles.send(second).expect("it is read");
                async move {
                    work.has_begun().await;
                    Ok("done")
                }
            }),
        );
        stack.oneshot(call()).await.unwrap();
        assert_eq!(layers.cleanup.report().orphaned, 2);
        gate.let_go();
        assert_eq!(layers.cleanup.drain(MINUTE).await.orphaned, 0);
        let error = taken.recv().await.unwrap().await.unwrap_err();
        assert!(matches!(
            error,
            ToolError::Cancelled {
                reason: CancelReason::Parent,
                ..
            }
        ));
        assert_eq!((inside.started(), layers.limit.available()), (0, 1));
    });
}

#[test]
fn so_much_at_once_and_no_more() {
    narrow().block_on(async {
        let gate = Gate::new();
        let call = call();
        let first = gate.work.start(call.context());
        gate.work.has_begun().await;
        let others: Vec<_> = (1..MAX_SPAWNED)
            .map(|n| call.context().spawn_blocking(move |_| n))
            .collect();
        let error = call.context().spawn_blocking(|_| ()).await.unwrap_err();
        let text = "the call has 1024 pieces of work running, and may start no more";
        assert_eq!(std::error::Error::source(&error).unwrap().to_string(), text);
        gate.let_go();
        assert!(!first.await.unwrap());
        for (other, n) in others.into_iter().zip(1..) {
            assert_eq!(other.await.unwrap(), n);
        }
        assert_eq!(
            call.context()
                .spawn_blocking(|_| "room again")
                .await
                .unwrap(),
            "room again"
        );
    });
}

#[tokio::test(start_paused = true)]
async fn after_the_end_nothing_is_started() {
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
    assert!(matches!(
        late.await.unwrap_err(),
        ToolError::Cancelled {
            reason: CancelReason::Parent,
            ..
        }
    ));
    assert_eq!((inside.started(), cleanup.report().orphaned), (0, 0));
}

#[derive(Debug, Clone)]
struct Once(bool);

impl<T> Policy<ToolCall, T, ToolError> for Once {
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

/// A permit outside of a retry stands for what its attempts started, and so does one that a nested call inherited.
#[tokio::test(start_paused = true)]
async fn work_of_an_attempt_and_of_a_nested_call_keeps_the_permit_around() {
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
    let retry = boxed(Retry::new(Once(true), attempts));
    let stack = cleanup.layer(limit.layer(retry));
    stack.oneshot(call()).await.unwrap();
    assert_eq!((limit.in_flight(), cleanup.report().orphaned), (1, 1));
    gate.let_go();
    assert_eq!(cleanup.drain(MINUTE).await.orphaned, 0);
    assert_eq!(limit.available(), 1);
}

/// The call that makes a nested call is above each of that one's attempts, and has their work once.
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
    let retry = boxed(Retry::new(Once(true), attempts));
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
    gate.let_go();
    assert_eq!(cleanup.drain(MINUTE).await.orphaned, 0);
}

/// A task that blocks its thread cannot be aborted either: the hooks wait for it as long as a hook may run, and a drain counts it.
#[test]
fn a_task_that_blocks_its_thread_holds_no_hook_up() {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .expect("a runtime");
    let (begun, mut has_begun) = unbounded_channel();
    let (go, goes) = channel();
    let goes = Arc::new(Mutex::new(goes));
    let cleanup = CleanupLayer::new().with_hook_limit(ms(5));
    let stack = cleanup.layer(tool(move |context| {
        let (begun, goes) = (begun.clone(), Arc::clone(&goes));
        drop(context.spawn(async move {
            begun.send(()).expect("it is read");
            goes.lock().expect("no panic").recv().expect("it is sent");
        }));
        async { std::future::pending().await }
    }));
    runtime.block_on(async {
        let hooks = Recorder::new();
        let call = call();
        call.context().on_cleanup(hooks.hook());
        let answer = tokio::spawn(stack.oneshot(call));
        has_begun.recv().await.unwrap();
        answer.abort();
        let _ = answer.await;
        eventually(|| hooks.len() == 1).await;
        assert_eq!(hooks.values(), [Outcome::Cancelled]);
        assert_eq!(cleanup.drain(ms(1)).await.orphaned, 1);
        go.send(()).unwrap();
        assert_eq!(cleanup.drain(MINUTE).await.orphaned, 0);
        assert_eq!(cleanup.report().ran, 1);
    });
}

/// The hooks run when the tasks are gone, however long that takes within a hook's limit.
#[test]
fn hooks_wait_for_the_tasks() {
    let runtime = Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .expect("a runtime");
    let (begun, mut has_begun) = unbounded_channel();
    let (go, goes) = channel();
    let goes = Arc::new(Mutex::new(goes));
    let inside = Probe::new();
    let probe = inside.clone();
    let cleanup = CleanupLayer::new().with_hook_limit(MINUTE);
    let stack = cleanup.layer(tool(move |context| {
        let (begun, goes, inside) = (begun.clone(), Arc::clone(&goes), probe.enter());
        drop(context.spawn(async move {
            let _inside = inside;
            begun.send(()).expect("it is read");
            goes.lock().expect("no panic").recv().expect("it is sent");
        }));
        async { std::future::pending().await }
    }));
    runtime.block_on(async {
        let seen = Recorder::new();
        let notes = seen.clone();
        let call = call();
        call.context()
            .on_cleanup(move |_| async move { notes.record(inside.running()) });
        let answer = tokio::spawn(stack.oneshot(call));
        has_begun.recv().await.unwrap();
        answer.abort();
        let _ = answer.await;
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        go.send(()).unwrap();
        assert_eq!(cleanup.drain(MINUTE).await.ran, 1);
        assert_eq!(seen.values(), [0]);
    });
}
