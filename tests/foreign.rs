//! tower's own layers inside, between and outside ours: they compile, they work, what we wait for is bounded by a
//! timeout outside, and the ways in which limits elsewhere strand permits, places and tokens do not come back.
//!
//! The tests named after a case (`tw3`, `rl1`, ...) are the compositions in which other crates go wrong. Where tower's own
//! layers can show the wrong in the same set-up, the test shows it first, as its control.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::num::NonZeroU32;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use governor::Quota;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};
use toolbooth::{
    BoxError, CallContext, CleanupLayer, ConcurrencyLimitLayer, ErrorKind, Outcome, OverloadReason,
    PartialResultLayer, RateLimitLayer, TimeoutLayer, TimeoutScope, ToolCall, ToolError,
    ToolOutput, tool_fn,
};
use tower::buffer::{Buffer, BufferLayer};
use tower::limit::{
    ConcurrencyLimitLayer as TowerConcurrencyLimitLayer, GlobalConcurrencyLimitLayer,
};
use tower::load_shed::{LoadShed, LoadShedLayer};
use tower::retry::{Policy, Retry, RetryLayer};
use tower::timeout::{Timeout as TowerTimeout, TimeoutLayer as TowerTimeoutLayer};
use tower::util::BoxCloneSyncService;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

/// A stack at run time: one type for all, so that the matrix compiles once.
type Tool = BoxCloneSyncService<ToolCall, ToolOutput, BoxError>;

type Log<T> = Arc<Mutex<Vec<T>>>;

const MINUTE: Duration = Duration::from_secs(60);

/// tower's layers.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Foreign {
    Timeout,
    ConcurrencyLimit,
    GlobalConcurrencyLimit,
    LoadShed,
    Buffer,
    Retry,
}

/// Our five, from the outermost to the innermost: timeout, rate, concurrency, cleanup, partial results.
struct Ours {
    rate: RateLimitLayer,
    limit: ConcurrencyLimitLayer,
    cleanup: CleanupLayer,
}

/// Where cleanup stands among them.
const CLEANUP: usize = 3;

/// One more attempt after a failure.
#[derive(Debug, Clone)]
struct OnceMore(bool);

// === impl Foreign ===

impl Foreign {
    const ALL: [Self; 6] = [
        Self::Timeout,
        Self::ConcurrencyLimit,
        Self::GlobalConcurrencyLimit,
        Self::LoadShed,
        Self::Buffer,
        Self::Retry,
    ];

    /// Limits are 2, buffers 4, the timeout a minute.
    fn around(self, inner: Tool) -> Tool {
        match self {
            Self::Timeout => boxed(TowerTimeout::new(inner, MINUTE)),
            Self::ConcurrencyLimit => boxed(TowerConcurrencyLimitLayer::new(2).layer(inner)),
            Self::GlobalConcurrencyLimit => boxed(GlobalConcurrencyLimitLayer::new(2).layer(inner)),
            Self::LoadShed => boxed(LoadShed::new(inner)),
            Self::Buffer => boxed(Buffer::new(inner, 4)),
            Self::Retry => boxed(Retry::new(OnceMore(true), inner)),
        }
    }

    const fn is_limit(self) -> bool {
        matches!(self, Self::ConcurrencyLimit | Self::GlobalConcurrencyLimit)
    }
}

// === impl Ours ===

impl Ours {
    const LIMIT: usize = 4;
    const TOKENS: u32 = 100;

    /// Four at once, and a hundred tokens of which none comes back in a test.
    fn new() -> Self {
        let burst = NonZeroU32::new(Self::TOKENS).expect("not 0");
        let hourly = Quota::per_hour(NonZeroU32::MIN).allow_burst(burst);
        Self {
            rate: RateLimitLayer::new(hourly),
            limit: ConcurrencyLimitLayer::new(Self::LIMIT),
            cleanup: CleanupLayer::new(),
        }
    }

    fn layer(&self, index: usize, inner: Tool) -> Tool {
        match index {
            0 => boxed(TimeoutLayer::new(MINUTE).layer(inner)),
            1 => boxed(self.rate.layer(inner)),
            2 => boxed(self.limit.layer(inner)),
            CLEANUP => boxed(self.cleanup.layer(inner)),
            _ => boxed(PartialResultLayer::new().layer(inner)),
        }
    }

