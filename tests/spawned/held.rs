//! `ConcurrencyLimitLayer::with_hold_until_ended`: hooks, tasks and nested calls keep the permit.

use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};

use tokio::time::{sleep, timeout};
use toolbooth::{CleanupEnd, SpawnLayer, ToolOutput};
use toolbooth_test::Stopwatch;
use tower::retry::Retry;
use tower::service_fn;

use super::blocking::{Gate, blocking_task, eventually};
use super::*;

fn held(permits: usize) -> ConcurrencyLimitLayer {
    ConcurrencyLimitLayer::new(permits).with_hold_until_ended()
}

/// Free permits, running calls, queued calls.
fn counts(limit: &ConcurrencyLimitLayer) -> (usize, usize, usize) {
    (limit.available(), limit.in_flight(), limit.queued())
}

/// A tool whose hook takes 50 ms and is then recorded.
fn hooked(hooks: &Recorder<&'static str>) -> BoxTool {
    let hooks = hooks.clone();
    tool(move |context| {
        let hooks = hooks.clone();
        context.on_cleanup(move |_| async move {
            sleep(ms(50)).await;
            hooks.record("hook");
        });
        async { Ok("done") }
    })
}

/// A tool that records its start.
fn recorded(starts: &Recorder<&'static str>) -> BoxTool {
    let starts = starts.clone();
    tool(move |_| {
        starts.record("next");
        async { Ok("done") }
    })
}

async fn in_time<F: Future>(future: F) -> F::Output {
    let finished = timeout(MINUTE, future).await;
    finished.expect("no call waits for itself")
}

