//! Attempts of one call, calls inside calls, contexts that outlive theirs, and panics on either side of the stack.

use std::convert::Infallible;
use std::error::Error;
use std::future::Future;
use std::io;
use std::num::NonZeroU32;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use governor::Quota;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use serde_json::json;
use tokio::time::{Instant, sleep};
use toolbooth::{
    BoxError, CallContext, CancelReason, CleanupLayer, ConcurrencyLimitLayer, Content, ErrorKind,
    MAX_HOOKS, Outcome, Partial, PartialResultLayer, RateLimitLayer, Registered, TimeoutLayer,
    ToolCall, ToolError, ToolName, ToolOutput, ToolRequest, stream_tool_fn, tool_fn,
};
use tower::retry::{Policy, Retry};
use tower::util::BoxCloneSyncService;
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

/// Stacks at run time: one type for all orders.
type Tool = BoxCloneSyncService<ToolCall, ToolOutput, ToolError>;
type Api = BoxCloneSyncService<Request<Full<Bytes>>, Response<ApiBody>, ToolError>;
type ApiBody = UnsyncBoxBody<Bytes, BoxError>;

type Log<T> = Arc<Mutex<Vec<T>>>;

const MINUTE: Duration = Duration::from_secs(60);

/// How many pieces each attempt emits.
const EMITTED: [u32; 3] = [1, 3, 2];

#[derive(Debug, Clone, Copy, PartialEq)]
enum Ours {
    Timeout,
    Rate,
    Concurrency,
    Cleanup,
    Partial,
}

/// The layers of one stack, with what can be read off them.
struct Layers {
    timeout: TimeoutLayer,
    rate: RateLimitLayer,
    limit: ConcurrencyLimitLayer,
    cleanup: CleanupLayer,
}

/// So many more attempts after failures, each 5 ms later.
#[derive(Debug, Clone)]
struct More(u32);

/// What an attempt saw when it started.
#[derive(Debug, Clone, PartialEq)]
struct Seen {
    attempt: u32,
    id: String,
    cancelled: bool,
}

// === impl Ours ===

impl Ours {
    const ALL: [Self; 5] = [
        Self::Timeout,
        Self::Rate,
        Self::Concurrency,
        Self::Cleanup,
        Self::Partial,
    ];

    /// All 120, from the outermost to the innermost.
    fn orders() -> Vec<Vec<Self>> {
        let mut orders = vec![vec![]];
        for _ in Self::ALL {
            orders = orders
                .iter()
                .flat_map(|order: &Vec<Self>| {
                    let rest = Self::ALL.into_iter().filter(|layer| !order.contains(layer));
                    rest.map(|layer| [order.as_slice(), &[layer]].concat())
                })
                .collect();
        }
        orders
    }
}

// === impl Layers ===

impl Layers {
    const LIMIT: usize = 2;
    const TOKENS: u32 = 10;

    fn new() -> Self {
        Self::with_timeout(MINUTE)
    }

    /// Tokens do not come back in a test.
    fn with_timeout(timeout: Duration) -> Self {
        let burst = NonZeroU32::new(Self::TOKENS).expect("not 0");
        Self {
            timeout: TimeoutLayer::new(timeout),
            rate: RateLimitLayer::new(Quota::per_hour(NonZeroU32::MIN).allow_burst(burst)),
            limit: ConcurrencyLimitLayer::new(Self::LIMIT),
            cleanup: CleanupLayer::new(),
        }
    }

    fn around(&self, layer: Ours, inner: Tool) -> Tool {
        match layer {
            Ours::Timeout => boxed(self.timeout.layer(inner)),
            Ours::Rate => boxed(self.rate.layer(inner)),
            Ours::Concurrency => boxed(self.limit.layer(inner)),
            Ours::Cleanup => boxed(self.cleanup.layer(inner)),
            Ours::Partial => boxed(PartialResultLayer::new().layer(inner)),
        }
    }

    fn around_api(&self, layer: Ours, inner: Api) -> Api {
        match layer {
            Ours::Timeout => boxed_api(self.timeout.layer(inner)),
            Ours::Rate => boxed_api(self.rate.layer(inner)),
            Ours::Concurrency => boxed_api(self.limit.layer(inner)),
            Ours::Cleanup => boxed_api(self.cleanup.layer(inner)),
            Ours::Partial => boxed_api(PartialResultLayer::new().layer(inner)),
        }
    }

    fn stack(&self, order: &[Ours], tool: Tool) -> Tool {
        let layers = order.iter().rev();
        layers.fold(tool, |tool, layer| self.around(*layer, tool))
    }

    /// Three attempts inside the first `outside` of the layers.
    fn retried(&self, order: &[Ours], outside: usize, tool: Tool) -> Tool {
        let (outer, inner) = order.split_at(outside);
        let retry = boxed(Retry::new(More(2), self.stack(inner, tool)));
        self.stack(outer, retry)
    }

    fn retried_api(&self, outside: usize, api: Api) -> Api {
        let (outer, inner) = Ours::ALL.split_at(outside);
        let wrap = |layers: &[Ours], api: Api| {
            let layers = layers.iter().rev();
            layers.fold(api, |api, layer| self.around_api(*layer, api))
        };
        let retry = boxed_api(Retry::new(More(2), wrap(inner, api)));
        wrap(outer, retry)
    }

    /// What calls took is back.
    fn assert_free(&self, case: &str) {
        let limit = (self.limit.available(), self.limit.queued());
        assert_eq!(limit, (Self::LIMIT, 0), "{case}");
        assert_eq!(self.rate.queued(), 0, "{case}");
    }
}

// === impl More ===

impl<R: Clone, T, E> Policy<R, T, E> for More {
    type Future = Pin<Box<dyn Future<Output = ()> + Send>>;

    fn retry(&mut self, _: &mut R, result: &mut Result<T, E>) -> Option<Self::Future> {
        if result.is_ok() || self.0 == 0 {
            return None;
        }
        self.0 -= 1;
        Some(Box::pin(sleep(millis(5))))
    }

    fn clone_request(&mut self, request: &R) -> Option<R> {
        Some(request.clone())
    }
}

// === impl Seen ===