    /// All five around `tool`, and `foreign` inside the first `outside` of them.
    fn stack(&self, foreign: impl Fn(Tool) -> Tool, outside: usize, tool: Tool) -> Tool {
        let mut stack = tool;
        for position in (0..=5).rev() {
            if position == outside {
                stack = foreign(stack);
            }
            if position > 0 {
                stack = self.layer(position - 1, stack);
            }
        }
        stack
    }

    /// What calls took is back.
    fn assert_free(&self, case: &str) {
        let limit = (
            self.limit.available(),
            self.limit.in_flight(),
            self.limit.queued(),
        );
        assert_eq!(limit, (Self::LIMIT, 0, 0), "{case}");
        assert_eq!(self.rate.queued(), 0, "{case}");
    }
}

// === impl OnceMore ===

impl<R: Clone, T, E> Policy<R, T, E> for OnceMore {
    type Future = Ready<()>;

    fn retry(&mut self, _: &mut R, result: &mut Result<T, E>) -> Option<Ready<()>> {
        (result.is_err() && std::mem::take(&mut self.0)).then(|| ready(()))
    }

    fn clone_request(&mut self, request: &R) -> Option<R> {
        Some(request.clone())
    }
}

// === helpers ===

fn boxed<S>(service: S) -> Tool
where
    S: Service<ToolCall, Response = ToolOutput> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError> + 'static,
    S::Future: Send + 'static,
{
    Tool::new(service.map_err(Into::into))
}

fn call() -> ToolCall {
    ToolCall::new("tool", json!(null))
}

/// A tool that takes so long.
fn slow(time: Duration) -> Tool {
    boxed(tool_fn("tool", move |(): ()| async move {
        sleep(time).await;
        Ok::<_, Infallible>("done")
    }))
}

async fn answer(tool: Tool, call: ToolCall) -> Result<String, ToolError> {
    let output = tool.oneshot(call).await.map_err(ToolError::from)?;
    Ok(output.collect().await?.text())
}

/// How it ended, and after how long.
async fn timed(tool: &Tool) -> (Result<String, ErrorKind>, Duration) {
    let start = Instant::now();
    let answer = answer(tool.clone(), call()).await;
    (answer.map_err(|error| error.kind()), start.elapsed())
}

/// Starts a call and lets it come as far as it can.
async fn started<S>(service: S) -> tokio::task::JoinHandle<Result<String, ToolError>>
where
    S: Service<ToolCall, Response = ToolOutput> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError> + 'static,
    S::Future: Send + 'static,
{
    let task = tokio::spawn(answer(boxed(service), call()));
    settle().await;
    task
}