/// The next call starts when the hook has ended, and not before.
#[tokio::test(start_paused = true)]
async fn hooks_keep_the_permit_on_every_ending_in_every_order() {
    for order in Kind::stacks() {
        if !order.contains(&Kind::Concurrency) {
            continue;
        }
        for ending in Ending::ALL {
            let case = format!("{order:?}, {ending:?}");
            let (mut layers, log) = (Layers::new(1), Recorder::new());
            layers.limit = held(1);
            let hooks = log.clone();
            let ends = tool(move |context| {
                let hooks = hooks.clone();
                context.on_cleanup(move |_| async move {
                    sleep(ms(50)).await;
                    hooks.record("hook");
                });
                async move {
                    sleep(ms(10)).await;
                    ending.end().await
                }
            });
            let call = match ending {
                Ending::TimesOut if order.contains(&Kind::Timeout) => call().with_timeout(ms(10)),
                _ => call(),
            };
            let canceller = call.canceller();
            let running = tokio::spawn(layers.stack(&order, ends).oneshot(call));
            sleep(ms(11)).await;
            match ending {
                Ending::TimesOut | Ending::IsDropped => running.abort(),
                Ending::IsCancelled => canceller.cancel(),
                _ => {}
            }
            let _ = running.await;
            assert_eq!(counts(&layers.limit), (0, 1, 0), "{case}");
            let next = layers.limit.layer(recorded(&log));
            assert!(in_time(next.oneshot(self::call())).await.is_ok(), "{case}");
            assert_eq!(log.values(), ["hook", "next"], "{case}");
            let times = log.times();
            assert_eq!(times[0], times[1], "{case}");
            let report = layers.cleanup.drain(MINUTE).await;
            let counted = u64::from(order.contains(&Kind::Cleanup));
            assert_eq!((report.ran, report.failed), (counted, 0), "{case}");
            layers.assert_released(&case);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn permit_of_a_call_without_hooks_is_released_with_its_response() {
    let limit = held(1);
    let stack = limit.layer(tool(|context| async move {
        assert_eq!(context.spawn(async { 42 }).await?, 42);
        Ok("done")
    }));
    for _ in 0..3 {
        assert!(stack.clone().oneshot(call()).await.is_ok());
        assert_eq!(counts(&limit), (1, 0, 0));
    }
}

/// Values that were cloned before keep the default.
#[tokio::test(start_paused = true)]
async fn clones_share_the_limit_and_not_the_setting() {
    let (released, log) = (ConcurrencyLimitLayer::new(2), Recorder::new());
    let held = released.clone().with_hold_until_ended();
    let calls = [&released, &held].map(|limit| limit.layer(hooked(&log)).oneshot(call()));
    for running in calls {
        assert!(running.await.is_ok());
    }
    assert_eq!((counts(&released), counts(&held)), ((1, 1, 0), (1, 1, 0)));
    sleep(ms(51)).await;
    assert_eq!((counts(&released), log.len()), ((2, 0, 0), 2));
}

#[tokio::test(start_paused = true)]
async fn all_permits_of_a_costly_call_are_kept() {
    let (limit, log) = (held(5).with_cost(|_| 3), Recorder::new());
    assert!(limit.layer(hooked(&log)).oneshot(call()).await.is_ok());
    assert_eq!(counts(&limit), (2, 3, 0));
    sleep(ms(51)).await;
    assert_eq!(counts(&limit), (5, 0, 0));
}

/// More limits than a context has slots for.
#[tokio::test(start_paused = true)]
async fn hooks_keep_the_permits_of_nine_limits() {
    let (limits, log) = (Vec::from_iter((0..9).map(|_| held(1))), Recorder::new());
    let nine = limits.iter();
    let stack = nine.fold(hooked(&log), |tool, limit| boxed(limit.layer(tool)));
    assert!(stack.oneshot(call()).await.is_ok());
    assert!(limits.iter().all(|limit| counts(limit) == (0, 1, 0)));
    sleep(ms(51)).await;
    assert!(limits.iter().all(|limit| counts(limit) == (1, 0, 0)));
}

#[tokio::test(start_paused = true)]
async fn hook_that_is_stopped_at_its_limit_releases_the_permit() {
    let (limit, cleanup) = (held(1), CleanupLayer::new().with_hook_limit(ms(20)));
    let stack = limit.layer(cleanup.layer(tool(|context| {
        context.on_cleanup(|_| std::future::pending());
        context.on_cleanup(|_| async { panic!("in a hook") });
        async { Ok("done") }
    })));
    let watch = Stopwatch::start();
    assert!(stack.clone().oneshot(call()).await.is_ok());
    assert!(in_time(stack.oneshot(call())).await.is_ok());
    assert_eq!(watch.elapsed(), ms(20));
    assert_eq!(cleanup.drain(MINUTE).await.failed, 4);
    assert_eq!(counts(&limit), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn drain_that_abandons_hooks_releases_the_permit() {
    let (limit, cleanup, log) = (held(1), CleanupLayer::new(), Recorder::new());
    let stack = limit.layer(cleanup.layer(hooked(&log)));
    assert!(stack.oneshot(call()).await.is_ok());
    let report = cleanup.drain(ms(20)).await;
    assert_eq!((report.abandoned, report.ran, log.len()), (1, 0, 0));
    assert_eq!(counts(&limit), (1, 0, 0));
}

#[test]
fn shutdown_of_the_runtime_releases_the_permit() {
    for cleanup in [CleanupLayer::new(), CleanupLayer::off()] {
        let (limit, runtime) = (held(1), runtime(1));
        let stack = limit.layer(cleanup.layer(tool(|context| {
            context.on_cleanup(|_| std::future::pending());
            async { Ok("done") }
        })));
        assert!(runtime.block_on(stack.oneshot(call())).is_ok());
        assert_eq!(counts(&limit), (0, 1, 0));
        drop(runtime);
        assert_eq!(counts(&limit), (1, 0, 0));
    }
}

/// A hook that calls through the limit of its call does not wait for itself.
#[tokio::test(start_paused = true)]
async fn call_of_a_hook_inherits_the_permit() {
    let (limit, cleanup, log) = (held(1), CleanupLayer::new(), Recorder::new());
    let (rollback, seen) = (boxed(limit.layer(recorded(&log))), limit.clone());
    let in_use = Recorder::new();
    let usage = in_use.clone();
    let stack = limit.layer(cleanup.layer(tool(move |context| {
        let (rollback, seen, usage) = (rollback.clone(), seen.clone(), usage.clone());
        context.on_cleanup_with(move |end: CleanupEnd| async move {
            let child = end.child("rollback", json!(null)).expect("not deep");
            assert_eq!(child.context().tenant(), Some("acme"));
            assert!(rollback.oneshot(child).await.is_ok());
            usage.record(counts(&seen));
        });
        async { Ok("done") }
    })));
    let finished = stack.oneshot(call().with_tenant("acme")).await;
    assert!(finished.is_ok());
    let watch = Stopwatch::start();
    assert_eq!(cleanup.drain(MINUTE).await.ran, 1);
    assert_eq!((log.values(), watch.elapsed()), (vec!["next"], ms(0)));
    assert_eq!(in_use.values(), [(0, 1, 0)]);
    assert_eq!(counts(&limit), (1, 0, 0));
}

/// Its wait is bounded by the limit of the hook. A call of a hook that has ended inherits nothing.
#[tokio::test(start_paused = true)]
async fn other_call_of_a_hook_waits_for_a_permit_of_its_own() {
    let (limit, cleanup, log) = (held(1), CleanupLayer::new(), Recorder::new());
    let inner = boxed(limit.layer(recorded(&log)));
    let late = Recorder::new();
    let ends = late.clone();
    let rollback = inner.clone();
    let stack = limit.layer(cleanup.layer(tool(move |context| {
        let (rollback, ends) = (rollback.clone(), ends.clone());
        context.on_cleanup_with(move |end| async move {
            ends.record(end);
            let _ = rollback.oneshot(call()).await;
        });
        async { Ok("done") }
    })));
    let watch = Stopwatch::start();
    assert!(stack.oneshot(call()).await.is_ok());
    assert_eq!(cleanup.drain(MINUTE).await.failed, 1);
    assert_eq!((watch.elapsed(), log.len()), (ms(5_000), 0));
    assert_eq!(counts(&limit), (1, 0, 0));

    let _other = tokio::spawn(limit.layer(hanging(&Probe::new())).oneshot(call()));
    sleep(ms(1)).await;
    let child = late.values()[0].child("late", json!(null)).unwrap();
    let waiting = tokio::spawn(inner.oneshot(child));
    sleep(ms(1)).await;
    assert_eq!(counts(&limit), (0, 1, 1));
    waiting.abort();
}

/// A tool that fails until its third attempt; each attempt has a hook of 50 ms.
fn thrice(log: &Recorder<(&'static str, u32)>) -> BoxTool {
    let log = log.clone();
    tool(move |context| {
        let (hooks, attempt) = (log.clone(), context.attempt());
        log.record(("attempt", attempt));
        context.on_cleanup(move |_| async move {
            sleep(ms(50)).await;
            hooks.record(("hook", attempt));
        });
        async move {
            match attempt {
                3 => Ok("done"),
                _ => Err("again".into()),
            }
        }
    })
}

fn retried(tool: BoxTool) -> BoxTool {
    boxed(Retry::new(Retries::new(2), tool))
}

#[tokio::test(start_paused = true)]
async fn next_attempt_starts_when_the_hooks_of_the_last_one_have_ended() {
    let (limit, log) = (held(1), Recorder::new());
    let cleanup = CleanupLayer::new();
    let inner = boxed(limit.layer(cleanup.layer(thrice(&log))));
    for stack in [
        retried(inner.clone()),
        boxed(TimeoutLayer::new(MINUTE).layer(retried(inner))),
    ] {
        assert!(in_time(stack.oneshot(call())).await.is_ok());
        cleanup.drain(MINUTE).await;
        let expected = (1..=3).flat_map(|n| [("attempt", n), ("hook", n)]);
        assert_eq!(log.take(), expected.collect::<Vec<_>>());
        assert_eq!(counts(&limit), (1, 0, 0));
    }
}

/// Then the hooks of all attempts run after the call, and the attempts share one permit.
#[tokio::test(start_paused = true)]
async fn attempts_inherit_the_permit_that_hooks_of_the_call_keep() {
    let (limit, log, cleanup) = (held(1), Recorder::new(), CleanupLayer::new());
    let retried = || retried(boxed(limit.layer(thrice(&log))));
    for stack in [
        boxed(cleanup.layer(retried())),
        boxed(TimeoutLayer::new(MINUTE).layer(retried())),
    ] {
        let watch = Stopwatch::start();
        assert!(in_time(stack.oneshot(call())).await.is_ok());
        assert_eq!(watch.elapsed(), ms(0));
        let attempts = (1..=3).map(|n| ("attempt", n));
        assert_eq!(log.values(), attempts.collect::<Vec<_>>());
        assert_eq!(counts(&limit), (0, 1, 0));
        sleep(ms(151)).await;
        assert_eq!((log.take().len(), counts(&limit)), (6, (1, 0, 0)));
    }
    assert_eq!(cleanup.drain(MINUTE).await.ran, 3);
}

/// The attempt waits already when the hooks of another one begin to keep the permit.
#[tokio::test(start_paused = true)]
async fn waiting_attempt_inherits_the_permit_that_hooks_of_the_call_keep() {
    let (limit, log) = (held(1), Recorder::new());
    let hooked = hooked(&log);
    let slow = service_fn(move |call: ToolCall| {
        let hooked = hooked.clone();
        async move {
            sleep(ms(10)).await;
            hooked.oneshot(call).await
        }
    });
    let inner = boxed(limit.layer(slow));
    let parallel = service_fn(move |call: ToolCall| {
        let other = call.clone();
        let (one, two) = (inner.clone().oneshot(call), inner.clone().oneshot(other));
        async {
            let (one, two) = tokio::join!(one, two);
            one.and(two)
        }
    });
    let stack = TimeoutLayer::new(MINUTE).layer(boxed(parallel));
    let watch = Stopwatch::start();
    assert!(in_time(stack.oneshot(call())).await.is_ok());
    assert_eq!((watch.elapsed(), counts(&limit)), (ms(20), (0, 1, 0)));
    sleep(ms(101)).await;
    assert_eq!((log.len(), counts(&limit)), (2, (1, 0, 0)));
}

/// Polls a future within each wakeup, as another thread may.
struct PolledInWake<T> {
    future: Mutex<std::pin::Pin<Box<dyn Future<Output = T> + Send>>>,
    output: Mutex<Option<T>>,
}

impl<T: Send + 'static> PolledInWake<T> {
    fn start(future: impl Future<Output = T> + Send + 'static) -> Arc<Self> {
        let (future, output) = (Mutex::new(Box::pin(future) as _), Mutex::new(None));
        let started = Arc::new(Self { future, output });
        Arc::clone(&started).wake();
        started
    }
}

impl<T: Send + 'static> Wake for PolledInWake<T> {
    fn wake(self: Arc<Self>) {
        let waker = Waker::from(Arc::clone(&self));
        let mut future = self.future.lock().expect("no panic");
        let is_over = self.output.lock().expect("no panic").is_some();
        if is_over {
            return;
        }
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            *self.output.lock().expect("no panic") = Some(output);
        }
    }
}

/// The attempt that waits is polled between the end of the other one and the moment in which its
/// hooks are left to the call.
#[tokio::test(start_paused = true)]
async fn waiting_attempt_is_woken_when_the_hooks_are_left_to_the_call() {
    let (limit, log) = (held(1), Recorder::new());
    let hooked = hooked(&log);
    let slow = service_fn(move |call: ToolCall| {
        let hooked = hooked.clone();
        async move {
            sleep(ms(10)).await;
            hooked.oneshot(call).await
        }
    });
    let inner = boxed(limit.layer(slow));
    let parallel = service_fn(move |call: ToolCall| {
        let (inner, other) = (inner.clone(), call.clone());
        async move {
            // Both are attempts made inside of the layers around.
            let mut one = Box::pin(inner.clone().oneshot(call.clone()));
            assert!(futures_util::poll!(one.as_mut()).is_pending());
            let two = PolledInWake::start(inner.oneshot(other));
            one.await?;
            loop {
                if let Some(output) = two.output.lock().expect("no panic").take() {
                    return output;
                }
                sleep(ms(1)).await;
            }
        }
    });
    let stack = TimeoutLayer::new(MINUTE).layer(boxed(parallel));
    let watch = Stopwatch::start();
    assert!(in_time(stack.oneshot(call())).await.is_ok());
    assert_eq!((watch.elapsed(), counts(&limit)), (ms(20), (0, 1, 0)));
}

/// The attempt that acquires the permit leaves its hooks to the call.
#[tokio::test(start_paused = true)]
async fn hooks_of_an_attempt_that_run_after_the_call_keep_its_permit() {
    let (limit, log) = (held(1), Recorder::new());
    let inner = boxed(limit.layer(hooked(&log)));
    // A setting of a call that layers share makes another attempt.
    let forks = service_fn(move |call: ToolCall| inner.clone().oneshot(call.with_id("fork")));
    let stack = TimeoutLayer::new(MINUTE).layer(boxed(forks));
    assert!(stack.oneshot(call()).await.is_ok());
    assert_eq!((log.len(), counts(&limit)), (0, (0, 1, 0)));
    sleep(ms(51)).await;
    assert_eq!((log.len(), counts(&limit)), (1, (1, 0, 0)));
}

#[tokio::test(start_paused = true)]
async fn hooks_of_a_nested_call_keep_the_permit() {
    let (limit, log) = (held(1), Recorder::new());
    let inner = boxed(CleanupLayer::new().layer(hooked(&log)));
    let stack = limit.layer(service_fn(move |call: ToolCall| {
        let inner = inner.clone();
        async move {
            let child = call.context().child("nested", json!(null))?;
            inner.oneshot(child).await
        }
    }));
    assert!(stack.oneshot(call()).await.is_ok());
    assert_eq!((counts(&limit), log.len()), ((0, 1, 0), 0));
    sleep(ms(51)).await;
    assert_eq!((counts(&limit), log.len()), ((1, 0, 0), 1));
}

/// For what is neither a hook nor a task.
#[tokio::test(start_paused = true)]
async fn guard_keeps_the_permit_of_its_call() {
    let (limit, default) = (held(1), ConcurrencyLimitLayer::new(1));
    let (sender, mut guards) = tokio::sync::mpsc::unbounded_channel();
    let stack = default.layer(limit.layer(tool(move |context| {
        let sent = sender.send(context.keep_permits());
        async move { sent.map(|()| "done").map_err(Into::into) }
    })));
    assert!(stack.oneshot(call()).await.is_ok());
    let guard = guards.recv().await.unwrap();
    let clone = guard.clone();
    drop(guard);
    assert_eq!((counts(&limit), counts(&default)), ((0, 1, 0), (1, 0, 0)));
    drop(clone);
    assert_eq!(counts(&limit), (1, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn waiters_are_granted_and_limits_changed_while_hooks_keep_the_permit() {
    let (limit, log) = (held(2), Recorder::new());
    let stack = boxed(limit.layer(hooked(&log)));
    for _ in 0..2 {
        assert!(stack.clone().oneshot(call()).await.is_ok());
    }
    limit.set_limit(1).unwrap();
    let watch = Stopwatch::start();
    let dropped = tokio::spawn(stack.clone().oneshot(call()));
    let waiting = tokio::spawn(stack.oneshot(call()));
    sleep(ms(10)).await;
    assert_eq!(counts(&limit), (0, 2, 2));
    dropped.abort();
    assert!(in_time(waiting).await.unwrap().is_ok());
    assert_eq!((watch.elapsed(), counts(&limit)), (ms(50), (0, 1, 0)));
    sleep(ms(51)).await;
    assert_eq!((log.len(), counts(&limit)), (3, (1, 0, 0)));
}

/// Hooks end before a blocking task; each keeps the permit.
#[tokio::test(start_paused = true)]
async fn last_work_of_a_call_releases_the_permit() {
    let (limit, gate, hooks) = (held(1), Gate::new(), Recorder::new());
    let (work, log) = (Arc::clone(&gate.work), hooks.clone());
    let stack = limit.layer(tool(move |context| {
        context.on_cleanup(log.hook());
        let (work, job) = (Arc::clone(&work), Arc::clone(&work));
        drop(context.spawn_blocking(move |_| job.block()));
        async move {
            work.has_begun().await;
            Ok("done")
        }
    }));
    assert!(stack.oneshot(call()).await.is_ok());
    eventually(|| hooks.len() == 1).await;
    assert_eq!(counts(&limit), (0, 1, 0));
    gate.open();
    eventually(|| counts(&limit) == (1, 0, 0)).await;
}

/// The hooks do not wait for such a task beyond their limit, but the permit does.
#[test]
fn task_that_blocks_its_thread_keeps_the_permit() {
    let (limit, gate, hooks) = (held(1), Gate::new(), Recorder::new());
    let cleanup = CleanupLayer::new().with_hook_limit(ms(5));
    let stack = limit.layer(cleanup.layer(blocking_task(&gate, &Probe::new())));
    runtime(2).block_on(async {
        let call = call();
        call.context().on_cleanup(hooks.hook());
        let running = tokio::spawn(stack.oneshot(call));
        gate.work.has_begun().await;
        running.abort();
        let _ = running.await;
        eventually(|| hooks.len() == 1).await;
        let blocked = counts(&limit);
        // Before the assertion: a runtime waits for its threads.
        gate.open();
        assert_eq!(blocked, (0, 1, 0));
        assert_eq!(cleanup.drain(MINUTE).await.ran, 1);
        assert_eq!(counts(&limit), (1, 0, 0));
    });
}

/// A tool on a task of its own that blocks its thread, with the limit on either side.
#[test]
fn tool_that_blocks_the_thread_of_its_task_keeps_the_permit() {
    for outside in [true, false] {
        let (limit, gate) = (held(1), Gate::new());
        let cleanup = CleanupLayer::new().with_hook_limit(ms(5));
        let work = Arc::clone(&gate.work);
        let blocks = tool(move |_| {
            let work = Arc::clone(&work);
            async move {
                work.block();
                Ok("done")
            }
        });
        let spawned = |tool| boxed(SpawnLayer::new().layer(tool));
        let stack = match outside {
            true => boxed(limit.layer(cleanup.layer(spawned(blocks)))),
            false => boxed(cleanup.layer(spawned(boxed(limit.layer(blocks))))),
        };
        runtime(2).block_on(async {
            let running = tokio::spawn(stack.oneshot(call()));
            gate.work.has_begun().await;
            running.abort();
            let _ = running.await;
            eventually(|| cleanup.report().failed == 1).await;
            let blocked = counts(&limit);
            // Before the assertion: a runtime waits for its threads.
            gate.open();
            assert_eq!(blocked, (0, 1, 0), "{outside}");
            eventually(|| counts(&limit) == (1, 0, 0)).await;
        });
    }
}

/// At each of its states: before the first poll, in the queue, in the tool.
#[tokio::test(start_paused = true)]
async fn dropped_call_keeps_its_permit_only_if_it_has_hooks() {
    let limit = held(1);
    let stack = limit.layer(service_fn(|call: ToolCall| async move {
        call.context().on_cleanup(|_| sleep(ms(50)));
        std::future::pending::<Result<ToolOutput, ToolError>>().await
    }));
    drop(tower::Service::call(&mut stack.clone(), call()));
    assert_eq!(counts(&limit), (1, 0, 0));
    let running = tokio::spawn(stack.clone().oneshot(call()));
    sleep(ms(1)).await;
    let queued = call();
    queued.context().on_cleanup(|_| sleep(ms(200)));
    let queued = tokio::spawn(stack.oneshot(queued));
    sleep(ms(1)).await;
    assert_eq!(counts(&limit), (0, 1, 1));
    queued.abort();
    assert!(queued.await.unwrap_err().is_cancelled());
    running.abort();
    assert!(running.await.unwrap_err().is_cancelled());
    assert_eq!(counts(&limit), (0, 1, 0));
    sleep(ms(51)).await;
    assert_eq!(counts(&limit), (1, 0, 0));
}
