//! The real clock, real threads, and runtimes that shut down while calls run.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};
use toolbooth::{
    CallContext, CleanupLayer, ConcurrencyLimitLayer, Content, ErrorKind, Outcome, Partial,
    PartialResultLayer, RateLimitLayer, SpawnLayer, TimeoutLayer, ToolCall, stream_tool_fn,
    tool_fn,
};
use toolbooth_test::{
    BoxTool, GeneratorTool, HeartbeatTool, Probe, StreamingTool, boxed, call, ms,
};
use toolbooth_tests::{hanging, hourly, quota, runtime};
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

/// Serializes tests that measure time and tests that use all cores.
static MACHINE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

fn assert_within_100_ms_of(millis: u64, elapsed: Duration) {
    let due = ms(millis);
    assert!(
        (due..due + ms(100)).contains(&elapsed),
        "{elapsed:?} instead of {due:?}"
    );
}

#[tokio::test]
async fn hundred_calls_time_out_on_time() {
    let _alone = MACHINE.lock().await;
    let tool = TimeoutLayer::new(ms(300)).layer(hanging(&Probe::new()));
    let started = Instant::now();
    let calls = (0..100).map(|_| tool.clone().oneshot(call("hangs")));
    for result in futures_util::future::join_all(calls).await {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::Timeout);
    }
    assert_within_100_ms_of(300, started.elapsed());
}

/// The same contents as on the paused clock, except for ties.
#[tokio::test]
async fn streams_and_partial_results_time_out_on_time() {
    let _alone = MACHINE.lock().await;
    let kept = |limit: u64, tool: BoxTool| {
        let tool = ServiceBuilder::new()
            .layer(TimeoutLayer::new(ms(limit)))
            .layer(PartialResultLayer::new())
            .service(tool);
        async move {
            let started = Instant::now();
            let error = match tool.oneshot(call("tool")).await {
                Ok(output) => output.collect().await.unwrap_err(),
                Err(error) => error,
            };
            assert_within_100_ms_of(limit, started.elapsed());
            assert_eq!(error.kind(), ErrorKind::Timeout);
            error.partial().unwrap().contents().len()
        }
    };
    let emits = || boxed(StreamingTool::new(ms(200), 20));
    let streams = || boxed(GeneratorTool::new(ms(500), 20));
    let counts = futures_util::future::join5(
        kept(499, emits()),
        kept(900, emits()),
        kept(1_900, emits()),
        kept(900, streams()),
        kept(1_900, streams()),
    );
    assert_eq!(counts.await, (3, 5, 10, 2, 4));
}

#[tokio::test]
async fn beat_resets_the_idle_limit() {
    let _alone = MACHINE.lock().await;
    let under = |idle| {
        let tool = TimeoutLayer::unlimited().with_idle(ms(idle));
        let tool = tool.layer(HeartbeatTool::new());
        async move {
            let started = Instant::now();
            let result = tool.oneshot(call("tool")).await;
            let error = result.err().map(|error| error.kind());
            (error, started.elapsed())
        }
    };
    let (long, short) = futures_util::future::join(under(1_000), under(500)).await;
    assert_eq!(long.0, None);
    assert_within_100_ms_of(2_000, long.1);
    assert_eq!(short.0, Some(ErrorKind::Timeout));
    assert_within_100_ms_of(500, short.1);
}