/// Lets every task run that can, without time passing.
async fn settle() {
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

// === any position ===

/// Nothing boxed in between: the types of tower's six and our five fit each other as they are.
#[tokio::test(start_paused = true)]
async fn all_of_towers_and_ours_stack_in_one_static_type() {
    let tool = ServiceBuilder::new()
        .layer(BufferLayer::new(4))
        .layer(TowerTimeoutLayer::new(MINUTE))
        .layer(TimeoutLayer::new(MINUTE))
        .layer(RetryLayer::new(OnceMore(true)))
        .layer(RateLimitLayer::new(None))
        .layer(TowerConcurrencyLimitLayer::new(2))
        .layer(ConcurrencyLimitLayer::new(2))
        .layer(GlobalConcurrencyLimitLayer::new(2))
        .layer(CleanupLayer::new())
        .layer(LoadShedLayer::new())
        .layer(PartialResultLayer::new())
        .layer(TowerTimeoutLayer::new(MINUTE))
        .service(tool_fn("tool", async |(): ()| Ok::<_, Infallible>("done")));
    assert_eq!(answer(boxed(tool), call()).await.unwrap(), "done");
}

#[tokio::test(start_paused = true)]
async fn every_layer_of_towers_works_in_every_position() {
    for foreign in Foreign::ALL {
        for outside in 0..=5 {
            let case = format!("{foreign:?} inside {outside} of ours");
            let ours = Ours::new();
            let ended = Log::<(u32, Outcome)>::default();
            let retried = foreign == Foreign::Retry;
            let log = Arc::clone(&ended);
            let tool = boxed(tool_fn("tool", move |context: CallContext, n: u32| {
                let (log, attempt) = (Arc::clone(&log), context.attempt());
                context.on_cleanup(move |outcome| async move {
                    log.lock().expect("no panic").push((attempt, outcome));
                });
                async move {
                    sleep(millis(100)).await;
                    match retried && attempt == 1 {
                        true => Err("not yet"),
                        false => Ok(n),
                    }
                }
            }));
            let stack = ours.stack(|inner| foreign.around(inner), outside, tool);

            let start = Instant::now();
            let calls = (0..20).map(|n| {
                let call = ToolCall::new("tool", json!(n));
                let stack = stack.clone();
                async move {
                    let output = stack.oneshot(call).await.map_err(ToolError::from)?;
                    Ok::<_, ToolError>(output.collect().await?.into_contents())
                }
            });
            let answers = join_all(calls).await;
            let took = start.elapsed();
            for (n, answer) in answers.into_iter().enumerate() {
                let contents = answer.unwrap_or_else(|error| panic!("{case}: {error:?}"));
                assert_eq!(contents, [json!(n).into()], "{case}");
            }

            // Twenty of 100 ms, four at once; two at once under tower's limit; twice as many attempts under its retry.
            let expected = match foreign.is_limit() || retried {
                true => millis(1_000),
                false => millis(500),
            };
            assert_eq!(took, expected, "{case}");
            ours.assert_free(&case);
            let spent = if retried && outside <= 1 { 40 } else { 20 };
            assert_eq!(ours.rate.remaining(), Ours::TOKENS - spent, "{case}");

            ours.cleanup.drain(MINUTE).await;
            let mut ended = std::mem::take(&mut *ended.lock().unwrap());
            ended.sort_by_key(|(attempt, _)| *attempt);
            // Inside the retry, cleanup sees each attempt end; outside, the call.
            let first = match retried && outside <= CLEANUP {
                true => Outcome::Failed,
                false => Outcome::Completed,
            };
            let mut hooks = vec![(1, first); 20];
            hooks.extend(vec![(2, Outcome::Completed); if retried { 20 } else { 0 }]);
            assert_eq!(ended, hooks, "{case}");
        }
    }
}

/// A failure after 100 ms, and a caller who leaves after 50.
#[tokio::test(start_paused = true)]
async fn a_failure_and_a_drop_pass_every_layer_of_towers_in_every_position() {
    for foreign in Foreign::ALL {
        for outside in 0..=5 {
            let case = format!("{foreign:?} inside {outside} of ours");
            let ours = Ours::new();
            let ended = Log::<Outcome>::default();
            let log = Arc::clone(&ended);
            let tool = boxed(tool_fn("tool", move |context: CallContext, (): ()| {
                let log = Arc::clone(&log);
                context.on_cleanup(move |outcome| async move {
                    log.lock().expect("no panic").push(outcome);
                });
                async move {
                    context.emit("half");
                    sleep(millis(100)).await;
                    Err::<(), _>("it broke")
                }
            }));
            let stack = ours.stack(|inner| foreign.around(inner), outside, tool);
            let attempts = if foreign == Foreign::Retry { 2 } else { 1 };

            let start = Instant::now();
            let failing = call().with_id("call_7");
            let error = answer(stack.clone(), failing).await.unwrap_err();
            assert_eq!(start.elapsed(), millis(100) * attempts, "{case}");
            assert_eq!(error.kind(), ErrorKind::Tool, "{case}");
            assert_eq!(error.call_id(), Some("call_7"), "{case}");
            let partial = error.partial().map(|partial| partial.contents().to_vec());
            assert_eq!(partial, Some(vec!["half".into()]), "{case}");
            ours.assert_free(&case);

            let left = tokio::time::timeout(millis(50), answer(stack, call())).await;
            assert!(left.is_err(), "{case}");
            ours.assert_free(&case);
            ours.cleanup.drain(MINUTE).await;
            let mut outcomes = vec![Outcome::Failed; attempts as usize];
            outcomes.push(Outcome::Cancelled);
            assert_eq!(*ended.lock().unwrap(), outcomes, "{case}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_timeout_of_towers_in_any_position_is_a_timeout_of_ours() {
    for outside in 0..=5 {
        let case = format!("inside {outside} of ours");
        let ours = Ours::new();
        let ended = Log::<Outcome>::default();
        let log = Arc::clone(&ended);
        let tool = boxed(tool_fn("tool", move |context: CallContext, (): ()| {
            let log = Arc::clone(&log);
            context.on_cleanup(move |outcome| async move {
                log.lock().expect("no panic").push(outcome);
            });
            async move {
                context.emit("half");
                std::future::pending::<Result<(), Infallible>>().await
            }
        }));
        let stack = ours.stack(
            |inner| boxed(TowerTimeout::new(inner, millis(50))),
            outside,
            tool,
        );
        let start = Instant::now();
        let error = answer(stack, call()).await.unwrap_err();
        assert_eq!(start.elapsed(), millis(50), "{case}");
        let ToolError::Timeout { scope, elapsed, .. } = &error else {
            panic!("{case}: {error:?}");
        };
        assert_eq!(*scope, TimeoutScope::Foreign, "{case}");
        // Outside of all of ours nothing of ours can fill it in.
        let seen = outside > 0;
        assert_eq!(*elapsed, millis(if seen { 50 } else { 0 }), "{case}");
        assert_eq!(error.partial().is_some(), seen, "{case}");
        ours.assert_free(&case);
        ours.cleanup.drain(MINUTE).await;
        // Cleanup inside tower's timeout is dropped by it, and is not told why.
        let outcome = match outside > CLEANUP {
            true => Outcome::TimedOut,
            false => Outcome::Cancelled,
        };
        assert_eq!(*ended.lock().unwrap(), [outcome], "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_towers_load_shed_refuses_inside_ours_is_overloaded() {
    let limited = TowerConcurrencyLimitLayer::new(1).layer(slow(MINUTE));
    let tool = boxed(TimeoutLayer::new(MINUTE * 2).layer(LoadShed::new(limited)));
    let running = started(tool.clone()).await;
    let error = answer(tool, call()).await.unwrap_err();
    assert_eq!(error.outcome(), Outcome::Rejected);
    assert!(error.is_retryable());
    let ToolError::Overloaded { reason, .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!(reason, OverloadReason::Foreign);
    assert_eq!(running.await.unwrap().unwrap(), "done");
}

// === readiness within the limit ===

#[tokio::test(start_paused = true)]
async fn a_timeout_outside_bounds_the_readiness_of_every_stack() {
    for foreign in Foreign::ALL {
        for outside in 0..=5 {
            let case = format!("{foreign:?} inside {outside} of ours");
            let ours = Ours::new();
            let permits = Arc::new(Semaphore::new(0));
            let never = GlobalConcurrencyLimitLayer::with_semaphore(Arc::clone(&permits));
            let never = boxed(never.layer(slow(Duration::ZERO)));
            let stack = ours.stack(|inner| foreign.around(inner), outside, never);
            let bounded = boxed(TimeoutLayer::new(millis(100)).layer(stack));

            // Directly around a service that is not ready, LoadShed refuses, as it should.
            let expected = match (foreign, outside) {
                (Foreign::LoadShed, 5) => (Err(ErrorKind::Overloaded), Duration::ZERO),
                _ => (Err(ErrorKind::Timeout), millis(100)),
            };
            for ended in join_all((0..3).map(|_| timed(&bounded))).await {
                assert_eq!(ended, expected, "{case}");
            }
            ours.assert_free(&case);

            // Nobody who gave up is still in line for the permit.
            permits.add_permits(1);
            settle().await;
            let (answer, _) = timed(&bounded).await;
            assert_eq!(answer, Ok("done".to_owned()), "{case}");
        }
    }
}

/// A limit of tower's around a slow tool, with the only permit taken for a minute.
async fn busy(
    limited: impl Layer<Tool, Service: TowerLimited>,
) -> (Tool, impl Future<Output = ()>) {
    let limited = boxed(limited.layer(slow(MINUTE)));
    let running = started(limited.clone()).await;
    let running = async move {
        assert_eq!(running.await.expect("no panic").expect("it ends"), "done");
    };
    (limited, running)
}

/// What tower's limits have in common.
trait TowerLimited:
    Service<ToolCall, Response = ToolOutput, Error = BoxError, Future: Send>
    + Clone
    + Send
    + Sync
    + 'static
{
}

impl<T> TowerLimited for T where
    T: Service<ToolCall, Response = ToolOutput, Error = BoxError, Future: Send>
        + Clone
        + Send
        + Sync
        + 'static
{
}

#[tokio::test(start_paused = true)]
async fn order_row_1_a_timeout_over_towers_limit_with_its_permit_busy_for_a_minute_answers_in_time()
{
    let start = Instant::now();
    let (limited, running) = busy(TowerConcurrencyLimitLayer::new(1)).await;
    let (global, global_running) = busy(GlobalConcurrencyLimitLayer::new(1)).await;
    for limited in [limited, global] {
        let start = Instant::now();
        for limit in [10, 100] {
            let tool = boxed(TimeoutLayer::new(millis(limit)).layer(limited.clone()));
            let expected = (Err(ErrorKind::Timeout), millis(limit));
            assert_eq!(timed(&tool).await, expected);
        }
        assert_eq!(start.elapsed(), millis(110));
    }
    running.await;
    global_running.await;
    assert_eq!(start.elapsed(), MINUTE, "the calls in front were not cut");
}

/// The control: tower's timeout alone does not bound it.
#[tokio::test(start_paused = true)]
async fn order_row_1_towers_timeout_bounds_the_wait_for_our_limit_and_not_for_its_own() {
    let (limited, running) = busy(TowerConcurrencyLimitLayer::new(1)).await;
    let own = boxed(TowerTimeout::new(limited, millis(10)));
    let (ended, took) = timed(&own).await;
    assert_eq!(
        (ended, took),
        (Err(ErrorKind::Timeout), MINUTE + millis(10))
    );
    running.await;

    let limit = ConcurrencyLimitLayer::new(1);
    let limited = limit.layer(slow(MINUTE));
    let running = started(limited.clone()).await;
    let tool = boxed(TowerTimeout::new(limited, millis(10)));
    let expected = (Err(ErrorKind::Timeout), millis(10));
    assert_eq!(timed(&tool).await, expected);
    assert_eq!((limit.in_flight(), limit.queued()), (1, 0));
    assert_eq!(running.await.unwrap().unwrap(), "done");
}

#[tokio::test(start_paused = true)]
async fn order_row_2_a_timeout_over_our_limit_that_waits_answers_in_time() {
    let limit = ConcurrencyLimitLayer::new(1);
    let limited = limit.layer(slow(MINUTE));
    let running = started(limited.clone()).await;
    let tool = boxed(TimeoutLayer::new(millis(100)).layer(limited));
    let expected = (Err(ErrorKind::Timeout), millis(100));
    assert_eq!(timed(&tool).await, expected);
    assert_eq!((limit.in_flight(), limit.queued()), (1, 0));
    assert_eq!(running.await.unwrap().unwrap(), "done");
    assert_eq!(limit.available(), 1);
}

#[tokio::test(start_paused = true)]
async fn order_row_5_a_timeout_over_a_full_buffer_answers_in_time() {
    let limited = TowerConcurrencyLimitLayer::new(1).layer(slow(MINUTE));
    let buffer = Buffer::new(limited, 1);
    // One runs, one is at the head of the line, one fills the buffer.
    let running = [
        started(buffer.clone()).await,
        started(buffer.clone()).await,
        started(buffer.clone()).await,
    ];
    let full = buffer.clone().ready().now_or_never().is_none();
    assert!(full, "the buffer has room");

    let tool = boxed(TimeoutLayer::new(millis(100)).layer(buffer.clone()));
    let expected = (Err(ErrorKind::Timeout), millis(100));
    assert_eq!(timed(&tool).await, expected);

    // Its slot is not lost with it.
    for running in running {
        assert_eq!(running.await.unwrap().unwrap(), "done");
    }
    assert!(buffer.clone().ready().now_or_never().is_some());
}

/// The instance that was not ready is the one that waits: its place is kept, before one who came later.
#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_towers_permit_keeps_its_place() {
    let order = Log::<&str>::default();
    let log = Arc::clone(&order);
    let tool = tool_fn("tool", move |context: CallContext, (): ()| {
        let name = match context.tenant() {
            Some("ours") => "ours",
            Some("later") => "later",
            _ => "first",
        };
        log.lock().expect("no panic").push(name);
        async move {
            sleep(millis(100)).await;
            Ok::<_, Infallible>("done")
        }
    });
    let limited = TowerConcurrencyLimitLayer::new(1).layer(boxed(tool));
    let mut ours = TimeoutLayer::unlimited().layer(limited.clone());
    let start = Instant::now();
    let mut first = limited.clone();
    let first = first.ready().await.unwrap().call(call());
    // It has its place from `call` on, although the later one is polled before it.
    let ours = ours.call(call().with_tenant("ours"));
    let later = limited.oneshot(call().with_tenant("later"));
    let all = async { tokio::join!(first, later, ours) };
    let (first, later, ours) = tokio::time::timeout(MINUTE, all)
        .await
        .expect("no place is stranded");
    assert!(first.is_ok() && ours.is_ok() && later.is_ok());
    assert_eq!(*order.lock().unwrap(), ["first", "ours", "later"]);
    assert_eq!(start.elapsed(), millis(300));
}

// === nothing is stranded ===

/// A hundred calls, one after the other, all through one long-lived clone.
async fn refused_of_100<S>(service: &mut S) -> usize
where
    S: Service<ToolCall, Response = ToolOutput>,
{
    let mut refused = 0;
    for _ in 0..100 {
        let ended = match service.ready().await {
            Ok(ready) => ready.call(call()).await,
            Err(error) => Err(error),
        };
        refused += usize::from(ended.is_err());
    }
    refused
}

#[tokio::test(start_paused = true)]
async fn tw3_load_shed_over_our_limit_strands_nothing() {
    // The control: over tower's limit, the clone that shed a call gets the permit and keeps it.
    let limited = LoadShed::new(TowerConcurrencyLimitLayer::new(1).layer(slow(millis(10))));
    let (mut idle, mut other) = (limited.clone(), limited.clone());
    let running = started(limited).await;
    assert!(idle.ready().await.unwrap().call(call()).await.is_err());
    running.await.unwrap().unwrap();
    assert_eq!(refused_of_100(&mut other).await, 100);
    drop(idle);

    // One that may not wait is refused by our limit itself, one that may waits in its future.
    for capacity in [0, 1] {
        let limit = ConcurrencyLimitLayer::new(1).with_queue_capacity(capacity);
        let limited = LoadShed::new(limit.layer(slow(millis(10))));
        let (mut idle, mut other) = (limited.clone(), limited.clone());
        let running = started(limited).await;
        let second = idle.ready().await.unwrap().call(call()).await;
        assert_eq!(second.is_ok(), capacity == 1);
        running.await.unwrap().unwrap();
        idle.ready().await.unwrap();
        assert_eq!(limit.available(), 1);
        assert_eq!(refused_of_100(&mut other).await, 0);
        assert_eq!((limit.available(), limit.queued()), (1, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn tw3b_an_idle_readied_clone_of_ours_over_towers_limit_holds_nothing() {
    let permits = Arc::new(Semaphore::new(1));
    let global = GlobalConcurrencyLimitLayer::with_semaphore(Arc::clone(&permits));
    let limited = global.layer(slow(millis(10)));
    // The control: tower's own.
    let mut idle = limited.clone();
    idle.ready().await.unwrap();
    assert_eq!(permits.available_permits(), 0);
    drop(idle);
    assert_eq!(permits.available_permits(), 1);

    let ours = Ours::new();
    for index in 0..5 {
        let mut tool = ours.layer(index, boxed(limited.clone()));
        tool.ready().await.unwrap();
        assert_eq!(permits.available_permits(), 1, "readied, layer {index}");

        // Nor does it after a call, nor after one that waited for the permit and was dropped.
        tool.call(call()).await.unwrap();
        tool.ready().await.unwrap();
        assert_eq!(permits.available_permits(), 1, "used, layer {index}");
        let running = started(limited.clone()).await;
        assert!(tool.call(call()).now_or_never().is_none());
        running.await.unwrap().unwrap();
        tool.ready().await.unwrap();
        assert_eq!(permits.available_permits(), 1, "dropped, layer {index}");
    }
}

#[tokio::test(start_paused = true)]
async fn tw4_the_permit_is_back_when_the_future_is_done_though_it_is_kept() {
    let permits = Arc::new(Semaphore::new(1));
    let global = GlobalConcurrencyLimitLayer::with_semaphore(Arc::clone(&permits));
    // The control: tower's own, until it is dropped.
    {
        let mut limited = global.layer(slow(millis(10)));
        let mut kept = pin!(limited.ready().await.unwrap().call(call()));
        kept.as_mut().await.unwrap();
        assert_eq!(permits.available_permits(), 0);
    }

    let limit = ConcurrencyLimitLayer::new(1);
    let mut tool = limit.layer(slow(millis(10)));
    let mut kept = pin!(tool.call(call()));
    kept.as_mut().await.unwrap();
    assert_eq!((limit.available(), limit.in_flight()), (1, 0));

    // Any of ours gives a foreign permit back in the same poll. No box may stand in between: it would drop what is done.
    let limited = global.layer(slow(millis(10)));
    let ours = Ours::new();
    done_but_kept(TimeoutLayer::new(MINUTE).layer(limited.clone()), &permits).await;
    done_but_kept(ours.rate.layer(limited.clone()), &permits).await;
    done_but_kept(ours.limit.layer(limited.clone()), &permits).await;
    done_but_kept(ours.cleanup.layer(limited.clone()), &permits).await;
    done_but_kept(PartialResultLayer::new().layer(limited), &permits).await;
}

async fn done_but_kept<S>(mut tool: S, permits: &Semaphore)
where
    S: Service<ToolCall, Response = ToolOutput, Error = ToolError>,
{
    let mut kept = pin!(tool.call(call()));
    assert!(kept.as_mut().now_or_never().is_none());
    assert_eq!(permits.available_permits(), 0, "running");
    kept.as_mut().await.expect("it completes");
    assert_eq!(permits.available_permits(), 1, "done");
}

#[tokio::test(start_paused = true)]
async fn tw5_the_inner_future_is_dropped_with_the_timeout_although_ours_is_kept() {
    struct Held(Arc<AtomicUsize>);
    impl Drop for Held {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    let held = Arc::new(AtomicUsize::new(0));
    let permits = Arc::new(Semaphore::new(1));
    let count = Arc::clone(&held);
    let tool = tool_fn("tool", move |(): ()| {
        count.fetch_add(1, Ordering::SeqCst);
        let held = Held(Arc::clone(&count));
        async move {
            sleep(MINUTE).await;
            drop(held);
            Ok::<_, Infallible>("done")
        }
    });
    let limited =
        GlobalConcurrencyLimitLayer::with_semaphore(Arc::clone(&permits)).layer(boxed(tool));
    let still_held = || (held.load(Ordering::SeqCst), permits.available_permits());

    // The control: tower's own keeps it.
    {
        let mut tool = TowerTimeout::new(limited.clone(), millis(50));
        let mut kept = pin!(tool.ready().await.unwrap().call(call()));
        assert!(kept.as_mut().await.is_err());
        assert_eq!(still_held(), (1, 0));
    }
    assert_eq!(still_held(), (0, 1));

    let limit = ConcurrencyLimitLayer::new(1);
    let mut tool = ServiceBuilder::new()
        .layer(TimeoutLayer::new(millis(50)))
        .layer(limit.clone())
        .service(limited);
    let start = Instant::now();
    let mut kept = pin!(tool.call(call()));
    assert!(kept.as_mut().now_or_never().is_none());
    assert_eq!((still_held(), limit.available()), ((1, 0), 0));
    let error = kept.as_mut().await.unwrap_err();
    assert_eq!(
        (error.kind(), start.elapsed()),
        (ErrorKind::Timeout, millis(50))
    );
    assert_eq!((still_held(), limit.available()), ((0, 1), 1));
}

// === waiting holds nothing further in ===

#[tokio::test(start_paused = true)]
async fn rl1_calls_that_wait_for_a_token_hold_no_permit_further_in() {
    let permits = Arc::new(Semaphore::new(2));
    let shared = GlobalConcurrencyLimitLayer::with_semaphore(Arc::clone(&permits));
    let every_30_s = Quota::with_period(Duration::from_secs(30)).unwrap();
    let rate = RateLimitLayer::new(every_30_s);
    let limited = rate.layer(shared.layer(slow(Duration::ZERO)));
    let unrelated = boxed(shared.layer(slow(Duration::ZERO)));

    let start = Instant::now();
    assert_eq!(timed(&boxed(limited.clone())).await.1, Duration::ZERO);
    let waiting = [
        started(limited.clone()).await,
        started(limited.clone()).await,
        started(limited).await,
    ];
    assert_eq!((rate.queued(), permits.available_permits()), (3, 2));
    let unrelated = timed(&unrelated).await;
    assert_eq!(unrelated, (Ok("done".to_owned()), Duration::ZERO));

    for (waiting, after) in waiting.into_iter().zip([30, 60, 90]) {
        waiting.await.unwrap().unwrap();
        assert_eq!(start.elapsed(), Duration::from_secs(after));
    }
    assert_eq!((rate.queued(), permits.available_permits()), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn bh3_calls_that_wait_for_our_permit_hold_none_further_in() {
    let permits = Arc::new(Semaphore::new(3));
    let shared = GlobalConcurrencyLimitLayer::with_semaphore(Arc::clone(&permits));
    let limit = ConcurrencyLimitLayer::new(1);
    let limited = limit.layer(shared.layer(slow(Duration::from_secs(10))));
    let unrelated = boxed(shared.layer(slow(Duration::ZERO)));

    let start = Instant::now();
    let running = [
        started(limited.clone()).await,
        started(limited.clone()).await,
        started(limited).await,
    ];
    assert_eq!((limit.in_flight(), limit.queued()), (1, 2));
    assert_eq!(permits.available_permits(), 2);
    let unrelated = timed(&unrelated).await;
    assert_eq!(unrelated, (Ok("done".to_owned()), Duration::ZERO));

    for (running, after) in running.into_iter().zip([10, 20, 30]) {
        running.await.unwrap().unwrap();
        assert_eq!(start.elapsed(), Duration::from_secs(after));
    }
    assert_eq!((limit.available(), permits.available_permits()), (1, 3));
}

// === order and tokens ===

#[tokio::test(start_paused = true)]
async fn rl2c_no_waiter_is_overtaken() {
    const BATCHES: u64 = 800;
    let per_second = Quota::per_second(NonZeroU32::new(200).unwrap()).allow_burst(NonZeroU32::MIN);
    let rate = RateLimitLayer::new(per_second).with_max_wait(Duration::from_secs(2));
    let admitted = Log::<(u64, Duration)>::default();
    let (log, start) = (Arc::clone(&admitted), Instant::now());
    let tool = tool_fn("tool", move |n: u64| {
        log.lock().expect("no panic").push((n, start.elapsed()));
        ready(Ok::<_, Infallible>(n))
    });
    let tool = boxed(rate.layer(tool));

    // Two every 5 ms: 400 a second for 4 s, to 200 a second.
    let mut calls = Vec::new();
    for batch in 0..BATCHES {
        for n in [2 * batch, 2 * batch + 1] {
            let call = ToolCall::new("tool", json!(n));
            let arrived = Instant::now();
            let call = tool.clone().oneshot(call);
            calls.push(tokio::spawn(async move {
                let ended = call.await.map_err(ToolError::from);
                (ended.map_err(|error| error.kind()).err(), arrived.elapsed())
            }));
        }
        sleep(millis(5)).await;
    }
    let mut refused = 0;
    for call in calls {
        let (error, took) = call.await.unwrap();
        match error {
            None => assert!(took <= Duration::from_secs(2), "{took:?}"),
            Some(kind) => {
                assert_eq!((kind, took), (ErrorKind::RateLimited, Duration::ZERO));
                refused += 1;
            }
        }
    }

    let admitted = std::mem::take(&mut *admitted.lock().unwrap());
    let overtaken = admitted.windows(2).filter(|pair| pair[0].0 > pair[1].0);
    assert_eq!(overtaken.count(), 0);
    // All of the first 2 s, whose wait grows to 2 s, then every second one; one each 5 ms.
    assert_eq!((admitted.len(), refused), (1_200, 400));
    for (place, (_, at)) in (0..).zip(&admitted) {
        assert_eq!(*at, millis(5 * place));
    }
    assert_eq!(rate.queued(), 0);
}

#[tokio::test(start_paused = true)]
async fn rl4_ready_then_drop_spends_no_token() {
    let ten = Quota::per_hour(NonZeroU32::MIN).allow_burst(NonZeroU32::new(10).unwrap());
    let rate = RateLimitLayer::new(ten);
    let tool = rate.layer(slow(Duration::ZERO));
    for outside in [
        boxed(tool.clone()),
        boxed(LoadShed::new(tool.clone())),
        boxed(TowerConcurrencyLimitLayer::new(10).layer(tool.clone())),
        boxed(Buffer::new(tool.clone(), 10)),
        boxed(TimeoutLayer::new(MINUTE).layer(tool.clone())),
    ] {
        let mut readied: Vec<Tool> = (0..10).map(|_| outside.clone()).collect();
        for clone in &mut readied {
            clone.ready().await.unwrap();
        }
        assert_eq!(rate.remaining(), 10);
    }
    settle().await;
    assert_eq!(rate.remaining(), 10);
    answer(boxed(tool), call()).await.unwrap();
    assert_eq!(rate.remaining(), 9);
}
