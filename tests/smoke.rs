//! On the real clock: what the paused one proves holds within 100 ms, and a runtime may go away in the middle of it.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use governor::Quota;
use serde_json::json;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep};
use toolbooth::{
    CallContext, CleanupLayer, ConcurrencyLimitLayer, Content, ErrorKind, Outcome, Partial,
    PartialResultLayer, RateLimitLayer, SpawnLayer, TimeoutLayer, ToolCall, ToolError, ToolOutput,
    stream_tool_fn, tool_fn,
};
use toolbooth_test::{GeneratorTool, HeartbeatTool, StreamingTool, ms};
use tower::util::BoxCloneSyncService;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

type BoxTool = BoxCloneSyncService<ToolCall, ToolOutput, ToolError>;

/// What takes the time by the clock, and what takes all the time there is, run one after the other.
static MACHINE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

fn within_100_ms_of(millis: u64, elapsed: Duration) {
    let due = Duration::from_millis(millis);
    assert!(
        (due..due + Duration::from_millis(100)).contains(&elapsed),
        "{elapsed:?} instead of {due:?}"
    );
}

#[tokio::test]
async fn a_timeout_strikes_on_time_for_100_calls() {
    let _alone = MACHINE.lock().await;
    let hangs = tool_fn("hangs", async |_: ()| {
        std::future::pending::<Result<(), std::io::Error>>().await
    });
    let tool = TimeoutLayer::new(Duration::from_millis(300)).layer(hangs);
    let started = Instant::now();
    let calls = (0..100).map(|_| tool.clone().oneshot(ToolCall::new("hangs", json!(null))));
    for answer in futures_util::future::join_all(calls).await {
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::Timeout);
    }
    within_100_ms_of(300, started.elapsed());
}