/// Idle limits expire while other threads read and beat.
#[test]
fn streams_lose_no_item_and_no_end_while_their_idle_limits_expire() {
    let _alone = MACHINE.blocking_lock();
    let runtime = runtime(4);
    let tool = stream_tool_fn("numbers", |call: CallContext, items: u64| {
        let numbers = futures_util::stream::iter(0..items).then(move |number| {
            let call = call.clone();
            async move {
                match number % 4 {
                    0 => tokio::task::yield_now().await,
                    1 => sleep(Duration::from_micros(700)).await,
                    2 => call.heartbeat(),
                    _ => {}
                }
                Ok::<_, std::io::Error>(Content::from(number.to_string()))
            }
        });
        numbers.chain(futures_util::stream::pending())
    });
    let permits = ConcurrencyLimitLayer::new(100);
    let tool = TimeoutLayer::unlimited()
        .with_idle(ms(2))
        .layer(permits.layer(PartialResultLayer::new().layer(tool)));
    let read = |items: u64| {
        let response = tool.clone().oneshot(ToolCall::new("numbers", json!(items)));
        async move {
            let mut stream = response.await.unwrap().into_stream();
            let mut next = 0_u64;
            loop {
                match stream.next().await.unwrap() {
                    Ok(item) => {
                        assert_eq!(item.as_text(), Some(next.to_string().as_str()));
                        next += 1;
                    }
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Timeout);
                        assert_eq!(error.partial().map_or(0, Partial::delivered), next);
                        assert!(stream.next().await.is_none());
                        return next;
                    }
                }
            }
        }
    };
    let read = runtime.block_on(async {
        let tasks: Vec<_> = (0..100).map(|task| tokio::spawn(read(task * 20))).collect();
        let all = futures_util::future::join_all(tasks);
        let all = tokio::time::timeout(Duration::from_secs(60), all).await;
        all.expect("a wakeup was lost")
    });
    let read: u64 = read.into_iter().map(Result::unwrap).sum();
    // On a busy machine a limit may expire before the last item, but not before all of them.
    assert!((1..=99_000).contains(&read), "{read}");
    assert_eq!(permits.available(), 100);
}

#[tokio::test]
async fn calls_start_at_the_rate() {
    let _alone = MACHINE.lock().await;
    let tool = RateLimitLayer::new(quota(100, 1))
        .layer(tool_fn("fast", async |_: ()| Ok::<_, std::io::Error>(())));
    let started = Instant::now();
    let calls = (0..41).map(|_| tool.clone().oneshot(call("fast")));
    for result in futures_util::future::join_all(calls).await {
        result.unwrap();
    }
    assert_within_100_ms_of(400, started.elapsed());
}

/// The error is returned at the limit, the hook ends 500 ms later.
#[tokio::test]
async fn cleanup_does_not_delay_the_caller() {
    let _alone = MACHINE.lock().await;
    let (done, cleaned) = oneshot::channel();
    let cleanup = CleanupLayer::new();
    let call = call("hangs");
    call.context().on_cleanup(|_| async move {
        sleep(ms(500)).await;
        done.send(()).expect("the test waits for it");
    });
    let hangs = cleanup.layer(hanging(&Probe::new()));
    let tool = TimeoutLayer::new(ms(300)).layer(hangs);
    let started = Instant::now();
    tool.oneshot(call).await.unwrap_err();
    assert_within_100_ms_of(300, started.elapsed());
    cleaned.await.unwrap();
    assert_within_100_ms_of(800, started.elapsed());
    assert_eq!(cleanup.drain(Duration::from_secs(1)).await.ran, 1);
}