impl Seen {
    fn of(context: &CallContext) -> Self {
        Self {
            attempt: context.attempt(),
            id: context.id().to_string(),
            cancelled: context.is_cancelled(),
        }
    }

    /// Three attempts of one call.
    fn three(id: &str) -> Vec<Self> {
        let seen = |attempt| Self {
            attempt,
            id: id.to_owned(),
            cancelled: false,
        };
        vec![seen(1), seen(2), seen(3)]
    }
}

// === helpers ===

fn boxed<S>(service: S) -> Tool
where
    S: Service<ToolCall, Response = ToolOutput> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError> + 'static,
    S::Future: Send + 'static,
{
    Tool::new(service.map_err(ToolError::from_error))
}

fn boxed_api<S, B>(service: S) -> Api
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError> + 'static,
    S::Future: Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let service = service.map_response(|response: Response<B>| {
        response.map(|body| body.map_err(Into::into).boxed_unsync())
    });
    Api::new(service.map_err(ToolError::from_error))
}

fn call() -> ToolCall {
    ToolCall::new("tool", json!(null)).with_id("call_7")
}

fn request() -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::from("ask"));
    request.extensions_mut().insert(ToolName::new("api"));
    request
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn texts(partial: Option<&Partial>) -> Vec<&str> {
    let contents = partial.map_or(&[][..], Partial::contents);
    contents.iter().filter_map(Content::as_text).collect()
}

fn take<T>(log: &Log<T>) -> Vec<T> {
    std::mem::take(&mut *log.lock().expect("no panic"))
}

fn record<T>(log: &Log<T>, entry: T) {
    log.lock().expect("no panic").push(entry);
}

/// Registers a hook that says whose it is and what it was told.
fn hook<T: Send + 'static>(context: &CallContext, log: &Log<(T, Outcome)>, whose: T) -> Registered {
    let log = Arc::clone(log);
    context.on_cleanup(move |outcome| async move { record(&log, (whose, outcome)) })
}

/// A tool that takes its context, for as long as the future lasts.
fn tool<F, Fut>(run: F) -> Tool
where
    F: Fn(CallContext) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Result<&'static str, BoxError>> + Send + 'static,
{
    boxed(tool_fn("tool", move |context, (): ()| run(context)))
}

/// What every attempt does here: it registers a hook, emits its pieces, and fails after 10 ms.
async fn attempt(context: CallContext, seen: Log<Seen>, hooks: Log<(u32, Outcome)>) -> io::Error {
    record(&seen, Seen::of(&context));
    let attempt = context.attempt();
    assert_eq!(hook(&context, &hooks, attempt), Registered::Held);
    for piece in 1..=EMITTED[attempt as usize - 1] {
        context.emit(format!("{attempt}.{piece}"));
    }
    sleep(millis(10)).await;
    io::Error::other(format!("attempt {attempt}"))
}

// === tower's retry anywhere ===