/// What is there at the limit on the paused clock is there on the real one, ties excepted.
#[tokio::test]
async fn streams_and_partial_results_are_cut_on_time() {
    let _alone = MACHINE.lock().await;
    let kept = |limit: u64, tool: BoxTool| {
        let tool = ServiceBuilder::new()
            .layer(TimeoutLayer::new(ms(limit)))
            .layer(PartialResultLayer::new())
            .service(tool);
        async move {
            let started = Instant::now();
            let answer = tool.oneshot(ToolCall::new("tool", json!(null))).await;
            let error = match answer {
                Ok(answer) => answer.collect().await.unwrap_err(),
                Err(error) => error,
            };
            within_100_ms_of(limit, started.elapsed());
            assert_eq!(error.kind(), ErrorKind::Timeout);
            error.partial().unwrap().contents().len()
        }
    };
    let emits = || BoxTool::new(StreamingTool::new(ms(200), 20));
    let streams = || BoxTool::new(GeneratorTool::new(ms(500), 20));
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
async fn a_beat_is_heard() {
    let _alone = MACHINE.lock().await;
    let under = |idle| {
        let tool = TimeoutLayer::unlimited().with_idle(ms(idle));
        let tool = tool.layer(HeartbeatTool::new());
        async move {
            let started = Instant::now();
            let answer = tool.oneshot(ToolCall::new("tool", json!(null))).await;
            let error = answer.err().map(|error| error.kind());
            (error, started.elapsed())
        }
    };
    let (heard, missed) = futures_util::future::join(under(1_000), under(500)).await;
    assert_eq!(heard.0, None);
    within_100_ms_of(2_000, heard.1);
    assert_eq!(missed.0, Some(ErrorKind::Timeout));
    within_100_ms_of(500, missed.1);
}

/// Idle limits that fire while other threads read, ask and beat: no piece is lost or comes twice, and each stream has its end.
#[test]
fn streams_read_while_their_idle_limits_fire_lose_no_piece_and_no_end() {
    let _alone = MACHINE.blocking_lock();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_time()
        .build()
        .unwrap();
    let tool = stream_tool_fn("numbers", |call: CallContext, pieces: u64| {
        let numbers = futures_util::stream::iter(0..pieces).then(move |number| {
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
    let read = |pieces: u64| {
        let answer = tool
            .clone()
            .oneshot(ToolCall::new("numbers", json!(pieces)));
        async move {
            let mut stream = answer.await.unwrap().into_stream();
            let mut next = 0_u64;
            loop {
                match stream.next().await.unwrap() {
                    Ok(piece) => {
                        assert_eq!(piece.as_text(), Some(next.to_string().as_str()));
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
    // On a busy machine a limit may strike before the last piece; not before all of them.
    assert!((1..=99_000).contains(&read), "{read}");
    assert_eq!(permits.available(), 100);
}

#[tokio::test]
async fn a_rate_is_kept() {
    let _alone = MACHINE.lock().await;
    let quota = Quota::per_second(NonZeroU32::new(100).unwrap()).allow_burst(NonZeroU32::MIN);
    let tool = RateLimitLayer::new(quota)
        .layer(tool_fn("fast", async |_: ()| Ok::<_, std::io::Error>(())));
    let started = Instant::now();
    let calls = (0..41).map(|_| tool.clone().oneshot(ToolCall::new("fast", json!(null))));
    for answer in futures_util::future::join_all(calls).await {
        answer.unwrap();
    }
    within_100_ms_of(400, started.elapsed());
}

/// The error comes at the limit, the hook's end 500 ms later.
#[tokio::test]
async fn cleanup_delays_nobody() {
    let _alone = MACHINE.lock().await;
    let (done, cleaned) = oneshot::channel();
    let cleanup = CleanupLayer::new();
    let call = ToolCall::new("hangs", json!(null));
    call.context().on_cleanup(|_| async move {
        sleep(Duration::from_millis(500)).await;
        done.send(()).expect("the test waits for it");
    });
    let hangs = tool_fn("hangs", async |_: ()| {
        std::future::pending::<Result<(), std::io::Error>>().await
    });
    let tool = TimeoutLayer::new(Duration::from_millis(300)).layer(cleanup.layer(hangs));
    let started = Instant::now();
    tool.oneshot(call).await.unwrap_err();
    within_100_ms_of(300, started.elapsed());
    cleaned.await.unwrap();
    within_100_ms_of(800, started.elapsed());
    assert_eq!(cleanup.drain(Duration::from_secs(1)).await.ran, 1);
}

/// Each hook ran or is counted as abandoned, and nothing panics; the limits are whole again.
#[test]
fn a_runtime_that_shuts_down_with_1000_calls_in_flight_loses_no_hook() {
    let _alone = MACHINE.blocking_lock();
    for workers in [1, 2] {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(workers)
            .enable_time()
            .build()
            .unwrap();
        let cleanup = CleanupLayer::new();
        let concurrency = ConcurrencyLimitLayer::new(500);
        let rate = RateLimitLayer::new(Quota::per_second(NonZeroU32::new(800).unwrap()));
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
                let call = ToolCall::new("hangs", json!(null));
                let ran = Arc::clone(&ran);
                // Registered on the runtime that goes away.
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

/// Threads that take, wait, give up and give back as fast as they can: the limit holds, and no wakeup is lost.
#[test]
fn limits_hammered_by_threads_lose_no_wakeup_and_no_permit() {
    let _alone = MACHINE.blocking_lock();
    const LIMIT: usize = 3;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_time()
        .build()
        .unwrap();
    let concurrency = ConcurrencyLimitLayer::new(LIMIT);
    // Far above what the machine can do: the line forms, and moves at once.
    let quota = Quota::per_second(NonZeroU32::new(2_000_000).unwrap()).allow_burst(NonZeroU32::MIN);
    let rate = RateLimitLayer::new(quota);
    let inside = Arc::new(AtomicU64::new(0));
    let tool = {
        let inside = Arc::clone(&inside);
        tool_fn("busy", move |yields: u64| {
            let inside = Arc::clone(&inside);
            async move {
                let here = Inside::enter(&inside);
                for _ in 0..yields {
                    tokio::task::yield_now().await;
                }
                Ok::<_, std::io::Error>(here.at_once)
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
            let mut answered = 0;
            for round in 0..500 {
                let call = ToolCall::new("busy", json!((task + round) % 3));
                let call = stack.clone().oneshot(call);
                if (task * 7 + round).is_multiple_of(5) {
                    // Polled a few times, and dropped wherever it is then: in line, granted, or running.
                    drop_after(call, (task + round) % 4).await;
                } else {
                    let running = call.await.unwrap().collect().await.unwrap();
                    let Content::Json(running) = &running.contents()[0] else {
                        unreachable!("a number")
                    };
                    assert!(
                        running.as_u64().unwrap() <= LIMIT as u64,
                        "{running} at once"
                    );
                    answered += 1;
                }
            }
            answered
        }
    };
    let answered = runtime.block_on(async {
        let tasks: Vec<_> = (0..64).map(|task| tokio::spawn(hammer(task))).collect();
        let all = futures_util::future::join_all(tasks);
        let all = tokio::time::timeout(Duration::from_secs(60), all).await;
        let all = all.expect("a wakeup was lost");
        all.into_iter().map(Result::unwrap).sum::<u64>()
    });
    assert_eq!(answered, 64 * 400);
    assert_eq!(
        (concurrency.available(), concurrency.queued(), rate.queued()),
        (LIMIT, 0, 0)
    );
}

/// The one permit is given back in the very moment in which another thread lines up for it.
#[test]
fn a_permit_given_back_while_a_call_lines_up_is_found() {
    let _alone = MACHINE.blocking_lock();
    const ROUNDS: u64 = 3_000;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .unwrap();
    let concurrency = ConcurrencyLimitLayer::new(1);
    let hangs = concurrency.layer(tool_fn("hangs", async |_: ()| {
        std::future::pending::<Result<(), std::io::Error>>().await
    }));
    let answers = concurrency.layer(tool_fn(
        "answers",
        async |_: ()| Ok::<_, std::io::Error>(()),
    ));
    // Odd: the permit is held; even: it is free again.
    let (state, lined_up) = (AtomicU64::new(0), AtomicU64::new(0));
    let wait_for = |cell: &AtomicU64, value| {
        while cell.load(Ordering::SeqCst) != value {
            std::thread::yield_now();
        }
    };
    std::thread::scope(|threads| {
        threads.spawn(|| {
            for round in 0..ROUNDS {
                wait_for(&state, 2 * round);
                let held = hangs.clone().call(ToolCall::new("hangs", json!(null)));
                assert_eq!(concurrency.available(), 0);
                state.store(2 * round + 1, Ordering::SeqCst);
                wait_for(&lined_up, round + 1);
                // Earlier and later by some nanoseconds, round by round.
                (0..round % 100).for_each(|_| std::hint::spin_loop());
                drop(held);
            }
        });
        threads.spawn(|| {
            for round in 0..ROUNDS {
                wait_for(&state, 2 * round + 1);
                let waits = answers.clone().call(ToolCall::new("answers", json!(null)));
                runtime.block_on(async {
                    lined_up.store(round + 1, Ordering::SeqCst);
                    let answer = tokio::time::timeout(Duration::from_secs(10), waits).await;
                    assert!(answer.is_ok(), "the wakeup of round {round} was lost");
                });
                state.store(2 * round + 2, Ordering::SeqCst);
            }
        });
    });
    assert_eq!((concurrency.available(), concurrency.queued()), (1, 0));
}

/// Counts who is inside, dropped ones out again.
struct Inside {
    all: Arc<AtomicU64>,
    at_once: u64,
}

impl Inside {
    fn enter(all: &Arc<AtomicU64>) -> Self {
        Self {
            at_once: all.fetch_add(1, Ordering::SeqCst) + 1,
            all: Arc::clone(all),
        }
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.all.fetch_sub(1, Ordering::SeqCst);
    }
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

/// Each call blocks its thread on a runtime of its own, which stands still afterwards.
#[test]
fn a_rate_shared_by_threads_that_block_on_their_own_runtimes_starves_none() {
    let quota = Quota::per_second(NonZeroU32::new(50).unwrap()).allow_burst(NonZeroU32::MIN);
    let rate = RateLimitLayer::new(quota);
    let tool = rate.layer(tool_fn("fast", async |_: ()| Ok::<_, std::io::Error>(())));
    std::thread::scope(|threads| {
        let (rate, tool) = (&rate, &tool);
        let mut idle = Vec::new();
        for waiting in 0..4 {
            idle.push(threads.spawn(move || {
                // In line one after the other, so that the first one's runtime drives first, and then stands still.
                while rate.queued() < waiting {
                    std::thread::yield_now();
                }
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_time()
                    .build()
                    .unwrap();
                let calls =
                    [(); 2].map(|()| tool.clone().oneshot(ToolCall::new("fast", json!(null))));
                runtime.block_on(async {
                    let calls = futures_util::future::join_all(calls);
                    let all = tokio::time::timeout(Duration::from_secs(10), calls).await;
                    all.expect("nobody granted a token")
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

/// A runtime that shuts down under a waiter which another thread polls: the call ends, and nothing spins.
#[test]
fn a_waiter_whose_runtime_shuts_down_is_cancelled() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .unwrap();
    let rate = RateLimitLayer::new(Quota::per_hour(NonZeroU32::MIN));
    let mut tool = rate.layer(tool_fn("hourly", async |_: ()| Ok::<_, std::io::Error>(())));
    runtime
        .block_on(tool.call(ToolCall::new("hourly", json!(null))))
        .unwrap();
    let waits = tool.call(ToolCall::new("hourly", json!(null)));
    let handle = runtime.handle().clone();
    let waiter = std::thread::spawn(move || handle.block_on(waits));
    while rate.queued() < 1 {
        std::thread::yield_now();
    }
    runtime.shutdown_background();
    let error = waiter.join().unwrap().unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (ErrorKind::Cancelled, "cancelled: shutdown")
    );
    assert_eq!(rate.queued(), 0);
}

/// A hook that blocks its thread cannot be stopped: it is counted as what it is, and as abandoned when it ends.
#[test]
fn a_hook_that_blocks_its_thread_is_orphaned() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .unwrap();
    let cleanup = CleanupLayer::new();
    let release = Arc::new(AtomicU64::new(0));
    let call = ToolCall::new("quick", json!(null));
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
        let report = cleanup.drain(Duration::from_millis(50)).await;
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

/// Says so when it is dropped.
struct Released(Arc<AtomicU64>);

impl Drop for Released {
    fn drop(&mut self) {
        self.0.store(1, Ordering::SeqCst);
    }
}

/// A tool that blocks its thread is cut at the limit all the same: its caller goes on, its permit comes back when it lets
/// go of its thread, and that is what a drain waits for.
#[test]
fn a_tool_that_never_yields_blocks_neither_its_caller_nor_the_limit() {
    let _alone = MACHINE.blocking_lock();
    for cleanup_is_outside in [true, false] {
        a_tool_that_never_yields(cleanup_is_outside);
    }
}

fn a_tool_that_never_yields(cleanup_is_outside: bool) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .expect("a runtime can be built");
    let cleanup = CleanupLayer::new();
    let concurrency = ConcurrencyLimitLayer::new(1);
    let (release, running) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
    // A runtime waits for the thread that is blocked, also where the test fails.
    let _released = Released(Arc::clone(&release));
    let tool = {
        let (release, running) = (Arc::clone(&release), Arc::clone(&running));
        tool_fn("blocks", move |_: ()| {
            let (release, running) = (Arc::clone(&release), Arc::clone(&running));
            async move {
                let _here = Inside::enter(&running);
                while release.load(Ordering::SeqCst) == 0 {
                    std::thread::yield_now();
                }
                // Yields at last, and never comes back.
                std::future::pending::<Result<(), std::io::Error>>().await
            }
        })
    };
    let (outside, inside) = match cleanup_is_outside {
        true => (cleanup.clone(), CleanupLayer::off()),
        false => (CleanupLayer::off(), cleanup.clone()),
    };
    let tool = ServiceBuilder::new()
        .layer(outside)
        .layer(TimeoutLayer::new(Duration::from_millis(50)))
        .layer(SpawnLayer::new())
        .layer(inside)
        .layer(concurrency.clone())
        .service(tool);
    runtime.block_on(async {
        let call = ToolCall::new("blocks", json!(null));
        let still_running = Arc::clone(&running);
        let (told, seen) = oneshot::channel();
        call.context().on_cleanup(|outcome| async move {
            let running = still_running.load(Ordering::SeqCst);
            told.send((outcome, running))
                .expect("the test waits for it");
        });
        let error = tool.oneshot(call).await.expect_err("it blocks");
        assert_eq!(error.kind(), ErrorKind::Timeout);
        // It has not moved, and its permit is where it is.
        assert_eq!(running.load(Ordering::SeqCst), 1);
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
        // The wait for the task, and the hook, which runs when what the tool held is gone.
        assert_eq!(report.ran, 2);
        assert_eq!(seen.await.expect("the task ends"), (Outcome::TimedOut, 0));
    });
}