/// Each hook ran or is counted as abandoned, and all permits are released.
#[test]
fn shutdown_of_the_runtime_with_1000_calls_loses_no_hook() {
    let _alone = MACHINE.blocking_lock();
    for workers in [1, 2] {
        let runtime = runtime(workers);
        let cleanup = CleanupLayer::new();
        let concurrency = ConcurrencyLimitLayer::new(500);
        let rate = RateLimitLayer::new(quota(800, 800));
        let ran = Arc::new(AtomicU64::new(0));
        let tool = tool_fn("hangs", async |call: CallContext, _: ()| {
            call.emit("begun");
            sleep(Duration::from_secs(3_600)).await;
            Ok::<_, std::io::Error>(())
        });
        let mut stack = ServiceBuilder::new()
            .layer(cleanup.clone())
            .layer(TimeoutLayer::new(Duration::from_secs(60)))
            .layer(rate.clone())
            .layer(concurrency.clone())
            .layer(PartialResultLayer::new())
            .service(tool);
        let calls: Vec<_> = (0..1_000)
            .map(|_| {
                let call = call("hangs");
                let ran = Arc::clone(&ran);
                // Registered on the runtime that shuts down.
                let _entered = runtime.enter();
                call.context().on_cleanup(move |_| async move {
                    ran.fetch_add(1, Ordering::Relaxed);
                });
                runtime.spawn(stack.call(call))
            })
            .collect();
        while concurrency.in_flight() < 500 || rate.queued() < 1 {
            std::thread::yield_now();
        }
        runtime.shutdown_timeout(Duration::from_secs(10));
        let report = cleanup.report();
        assert_eq!(report.failed, 0);
        assert_eq!(report.ran, ran.load(Ordering::Relaxed));
        assert_eq!(report.ran + report.abandoned, 1_000, "{report:?}");
        assert_eq!(
            (concurrency.in_flight(), concurrency.queued(), rate.queued()),
            (0, 0, 0)
        );
        assert!(calls.iter().all(tokio::task::JoinHandle::is_finished));
    }
}

/// Calls on four threads acquire, wait, are dropped and release as fast as they can.
#[test]
fn limits_under_contention_lose_no_wakeup_and_no_permit() {
    let _alone = MACHINE.blocking_lock();
    const LIMIT: usize = 3;
    let runtime = runtime(4);
    let concurrency = ConcurrencyLimitLayer::new(LIMIT);
    // More than the machine can do: calls queue and are granted at once.
    let rate = RateLimitLayer::new(quota(2_000_000, 1));
    let inside = Probe::new();
    let tool = {
        let inside = inside.clone();
        tool_fn("busy", move |yields: u64| {
            let inside = inside.clone();
            async move {
                let _inside = inside.enter();
                for _ in 0..yields {
                    tokio::task::yield_now().await;
                }
                Ok::<_, std::io::Error>(())
            }
        })
    };
    let stack = ServiceBuilder::new()
        .layer(rate.clone())
        .layer(concurrency.clone())
        .service(tool);
    let hammer = |task: u64| {
        let stack = stack.clone();
        async move {
            let mut completed = 0;
            for round in 0..500 {
                let call = ToolCall::new("busy", json!((task + round) % 3));
                let call = stack.clone().oneshot(call);
                if (task * 7 + round).is_multiple_of(5) {
                    // Polled a few times and dropped while it is queued, granted or running.
                    drop_after(call, (task + round) % 4).await;
                } else {
                    call.await.unwrap();
                    completed += 1;
                }
            }
            completed
        }
    };
    let completed = runtime.block_on(async {
        let tasks: Vec<_> = (0..64).map(|task| tokio::spawn(hammer(task))).collect();
        let all = futures_util::future::join_all(tasks);
        let all = tokio::time::timeout(Duration::from_secs(60), all).await;
        let all = all.expect("a wakeup was lost");
        all.into_iter().map(Result::unwrap).sum::<u64>()
    });
    assert_eq!(completed, 64 * 400);
    assert!(inside.max() <= LIMIT, "{} at once", inside.max());
    assert_eq!(
        (concurrency.available(), concurrency.queued(), rate.queued()),
        (LIMIT, 0, 0)
    );
}