#[tokio::test(start_paused = true)]
async fn three_attempts_of_one_call_in_every_order_and_position() {
    for order in Ours::orders() {
        for outside in 0..=5 {
            let case = format!("{order:?}, retry inside {outside}");
            let layers = Layers::new();
            let (seen, hooks) = (Log::<Seen>::default(), Log::default());
            let (log, hook_log) = (Arc::clone(&seen), Arc::clone(&hooks));
            let failing = tool(move |context| {
                let failed = attempt(context, Arc::clone(&log), Arc::clone(&hook_log));
                async move { Err(failed.await.into()) }
            });
            let stack = layers.retried(&order, outside, failing);
            let call = call();
            hook(call.context(), &hooks, 0);

            let start = Instant::now();
            let error = stack.oneshot(call).await.unwrap_err();
            assert_eq!(start.elapsed(), millis(40), "{case}");
            assert_eq!(take(&seen), Seen::three("call_7"), "{case}");

            // The last attempt's error, with what that one had.
            assert_eq!(error.kind(), ErrorKind::Tool, "{case}");
            assert_eq!(error.source().unwrap().to_string(), "attempt 3", "{case}");
            assert_eq!(error.call_id(), Some("call_7"), "{case}");
            assert_eq!(texts(error.partial()), ["3.1", "3.2"], "{case}");

            layers.assert_free(&case);
            let position = |layer| order.iter().position(|other| *other == layer);
            let inside_retry = |layer| position(layer).unwrap() >= outside;
            let spent = if inside_retry(Ours::Rate) { 3 } else { 1 };
            assert_eq!(layers.rate.remaining(), Layers::TOKENS - spent, "{case}");

            // The caller registered with the first attempt, so its hook, 0, is of that one.
            let report = layers.cleanup.drain(MINUTE).await;
            assert_eq!((report.ran, report.failed, report.abandoned), (4, 0, 0));
            let expected = match inside_retry(Ours::Cleanup) {
                true => [1, 0, 2, 3],
                false => [3, 2, 1, 0],
            };
            assert_eq!(
                take(&hooks),
                expected.map(|n| (n, Outcome::Failed)),
                "{case}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn partial_of_the_last_attempt_that_published_any_is_attached() {
    for outside in 0..=5 {
        let layers = Layers::new();
        let failing = tool(|context| async move {
            let attempt = context.attempt();
            for piece in 0..[3, 2, 0][attempt as usize - 1] {
                context.emit(format!("{attempt}.{piece}"));
            }
            Err("no".into())
        });
        let stack = layers.retried(&Ours::ALL, outside, failing);
        let error = stack.oneshot(call()).await.unwrap_err();
        assert_eq!(texts(error.partial()), ["2.0", "2.1"], "inside {outside}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_completes_after_two_that_failed_attaches_nothing_and_completes_the_call() {
    for outside in 0..=5 {
        let case = format!("retry inside {outside}");
        let layers = Layers::new();
        let (seen, hooks) = (Log::<Seen>::default(), Log::default());
        let (log, hook_log) = (Arc::clone(&seen), Arc::clone(&hooks));
        let third = tool(move |context| {
            let number = context.attempt();
            let failed = attempt(context, Arc::clone(&log), Arc::clone(&hook_log));
            async move {
                let failed = failed.await;
                match number {
                    3 => Ok("done"),
                    _ => Err(failed.into()),
                }
            }
        });
        let stack = layers.retried(&Ours::ALL, outside, third);
        let output = stack.oneshot(call()).await.unwrap();
        assert_eq!(output.collect().await.unwrap().text(), "done", "{case}");
        assert_eq!(take(&seen), Seen::three("call_7"), "{case}");
        layers.assert_free(&case);
        layers.cleanup.drain(MINUTE).await;
        let (failed, completed) = (Outcome::Failed, Outcome::Completed);
        let expected = match outside <= 3 {
            true => [(1, failed), (2, failed), (3, completed)],
            false => [(3, completed), (2, completed), (1, completed)],
        };
        assert_eq!(take(&hooks), expected, "{case}");
    }
}

/// The context of an attempt that is over, while the next one runs.
#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_over_publishes_nothing_into_the_next_one() {
    // Directly around the tool no layer sees the first attempt end.
    for outside in 0..=4 {
        let case = format!("retry inside {outside}");
        let layers = Layers::new();
        let (kept, late) = (Log::<CallContext>::default(), Log::default());
        let (contexts, log) = (Arc::clone(&kept), Arc::clone(&late));
        let failing = tool(move |context| {
            let mut contexts = contexts.lock().expect("no panic");
            let registered: Vec<_> = contexts
                .iter()
                .map(|over| {
                    (0..5).for_each(|_| over.emit("late"));
                    over.snapshot("late");
                    hook(over, &log, over.attempt())
                })
                .collect();
            let expected = vec![Registered::RunsNow; registered.len()];
            let as_it_should = registered == expected;
            context.emit(format!("on time {}", context.attempt()));
            contexts.push(context);
            async move { Err(format!("hooks of ended attempts run now: {as_it_should}").into()) }
        });
        let stack = layers.retried(&Ours::ALL, outside, failing);
        let error = stack.oneshot(call()).await.unwrap_err();
        let said = error.source().unwrap().to_string();
        assert_eq!(said, "hooks of ended attempts run now: true", "{case}");
        assert_eq!(texts(error.partial()), ["on time 3"], "{case}");
        assert_eq!(error.partial().unwrap().snapshot(), None, "{case}");
        assert_eq!(take(&kept).len(), 3, "{case}");
        sleep(millis(1)).await;
        let mut late = take(&late);
        late.sort_by_key(|(attempt, _)| *attempt);
        let expected = [1, 1, 2].map(|n| (n, Outcome::Failed));
        assert_eq!(late, expected, "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_partial_is_kept_even_if_the_first_attempt_never_reached_the_layer_that_keeps_it() {
    let start = Instant::now();
    let full = ConcurrencyLimitLayer::new(1).with_queue_capacity(0);
    let told = Log::<Option<Partial>>::default();
    let log = Arc::clone(&told);
    let slow = tool(move |context| {
        let log = Arc::clone(&log);
        context.on_cleanup_with(move |end| async move { record(&log, end.partial().cloned()) });
        context.emit("half");
        async {
            sleep(MINUTE).await;
            Ok("done")
        }
    });
    let inside = ServiceBuilder::new()
        .layer(full.clone())
        .layer(PartialResultLayer::new())
        .service(slow);
    let cleanup = CleanupLayer::new();
    let stack = ServiceBuilder::new()
        .layer(TimeoutLayer::new(millis(100)))
        .layer(cleanup.clone())
        .layer(tower::retry::RetryLayer::new(More(2)))
        .service(inside);
    // In the way of the first attempt, and gone before the second.
    let busy = full.layer(tool(|_| async {
        sleep(millis(1)).await;
        Ok("busy")
    }));
    let busy = tokio::spawn(busy.oneshot(call()));
    tokio::task::yield_now().await;
    assert_eq!(full.available(), 0);

    let error = stack.oneshot(call()).await.unwrap_err();
    assert_eq!(
        (error.kind(), start.elapsed()),
        (ErrorKind::Timeout, millis(100))
    );
    assert_eq!(texts(error.partial()), ["half"]);
    assert!(busy.await.unwrap().is_ok());
    cleanup.drain(MINUTE).await;
    let told = take(&told);
    assert_eq!(told.len(), 1);
    assert_eq!(texts(told[0].as_ref()), ["half"]);
}

// === tower's retry and our timeout ===

#[tokio::test(start_paused = true)]
async fn an_attempt_that_timed_out_inside_the_retry_is_retried_and_the_next_is_not_cancelled() {
    for order in Ours::orders() {
        for outside in 0..=5 {
            let inner = &order[outside..];
            if !inner.contains(&Ours::Timeout) {
                continue;
            }
            let case = format!("{order:?}, retry inside {outside}");
            let layers = Layers::with_timeout(millis(50));
            let (contexts, hooks) = (Log::<CallContext>::default(), Log::default());
            let remaining = Log::default();
            let (log, hook_log, left) = (
                Arc::clone(&contexts),
                Arc::clone(&hooks),
                Arc::clone(&remaining),
            );
            let hangs_once = tool(move |context| {
                let attempt = context.attempt();
                hook(&context, &hook_log, attempt);
                record(&left, (context.is_cancelled(), context.remaining()));
                record(&log, context);
                async move {
                    match attempt {
                        1 => std::future::pending().await,
                        _ => sleep(millis(10)).await,
                    }
                    Ok("done")
                }
            });
            let stack = layers.retried(&order, outside, hangs_once);
            let start = Instant::now();
            let output = stack.oneshot(call()).await.unwrap();
            assert_eq!(output.collect().await.unwrap().text(), "done", "{case}");
            assert_eq!(start.elapsed(), millis(50 + 5 + 10), "{case}");
            // Each attempt has the whole limit.
            let whole = (false, Some(millis(50)));
            assert_eq!(take(&remaining), [whole, whole], "{case}");
            let reasons: Vec<_> = take(&contexts)
                .iter()
                .map(CallContext::cancel_reason)
                .collect();
            assert_eq!(reasons, [Some(CancelReason::Timeout), None], "{case}");
            layers.assert_free(&case);
            layers.cleanup.drain(MINUTE).await;
            let expected = match inner.contains(&Ours::Cleanup) {
                true => [(1, Outcome::TimedOut), (2, Outcome::Completed)],
                false => [(2, Outcome::Completed), (1, Outcome::Completed)],
            };
            assert_eq!(take(&hooks), expected, "{case}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_timeout_outside_the_retry_bounds_all_attempts_together() {
    for order in Ours::orders() {
        for outside in 0..=5 {
            let (outer, inner) = order.split_at(outside);
            if !outer.contains(&Ours::Timeout) {
                continue;
            }
            let case = format!("{order:?}, retry inside {outside}");
            let layers = Layers::with_timeout(millis(100));
            let (contexts, hooks) = (Log::<CallContext>::default(), Log::default());
            let (log, hook_log) = (Arc::clone(&contexts), Arc::clone(&hooks));
            let failing = tool(move |context| {
                hook(&context, &hook_log, context.attempt());
                context.emit("begun");
                record(&log, context);
                async {
                    sleep(millis(40)).await;
                    Err("no".into())
                }
            });
            let stack = layers.retried(&order, outside, failing);
            let start = Instant::now();
            let error = stack.oneshot(call()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Timeout, "{case}");
            assert_eq!(start.elapsed(), millis(100), "{case}");
            assert_eq!(texts(error.partial()), ["begun"], "{case}");
            // The third ran from 90 ms on.
            let contexts = take(&contexts);
            assert_eq!(contexts.len(), 3, "{case}");
            let reason = contexts[2].cancel_reason();
            assert_eq!(reason, Some(CancelReason::Timeout), "{case}");
            layers.assert_free(&case);
            layers.cleanup.drain(MINUTE).await;
            let (failed, timed_out) = (Outcome::Failed, Outcome::TimedOut);
            let expected = match inner.contains(&Ours::Cleanup) {
                true => [(1, failed), (2, failed), (3, timed_out)],
                false => [(3, timed_out), (2, timed_out), (1, timed_out)],
            };
            assert_eq!(take(&hooks), expected, "{case}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempts_own_limit_is_capped_by_what_the_calls_limit_leaves() {
    let remaining = Log::default();
    let log = Arc::clone(&remaining);
    let hanging = tool(move |context| {
        record(&log, context.remaining());
        std::future::pending()
    });
    let stack = ServiceBuilder::new()
        .layer(TimeoutLayer::new(millis(100)))
        .layer(tower::retry::RetryLayer::new(More(2)))
        .layer(TimeoutLayer::new(millis(60)))
        .service(hanging);
    let start = Instant::now();
    let error = stack.oneshot(call()).await.unwrap_err();
    let ToolError::Timeout { limit, elapsed, .. } = error else {
        panic!("{error:?}");
    };
    assert_eq!((limit, elapsed), (millis(100), millis(100)));
    assert_eq!(start.elapsed(), millis(100));
    assert_eq!(take(&remaining), [Some(millis(60)), Some(millis(35))]);
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_leaves_during_the_second_attempt_cancels_that_one() {
    for outside in 0..=5 {
        let case = format!("retry inside {outside}");
        let layers = Layers::new();
        let (contexts, hooks) = (Log::<CallContext>::default(), Log::default());
        let (log, hook_log) = (Arc::clone(&contexts), Arc::clone(&hooks));
        let failing = tool(move |context| {
            hook(&context, &hook_log, context.attempt());
            record(&log, context);
            async {
                sleep(millis(10)).await;
                Err("no".into())
            }
        });
        let stack = layers.retried(&Ours::ALL, outside, failing);
        let left = tokio::time::timeout(millis(20), stack.oneshot(call())).await;
        assert!(left.is_err(), "{case}");
        let contexts = take(&contexts);
        assert_eq!(contexts.len(), 2, "{case}");
        if outside == 0 {
            assert_eq!(contexts[0].cancel_reason(), None, "{case}");
        }
        let reason = contexts[1].cancel_reason();
        assert_eq!(reason, Some(CancelReason::CallerGone), "{case}");
        layers.assert_free(&case);
        layers.cleanup.drain(MINUTE).await;
        let (failed, cancelled) = (Outcome::Failed, Outcome::Cancelled);
        let expected = match outside <= 3 {
            true => [(1, failed), (2, cancelled)],
            false => [(2, cancelled), (1, cancelled)],
        };
        assert_eq!(take(&hooks), expected, "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_ends_between_two_attempts_ends_once() {
    for outside in 1..=5 {
        let case = format!("retry inside {outside}");
        // The first attempt takes until 10 ms, the second would begin at 15 ms.
        let layers = Layers::with_timeout(millis(12));
        let (seen, hooks) = (Log::<Seen>::default(), Log::default());
        let (log, hook_log) = (Arc::clone(&seen), Arc::clone(&hooks));
        let failing = tool(move |context| {
            let failed = attempt(context, Arc::clone(&log), Arc::clone(&hook_log));
            async move { Err(failed.await.into()) }
        });
        let stack = layers.retried(&Ours::ALL, outside, failing);
        let start = Instant::now();
        let error = stack.oneshot(call()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout, "{case}");
        assert_eq!(start.elapsed(), millis(12), "{case}");
        assert_eq!(texts(error.partial()), ["1.1"], "{case}");
        layers.assert_free(&case);
        layers.cleanup.drain(MINUTE).await;
        let outcome = match outside <= 3 {
            true => Outcome::Failed,
            false => Outcome::TimedOut,
        };
        assert_eq!(take(&hooks), [(1, outcome)], "{case}");
        sleep(MINUTE).await;
        assert_eq!(take(&seen), Seen::three("call_7")[..1], "{case}");
    }
}

// === attempts and their hooks ===

#[tokio::test(start_paused = true)]
async fn without_a_cleanup_layer_the_hooks_of_each_attempt_still_run_once() {
    let without: Vec<_> = Ours::ALL
        .into_iter()
        .filter(|layer| *layer != Ours::Cleanup)
        .collect();
    for outside in 0..=4 {
        let case = format!("retry inside {outside}");
        let layers = Layers::new();
        let (seen, hooks) = (Log::<Seen>::default(), Log::default());
        let (log, hook_log) = (Arc::clone(&seen), Arc::clone(&hooks));
        let failing = tool(move |context| {
            let failed = attempt(context, Arc::clone(&log), Arc::clone(&hook_log));
            async move { Err(failed.await.into()) }
        });
        let stack = layers.retried(&without, outside, failing);
        stack.oneshot(call()).await.unwrap_err();
        sleep(millis(1)).await;
        // The outermost of our layers around them runs them.
        let expected = match outside {
            0 => [1, 2, 3],
            _ => [3, 2, 1],
        };
        let hooks = take(&hooks);
        assert_eq!(hooks, expected.map(|n| (n, Outcome::Failed)), "{case}");
    }
}

/// Hooks of a hundred attempts do not pile up: what does not fit outside runs when its attempt ends.
#[tokio::test(start_paused = true)]
async fn the_hooks_of_many_attempts_are_bounded_and_none_is_lost() {
    let cleanup = CleanupLayer::new();
    let hooks = Log::default();
    let log = Arc::clone(&hooks);
    let failing = tool(move |context| {
        assert_eq!(hook(&context, &log, context.attempt()), Registered::Held);
        async { Err("no".into()) }
    });
    let stack = cleanup.layer(Retry::new(
        More(99),
        PartialResultLayer::new().layer(failing),
    ));
    stack.oneshot(call()).await.unwrap_err();
    assert_eq!(cleanup.drain(MINUTE).await.ran, MAX_HOOKS as u64);
    let mut told: Vec<(u32, Outcome)> = take(&hooks);
    told.sort_unstable_by_key(|hook| hook.0);
    assert_eq!(
        told,
        (1..=100)
            .map(|attempt| (attempt, Outcome::Failed))
            .collect::<Vec<_>>()
    );
}

#[tokio::test(start_paused = true)]
async fn a_retry_waits_for_the_hooks_of_the_attempt_before_where_cleanup_says_so() {
    for (wait, between) in [(None, 5), (Some(millis(200)), 105), (Some(millis(50)), 55)] {
        let cleanup = match wait {
            Some(wait) => CleanupLayer::new().with_wait(wait),
            None => CleanupLayer::new(),
        };
        let starts = Log::default();
        let log = Arc::clone(&starts);
        let failing = tool(move |context| {
            record(&log, Instant::now());
            context.on_cleanup(|_| sleep(millis(100)));
            async { Err("no".into()) }
        });
        let stack = Retry::new(More(2), cleanup.layer(failing));
        stack.oneshot(call()).await.unwrap_err();
        let starts = take(&starts);
        let gaps: Vec<_> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(gaps, [millis(between); 2], "{wait:?}");
        assert_eq!(cleanup.drain(MINUTE).await.ran, 3);
    }
}

#[tokio::test(start_paused = true)]
async fn attempts_of_a_retry_inside_a_retry_are_all_attempts_of_the_one_call() {
    let (seen, hooks) = (Log::default(), Log::default());
    let (log, hook_log) = (Arc::clone(&seen), Arc::clone(&hooks));
    let failing = tool(move |context| {
        record(
            &log,
            (
                context.attempt(),
                context.id().to_string(),
                context.is_cancelled(),
            ),
        );
        hook(&context, &hook_log, context.attempt());
        for _ in 0..[1, 3, 2, 3][context.attempt() as usize - 1] {
            context.emit(format!("of {}", context.attempt()));
        }
        std::future::pending()
    });
    let cleanup = CleanupLayer::new();
    let stack = ServiceBuilder::new()
        .layer(tower::retry::RetryLayer::new(More(1)))
        .layer(PartialResultLayer::new())
        .layer(tower::retry::RetryLayer::new(More(1)))
        .layer(cleanup.clone())
        .layer(TimeoutLayer::new(millis(20)))
        .service(failing);
    let start = Instant::now();
    let error = stack.oneshot(call()).await.unwrap_err();
    assert_eq!(
        (error.kind(), start.elapsed()),
        (ErrorKind::Timeout, millis(4 * 20 + 3 * 5))
    );
    assert_eq!(texts(error.partial()), ["of 4"; 3]);
    let expected = [1, 2, 3, 4].map(|attempt| (attempt, "call_7".to_owned(), false));
    assert_eq!(take(&seen), expected);
    cleanup.drain(MINUTE).await;
    let expected = [1, 2, 3, 4].map(|attempt| (attempt, Outcome::TimedOut));
    assert_eq!(take(&hooks), expected);
}

// === the same over http ===

/// An API that does in each attempt what [`attempt`] does; the third completes if it is to.
fn api(completes: bool, seen: &Log<Seen>, hooks: &Log<(u32, Outcome)>) -> Api {
    let (seen, hooks) = (Arc::clone(seen), Arc::clone(hooks));
    boxed_api(service_fn(move |mut request: Request<Full<Bytes>>| {
        let context = request.context().clone();
        let number = context.attempt();
        let failed = attempt(context, Arc::clone(&seen), Arc::clone(&hooks));
        async move {
            let asked = request.into_body().collect().await?.to_bytes();
            let failed = failed.await;
            match completes && number == 3 {
                true => Ok(Response::new(Full::new(asked))),
                false => Err(BoxError::from(failed)),
            }
        }
    }))
}

#[tokio::test(start_paused = true)]
async fn three_attempts_of_one_http_request_in_every_position() {
    for outside in 0..=5 {
        let case = format!("retry inside {outside}");
        let layers = Layers::new();
        let (seen, hooks) = (Log::default(), Log::default());
        let stack = layers.retried_api(outside, api(false, &seen, &hooks));
        let mut request = request();
        // Outside of all of ours the retry clones the request first: there the caller asks for the context.
        let context = match outside {
            0 => Some(request.context().clone()),
            _ => None,
        };
        let error = stack.oneshot(request).await.unwrap_err();
        assert_eq!(error.source().unwrap().to_string(), "attempt 3", "{case}");
        assert_eq!(error.tool(), Some("api"), "{case}");
        assert_eq!(texts(error.partial()), ["3.1", "3.2"], "{case}");
        let id = error.call_id().unwrap();
        assert!(context.is_none_or(|context| context.id() == id), "{case}");
        assert_eq!(take(&seen), Seen::three(id), "{case}");
        layers.assert_free(&case);
        let spent = if outside <= 1 { 3 } else { 1 };
        assert_eq!(layers.rate.remaining(), Layers::TOKENS - spent, "{case}");
        let report = layers.cleanup.drain(MINUTE).await;
        assert_eq!((report.ran, report.failed, report.abandoned), (3, 0, 0));
        let expected = match outside <= 3 {
            true => [1, 2, 3],
            false => [3, 2, 1],
        };
        assert_eq!(
            take(&hooks),
            expected.map(|n| (n, Outcome::Failed)),
            "{case}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn the_body_of_an_attempt_that_completes_over_http_ends_the_call() {
    for outside in 0..=5 {
        let case = format!("retry inside {outside}");
        let layers = Layers::new();
        let (seen, hooks) = (Log::default(), Log::default());
        let stack = layers.retried_api(outside, api(true, &seen, &hooks));
        let mut request = request();
        request.context();
        let response = stack.oneshot(request).await.unwrap();
        assert_eq!(layers.limit.in_flight(), 1, "{case}");
        tokio::task::yield_now().await;
        let before = hooks.lock().unwrap().len();
        assert_eq!(before, if outside <= 3 { 2 } else { 0 }, "{case}");

        let body = response.into_body().collect().await.unwrap();
        assert_eq!(body.to_bytes(), "ask", "{case}");
        layers.assert_free(&case);
        assert_eq!(seen.lock().unwrap().len(), 3, "{case}");
        layers.cleanup.drain(MINUTE).await;
        let (failed, completed) = (Outcome::Failed, Outcome::Completed);
        let expected = match outside <= 3 {
            true => [(1, failed), (2, failed), (3, completed)],
            false => [(3, completed), (2, completed), (1, completed)],
        };
        assert_eq!(take(&hooks), expected, "{case}");
    }
}

// === a call inside a call ===

#[tokio::test(start_paused = true)]
async fn a_nested_calls_timeout_forwarded_is_a_failure_of_the_parents_tool() {
    for order in Ours::orders() {
        let case = format!("{order:?}");
        let child = ServiceBuilder::new()
            .layer(TimeoutLayer::new(millis(50)))
            .layer(PartialResultLayer::new())
            .service(tool(|context| {
                context.emit("of the child");
                std::future::pending()
            }));
        let layers = Layers::new();
        let hooks = Log::default();
        let log = Arc::clone(&hooks);
        let parent = tool_fn("parent", move |context: CallContext, (): ()| {
            hook(&context, &log, ());
            let child = child.clone();
            async move {
                context.emit("of the parent");
                let call = ToolCall::new("child", json!(null)).with_id("inner");
                let answer = child.oneshot(call).await?.collect().await?;
                Ok::<_, ToolError>(answer.text())
            }
        });
        let stack = layers.stack(&order, boxed(parent));
        let start = Instant::now();
        let call = ToolCall::new("parent", json!(null)).with_id("outer");
        let error = stack.oneshot(call).await.unwrap_err();
        assert_eq!(start.elapsed(), millis(50), "{case}");

        assert_eq!(error.kind().as_str(), "tool_error", "{case}");
        assert_eq!(error.outcome(), Outcome::Failed, "{case}");
        assert!(!error.is_retryable(), "{case}");
        let whose = (error.tool(), error.call_id());
        assert_eq!(whose, (Some("parent"), Some("outer")), "{case}");
        assert_eq!(texts(error.partial()), ["of the parent"], "{case}");

        let ToolError::Tool { source, .. } = &error else {
            panic!("{case}: {error:?}");
        };
        let nested = source.downcast_ref::<ToolError>().unwrap();
        assert_eq!(nested.kind(), ErrorKind::Timeout, "{case}");
        let whose = (nested.tool(), nested.call_id());
        assert_eq!(whose, (Some("child"), Some("inner")), "{case}");
        assert_eq!(texts(nested.partial()), ["of the child"], "{case}");

        layers.assert_free(&case);
        layers.cleanup.drain(MINUTE).await;
        assert_eq!(take(&hooks), [((), Outcome::Failed)], "{case}");
    }
}

/// A caller who walks the chain of sources finds the tool's own error, and a nested call's.
#[tokio::test(start_paused = true)]
async fn the_source_of_a_failure_is_found_by_downcast() {
    let broken = boxed(service_fn(async |_: ToolCall| {
        Err::<ToolOutput, _>(io::Error::new(io::ErrorKind::NotFound, "no such file"))
    }));
    let child = TimeoutLayer::new(MINUTE).layer(broken);
    let forwarding = child.clone();
    let parent = TimeoutLayer::new(MINUTE).layer(tool(move |_| {
        let nested = forwarding.clone().oneshot(call());
        async move {
            nested.await?;
            Ok("done")
        }
    }));

    let error = child.oneshot(call()).await.unwrap_err();
    let source = error.source().unwrap();
    let found = source.downcast_ref::<io::Error>().map(io::Error::kind);
    assert_eq!(found, Some(io::ErrorKind::NotFound));

    let error = parent.oneshot(call()).await.unwrap_err();
    let nested = error.source().unwrap().downcast_ref::<ToolError>();
    let source = nested.expect("the nested call's error").source().unwrap();
    assert!(source.is::<io::Error>());
}

// === contexts that outlive their call ===

/// Counts the emitted pieces, and whatever else, that are still held somewhere.
#[derive(Clone, Default)]
struct Held(Arc<AtomicUsize>);

struct Holding(Arc<AtomicUsize>);

impl Held {
    fn hold(&self) -> Holding {
        self.0.fetch_add(1, Ordering::SeqCst);
        Holding(Arc::clone(&self.0))
    }

    fn content(&self) -> Content {
        Content::data("text/plain", Bytes::from_owner(self.hold()))
    }

    fn now(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl AsRef<[u8]> for Holding {
    fn as_ref(&self) -> &[u8] {
        b"piece"
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A stack whose tool emits two pieces, hands out its context, and ends so after 10 ms.
fn handing_out(
    layers: &Layers,
    order: &[Ours],
    held: &Held,
    ends: Result<&'static str, &'static str>,
) -> (Tool, Log<CallContext>) {
    let kept = Log::<CallContext>::default();
    let (log, held) = (Arc::clone(&kept), held.clone());
    let tool = tool(move |context| {
        context.emit(held.content());
        context.emit(held.content());
        record(&log, context);
        async move {
            sleep(millis(10)).await;
            ends.map_err(Into::into)
        }
    });
    (layers.stack(order, tool), kept)
}

#[tokio::test(start_paused = true)]
async fn a_context_that_outlives_its_call_keeps_nothing_growing() {
    let orders = Ours::orders();
    for (order, ends) in [
        (&orders[0], Ok("done")),
        (&orders[119], Ok("done")),
        (&orders[0], Err("no")),
        (&orders[119], Err("no")),
        (&orders[60], Err("no")),
    ] {
        let case = format!("{order:?}, {ends:?}");
        let (layers, held) = (Layers::new(), Held::default());
        let (stack, kept) = handing_out(&layers, order, &held, ends);
        let ended = stack.oneshot(call()).await;
        assert_eq!(ended.is_ok(), ends.is_ok(), "{case}");
        let error = ended.err();
        let context = take(&kept).remove(0);
        let before = context.partial();
        let pieces = before
            .as_ref()
            .map_or(0, |partial| partial.contents().len());
        assert_eq!(pieces, 2, "{case}");
        assert_eq!(held.now(), 2, "{case}");

        for _ in 0..100_000 {
            context.emit(held.content());
        }
        for _ in 0..1_000 {
            context.snapshot(held.content());
        }
        assert_eq!(held.now(), 2, "{case}");
        assert_eq!(context.partial(), before, "{case}");

        // Far more hooks than a call may have: none is held, each runs.
        let ran = Log::<Outcome>::default();
        for _ in 0..1_000 {
            let (log, holding) = (Arc::clone(&ran), held.hold());
            let registered = context.on_cleanup(move |outcome| async move {
                record(&log, outcome);
                drop(holding);
            });
            assert_eq!(registered, Registered::RunsNow, "{case}");
        }
        sleep(millis(1)).await;
        let outcome = match ends {
            Ok(_) => Outcome::Completed,
            Err(_) => Outcome::Failed,
        };
        assert_eq!(take(&ran), vec![outcome; 1_000], "{case}");
        assert_eq!(held.now(), 2, "{case}");
        assert_eq!(layers.cleanup.report().abandoned, 0, "{case}");

        // A call that is over wakes whoever waits for that.
        assert!(context.cancelled().now_or_never().is_some(), "{case}");
        assert!(!context.is_cancelled(), "{case}");

        drop((context, before, error));
        assert_eq!(held.now(), 0, "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn clones_of_a_call_that_is_over_keep_nothing_growing() {
    let (layers, held) = (Layers::new(), Held::default());
    let (stack, kept) = handing_out(&layers, &Ours::ALL, &held, Err("no"));
    let calls = call();
    for round in 0..1_000 {
        let error = stack.clone().oneshot(calls.clone()).await.unwrap_err();
        let refused = round >= Layers::TOKENS as usize;
        if refused {
            break;
        }
        assert_eq!(error.partial().unwrap().contents().len(), 2);
        let context = take(&kept).remove(0);
        drop(error);
        // Of all attempts that are over one partial result is kept, the last one.
        assert_eq!((context.attempt() as usize, held.now()), (round + 1, 2));
    }
    drop(calls);
    assert_eq!(held.now(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_attempts_of_one_call_keep_no_more_than_two_partials_beside_the_running_ones() {
    for outside in 0..=5 {
        let case = format!("retry inside {outside}");
        let (layers, held) = (Layers::new(), Held::default());
        let most = Log::default();
        let (log, content) = (Arc::clone(&most), held.clone());
        let failing = tool(move |context| {
            record(&log, content.now());
            context.emit(content.content());
            async { Err("no".into()) }
        });
        // Without the rate: it has ten tokens.
        let order = [
            Ours::Timeout,
            Ours::Concurrency,
            Ours::Cleanup,
            Ours::Partial,
        ];
        let (outer, inner) = order.split_at(outside.min(4));
        let retry = boxed(Retry::new(More(999), layers.stack(inner, failing)));
        let error = layers
            .stack(outer, retry)
            .oneshot(call())
            .await
            .unwrap_err();
        let before = take(&most);
        assert_eq!(before.len(), 1_000, "{case}");
        // What the first attempt has, and the latest of those that are over.
        let first_ends = outside == 0;
        let expected = |n: usize| n.min(if first_ends { 1 } else { 2 });
        let expected: Vec<_> = (0..1_000).map(expected).collect();
        assert_eq!(before, expected, "{case}");
        drop(error);
        assert_eq!(held.now(), 0, "{case}");
    }
}

// === panics ===

/// A panic that prints nothing.
fn panics() -> Result<&'static str, BoxError> {
    resume_unwind(Box::new("the tool gives up"))
}

async fn is_caught<F: Future<Output: Send>>(call: F) -> bool {
    AssertUnwindSafe(call).catch_unwind().await.is_err()
}

#[tokio::test(start_paused = true)]
async fn a_tool_that_panics_under_a_catch_unwind_outside_ends_its_call_as_panicked() {
    for order in Ours::orders() {
        let case = format!("{order:?}");
        let layers = Layers::new();
        let (contexts, hooks) = (Log::<CallContext>::default(), Log::default());
        let (log, hook_log) = (Arc::clone(&contexts), Arc::clone(&hooks));
        let panicking = tool(move |context| {
            hook(&context, &hook_log, "tool's");
            context.emit("half");
            record(&log, context);
            async {
                sleep(millis(10)).await;
                panics()
            }
        });
        let stack = layers.stack(&order, panicking);
        for round in 1..=3 {
            let call = call();
            hook(call.context(), &hooks, "caller's");
            assert!(is_caught(stack.clone().oneshot(call)).await, "{case}");
            layers.assert_free(&case);
            let remaining = layers.rate.remaining();
            assert_eq!(remaining, Layers::TOKENS - round, "{case}");
            sleep(millis(1)).await;
            let expected = ["tool's", "caller's"].map(|whose| (whose, Outcome::Panicked));
            assert_eq!(take(&hooks), expected, "{case}");
            let context = take(&contexts).remove(0);
            assert_eq!(context.cancel_reason(), None, "{case}");
            assert_eq!(texts(context.partial().as_ref()), ["half"], "{case}");
        }
        let report = layers.cleanup.drain(MINUTE).await;
        assert_eq!((report.ran, report.failed, report.abandoned), (6, 0, 0));
    }
}

/// Whoever catches a panic between two layers and makes an error of it.
fn catching(inner: Tool) -> Tool {
    boxed(service_fn(move |call: ToolCall| {
        let call = AssertUnwindSafe(inner.clone().oneshot(call)).catch_unwind();
        call.map(|ended| ended.unwrap_or_else(|_| Err(ToolError::panicked("caught"))))
    }))
}

#[tokio::test(start_paused = true)]
async fn a_panic_that_is_caught_between_two_layers_is_one_to_both() {
    for order in Ours::orders() {
        for outside in 0..=5 {
            let case = format!("{order:?}, caught inside {outside}");
            let layers = Layers::new();
            let hooks = Log::default();
            let log = Arc::clone(&hooks);
            let panicking = tool(move |context| {
                hook(&context, &log, ());
                context.emit("half");
                async {
                    sleep(millis(10)).await;
                    panics()
                }
            });
            let (outer, inner) = order.split_at(outside);
            let caught = catching(layers.stack(inner, panicking));
            let error = layers
                .stack(outer, caught)
                .oneshot(call())
                .await
                .unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Panicked, "{case}");
            assert_eq!(error.call_id(), (outside > 0).then_some("call_7"), "{case}");
            let attached = if outside > 0 { vec!["half"] } else { vec![] };
            assert_eq!(texts(error.partial()), attached, "{case}");
            layers.assert_free(&case);
            layers.cleanup.drain(MINUTE).await;
            assert_eq!(take(&hooks), [((), Outcome::Panicked)], "{case}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_tool_that_panics_before_it_has_a_future_ends_its_call_as_panicked() {
    for order in Ours::orders() {
        let case = format!("{order:?}");
        let layers = Layers::new();
        let hooks = Log::default();
        let panicking = boxed(service_fn(|_: ToolCall| {
            std::future::ready(panics().map(ToolOutput::text))
        }));
        let stack = layers.stack(&order, panicking);
        let call = call();
        hook(call.context(), &hooks, "caller's");
        assert!(is_caught(stack.oneshot(call)).await, "{case}");
        layers.assert_free(&case);
        layers.cleanup.drain(MINUTE).await;
        assert_eq!(take(&hooks), [("caller's", Outcome::Panicked)], "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_tool_that_panics_after_its_wait_for_a_permit_ends_its_call_as_panicked() {
    let layers = Layers::new();
    let hooks = Log::default();
    let busy = layers.limit.layer(tool(|_| async {
        sleep(millis(10)).await;
        Ok("busy")
    }));
    let busy = [(); Layers::LIMIT].map(|()| tokio::spawn(busy.clone().oneshot(call())));
    tokio::task::yield_now().await;
    assert_eq!(layers.limit.available(), 0);
    let panicking = boxed(service_fn(|_: ToolCall| {
        std::future::ready(panics().map(ToolOutput::text))
    }));
    let stack = layers.stack(&Ours::ALL, panicking);
    let call = call();
    hook(call.context(), &hooks, "caller's");
    let start = Instant::now();
    assert!(is_caught(stack.oneshot(call)).await);
    assert_eq!(start.elapsed(), millis(10));
    for busy in busy {
        busy.await.unwrap().unwrap();
    }
    layers.assert_free("after its wait");
    layers.cleanup.drain(MINUTE).await;
    assert_eq!(take(&hooks), [("caller's", Outcome::Panicked)]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_that_panics_under_a_catch_unwind_ends_its_call_as_panicked() {
    for order in Ours::orders() {
        let case = format!("{order:?}");
        let layers = Layers::new();
        let hooks = Log::default();
        let log = Arc::clone(&hooks);
        let streaming = stream_tool_fn("tool", move |context: CallContext, (): ()| {
            hook(&context, &log, ());
            futures_util::stream::iter([1, 2]).map(|n| match n {
                1 => Ok::<_, Infallible>(Content::from("one")),
                _ => resume_unwind(Box::new("the stream gives up")),
            })
        });
        let stack = layers.stack(&order, boxed(streaming));
        let output = stack.oneshot(call()).await.unwrap();
        assert_eq!(layers.limit.in_flight(), 1, "{case}");
        assert!(is_caught(output.collect()).await, "{case}");
        layers.assert_free(&case);
        layers.cleanup.drain(MINUTE).await;
        assert_eq!(take(&hooks), [((), Outcome::Panicked)], "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_panics_while_it_holds_the_call_cancels_it() {
    for order in Ours::orders() {
        let case = format!("{order:?}");
        let layers = Layers::new();
        let (contexts, hooks) = (Log::<CallContext>::default(), Log::default());
        let (log, hook_log) = (Arc::clone(&contexts), Arc::clone(&hooks));
        let hanging = tool(move |context| {
            hook(&context, &hook_log, ());
            record(&log, context);
            std::future::pending()
        });
        let mut stack = layers.stack(&order, hanging);

        // Between two polls of the call, and before the first one.
        for polls in [1, 0] {
            let future = stack.call(call());
            let caller = async {
                let mut future = pin!(future);
                for _ in 0..polls {
                    assert!(future.as_mut().now_or_never().is_none());
                }
                sleep(millis(1)).await;
                resume_unwind(Box::new("the caller gives up"))
            };
            assert!(is_caught(caller).await, "{case}");
            layers.assert_free(&case);
            sleep(millis(1)).await;
            assert_eq!(take(&hooks), [((), Outcome::Cancelled)], "{case}");
            let reason = take(&contexts).remove(0).cancel_reason();
            assert_eq!(reason, Some(CancelReason::CallerGone), "{case}");
        }

        // And in the middle of a stream.
        let log = Arc::clone(&hooks);
        let streaming = stream_tool_fn("tool", move |context: CallContext, (): ()| {
            hook(&context, &log, ());
            futures_util::stream::repeat_with(|| Ok::<_, Infallible>(Content::from("more")))
        });
        let stack = layers.stack(&order, boxed(streaming));
        let caller = async {
            let mut stream = stack.oneshot(call()).await.expect("a stream").into_stream();
            stream.next().await.expect("a piece").expect("no error");
            resume_unwind(Box::new("the caller gives up"))
        };
        assert!(is_caught(caller).await, "{case}");
        layers.assert_free(&case);
        layers.cleanup.drain(MINUTE).await;
        assert_eq!(take(&hooks), [((), Outcome::Cancelled)], "{case}");
    }
}