/// Two threads release and enqueue at the same time.
#[test]
fn permit_that_is_released_while_a_call_enqueues_is_granted() {
    let _alone = MACHINE.blocking_lock();
    const ROUNDS: u64 = 3_000;
    let runtime = runtime(1);
    let concurrency = ConcurrencyLimitLayer::new(1);
    let hangs = concurrency.layer(hanging(&Probe::new()));
    let fast = concurrency.layer(tool_fn("fast", async |_: ()| Ok::<_, std::io::Error>(())));
    // Odd while the permit is held, even while it is available.
    let (state, queued) = (AtomicU64::new(0), AtomicU64::new(0));
    let wait_for = |cell: &AtomicU64, value| {
        while cell.load(Ordering::SeqCst) != value {
            std::thread::yield_now();
        }
    };
    std::thread::scope(|threads| {
        threads.spawn(|| {
            for round in 0..ROUNDS {
                wait_for(&state, 2 * round);
                let held = hangs.clone().call(call("hangs"));
                assert_eq!(concurrency.available(), 0);
                state.store(2 * round + 1, Ordering::SeqCst);
                wait_for(&queued, round + 1);
                // Some nanoseconds earlier or later in each round.
                (0..round % 100).for_each(|_| std::hint::spin_loop());
                drop(held);
            }
        });
        threads.spawn(|| {
            for round in 0..ROUNDS {
                wait_for(&state, 2 * round + 1);
                let waits = fast.clone().call(call("fast"));
                runtime.block_on(async {
                    queued.store(round + 1, Ordering::SeqCst);
                    let result = tokio::time::timeout(Duration::from_secs(10), waits).await;
                    assert!(result.is_ok(), "the wakeup of round {round} was lost");
                });
                state.store(2 * round + 2, Ordering::SeqCst);
            }
        });
    });
    assert_eq!((concurrency.available(), concurrency.queued()), (1, 0));
}

async fn drop_after(call: impl Future, polls: u64) {
    let mut call = std::pin::pin!(call);
    for _ in 0..polls {
        let polled =
            std::future::poll_fn(|cx| std::task::Poll::Ready(call.as_mut().poll(cx).is_ready()))
                .await;
        if polled {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// Each thread blocks on its own current-thread runtime, which does not run afterwards.
#[test]
fn rate_shared_by_threads_that_block_on_their_own_runtimes_starves_none() {
    let rate = RateLimitLayer::new(quota(50, 1));
    let tool = rate.layer(tool_fn("fast", async |_: ()| Ok::<_, std::io::Error>(())));
    std::thread::scope(|threads| {
        let (rate, tool) = (&rate, &tool);
        let mut idle = Vec::new();
        for waiting in 0..4 {
            idle.push(threads.spawn(move || {
                // Queued one after the other, so that the runtime of the first drives the queue
                // and then stops.
                while rate.queued() < waiting {
                    std::thread::yield_now();
                }
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_time()
                    .build()
                    .unwrap();
                let calls = [(); 2].map(|()| tool.clone().oneshot(call("fast")));
                runtime.block_on(async {
                    let calls = futures_util::future::join_all(calls);
                    let all = tokio::time::timeout(Duration::from_secs(10), calls).await;
                    all.expect("each call is granted a token")
                });
                runtime
            }));
        }
        for runtime in idle {
            runtime.join().unwrap();
        }
    });
    assert_eq!(rate.queued(), 0);
}

/// Another thread polls the waiter.
#[test]
fn waiter_whose_runtime_shuts_down_is_cancelled() {
    let runtime = runtime(1);
    let rate = RateLimitLayer::new(hourly(1));
    let mut tool = rate.layer(tool_fn("hourly", async |_: ()| Ok::<_, std::io::Error>(())));
    runtime.block_on(tool.call(call("hourly"))).unwrap();
    let waits = tool.call(call("hourly"));
    let handle = runtime.handle().clone();
    let waiter = std::thread::spawn(move || handle.block_on(waits));
    while rate.queued() < 1 {
        std::thread::yield_now();
    }
    runtime.shutdown_background();
    let error = waiter.join().unwrap().unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (ErrorKind::Cancelled, "cancelled: shutdown (by `rate`)")
    );
    assert_eq!(rate.queued(), 0);
}

/// It cannot be aborted. It is counted as orphaned, and as abandoned when it ends.
#[test]
fn hook_that_blocks_its_thread_is_orphaned() {
    let runtime = runtime(2);
    let cleanup = CleanupLayer::new();
    let release = Arc::new(AtomicU64::new(0));
    let call = call("quick");
    let tool = cleanup.layer(tool_fn("quick", async |_: ()| Ok::<_, std::io::Error>(())));
    runtime.block_on(async {
        let blocked = Arc::clone(&release);
        call.context().on_cleanup(|_| async move {
            while blocked.load(Ordering::SeqCst) == 0 {
                std::thread::yield_now();
            }
            std::future::pending::<()>().await;
        });
        tool.oneshot(call).await.unwrap();
        let report = cleanup.drain(ms(50)).await;
        assert_eq!(
            (report.ran, report.failed, report.abandoned, report.orphaned),
            (0, 0, 0, 1)
        );
        release.store(1, Ordering::SeqCst);
        let report = cleanup.drain(Duration::from_secs(10)).await;
        assert_eq!(
            (report.ran, report.failed, report.abandoned, report.orphaned),
            (0, 0, 1, 0)
        );
    });
}

/// Unblocks the tool when it is dropped.
struct Released(Arc<AtomicU64>);

impl Drop for Released {
    fn drop(&mut self) {
        self.0.store(1, Ordering::SeqCst);
    }
}

/// Its caller returns at the limit. Its permit is released when its thread is, and a drain waits
/// for that.
#[test]
fn tool_that_never_yields_times_out() {
    let _alone = MACHINE.blocking_lock();
    for cleanup_is_outside in [true, false] {
        tool_that_never_yields(cleanup_is_outside);
    }
}

fn tool_that_never_yields(cleanup_is_outside: bool) {
    let runtime = runtime(2);
    let cleanup = CleanupLayer::new();
    let concurrency = ConcurrencyLimitLayer::new(1);
    let (release, inside) = (Arc::new(AtomicU64::new(0)), Probe::new());
    // A runtime waits for the blocked thread, also if the test fails.
    let _released = Released(Arc::clone(&release));
    let tool = {
        let (release, inside) = (Arc::clone(&release), inside.clone());
        tool_fn("blocks", move |_: ()| {
            let (release, inside) = (Arc::clone(&release), inside.clone());
            async move {
                let _inside = inside.enter();
                while release.load(Ordering::SeqCst) == 0 {
                    std::thread::yield_now();
                }
                // Yields at last, and never completes.
                std::future::pending::<Result<(), std::io::Error>>().await
            }
        })
    };
    let (outer, inner) = match cleanup_is_outside {
        true => (cleanup.clone(), CleanupLayer::off()),
        false => (CleanupLayer::off(), cleanup.clone()),
    };
    let tool = ServiceBuilder::new()
        .layer(outer)
        .layer(TimeoutLayer::new(ms(50)))
        .layer(SpawnLayer::new())
        .layer(inner)
        .layer(concurrency.clone())
        .service(tool);
    runtime.block_on(async {
        let call = call("blocks");
        let probe = inside.clone();
        let (hook, seen) = oneshot::channel();
        call.context().on_cleanup(|outcome| async move {
            let sent = hook.send((outcome, probe.running()));
            sent.expect("the test waits for it");
        });
        let error = tool.oneshot(call).await.expect_err("it blocks");
        assert_eq!(error.kind(), ErrorKind::Timeout);
        // The tool still runs and holds its permit.
        assert_eq!(inside.running(), 1);
        assert_eq!(concurrency.available(), 0);

        let mut drain = std::pin::pin!(cleanup.drain(Duration::from_secs(60)));
        assert!(futures_util::poll!(drain.as_mut()).is_pending());
        release.store(1, Ordering::SeqCst);
        let report = drain.await;
        assert_eq!(
            (report.failed, report.abandoned, report.orphaned),
            (0, 0, 0)
        );
        assert_eq!(concurrency.available(), 1);
        // The wait for the task, and the hook, which runs after the drop of the tool.
        assert_eq!(report.ran, 2);
        assert_eq!(seen.await.expect("the task ends"), (Outcome::TimedOut, 0));
    });
}
