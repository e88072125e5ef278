//! Every order of the layers compiles and works, each way a call can end.
//!
//! As static types, boxed at once so that the harness is compiled once: the 120 orders of the five layers, the pairs and the
//! triples of all nine. Erased at run time: all 40,320 orders of the eight, and all 720 of the five and a circuit breaker.

#![expect(clippy::panic, reason = "a tool panics here, and a test fails")]

use std::num::NonZeroU32;
use std::sync::{Arc, Mutex, Once};
use std::time::Duration;

use futures_util::StreamExt;
use governor::Quota;
use serde_json::json;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};
use toolbooth::{
    BoxError, BreakerPolicy, CallContext, CatchPanicLayer, CircuitBreakerLayer, CleanupLayer,
    ConcurrencyLimitLayer, Content, ErrorKind, Outcome, PartialResultLayer, RateLimitLayer,
    RetryPolicy, SpawnLayer, TimeoutLayer, ToolCall, ToolError, ToolOutput, tool_fn,
};
use tower::retry::RetryLayer;
use tower::util::BoxCloneSyncService;
use tower::{Layer, ServiceExt, service_fn};

/// Stacks layers as static types.
macro_rules! nested {
    ($layers:ident, $tool:ident;) => { $tool };
    ($layers:ident, $tool:ident; $outer:ident $($inner:ident)*) => {
        $layers.$outer.layer(nested!($layers, $tool; $($inner)*))
    };
}

mod eight;
mod endings;
mod few;
mod five;
mod six;

const LIMIT: Duration = Duration::from_millis(1_999);
const PANIC: &str = "as it was told";

type Stack = BoxCloneSyncService<ToolCall, ToolOutput, ToolError>;
type Tool = BoxCloneSyncService<ToolCall, ToolOutput, BoxError>;

struct Layers {
    timeout: TimeoutLayer,
    concurrency: ConcurrencyLimitLayer,
    rate: RateLimitLayer,
    cleanup: CleanupLayer,
    partial: PartialResultLayer,
}

impl Layers {
    /// So many calls at once, so many tokens.
    fn new(limit: usize, burst: u32) -> Self {
        let burst = NonZeroU32::new(burst).expect("not 0");
        let hour = Quota::per_hour(NonZeroU32::MIN).allow_burst(burst);
        Self {
            timeout: TimeoutLayer::new(LIMIT),
            concurrency: ConcurrencyLimitLayer::new(limit),
            rate: RateLimitLayer::new(hour),
            cleanup: CleanupLayer::new(),
            partial: PartialResultLayer::new(),
        }
    }
}

/// All eight, and a circuit breaker that opens when a call fails.
struct Eight {
    timeout: TimeoutLayer,
    concurrency: ConcurrencyLimitLayer,
    rate: RateLimitLayer,
    cleanup: CleanupLayer,
    partial: PartialResultLayer,
    catch_panic: CatchPanicLayer,
    spawn: SpawnLayer,
    retry: RetryLayer<RetryPolicy>,
    breaker: CircuitBreakerLayer,
}

impl Eight {
    /// One call at once, and tokens for more than are made.
    fn new() -> Self {
        let layers = Layers::new(1, 64);
        // Two attempts, without a wait between them.
        let twice = RetryPolicy::new(2)
            .with_backoff(Duration::ZERO, Duration::ZERO)
            .without_budget();
        let at_once = BreakerPolicy::new()
            .with_consecutive_failures(1)
            .expect("one is not none");
        Self {
            timeout: layers.timeout,
            concurrency: layers.concurrency,
            rate: layers.rate,
            cleanup: layers.cleanup,
            partial: layers.partial,
            catch_panic: CatchPanicLayer::new(),
            spawn: SpawnLayer::new(),
            retry: RetryLayer::new(twice),
            breaker: CircuitBreakerLayer::with_policy(at_once),
        }
    }
}

/// Keeps panics that a tool was told to make out of the output.
fn quiet() {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if panic.payload_as_str() != Some(PANIC) {
                before(panic);
            }
        }));
    });
}

/// What the hooks were told: by whom they were registered, how the call ended, how many contents it had.
type Told = Arc<Mutex<Vec<(&'static str, Outcome, usize)>>>;

fn register(context: &CallContext, told: &Told, who: &'static str) {
    let told = Arc::clone(told);
    context.on_cleanup_with(move |end| async move {
        let contents = end.partial().map_or(0, |partial| partial.contents().len());
        told.lock()
            .expect("no panic under it")
            .push((who, end.outcome(), contents));
    });
}

/// A tool that does what its arguments say, and produces a chunk every so often.
fn tool(told: &Told, every: Duration) -> Tool {
    let told = Arc::clone(told);
    Tool::new(service_fn(move |call: ToolCall| {
        let told = Arc::clone(&told);
        async move {
            let (context, ending) = call.into_parts();
            register(&context, &told, "tool");
            match ending.as_str() {
                Some("fails at first") if context.attempt() == 1 => {
                    emit(&context, 3, every).await;
                    let half_way = ToolError::failed("half way");
                    Err(half_way.with_retryable(true).into())
                }
                Some("panics at first") if context.attempt() == 1 => {
                    emit(&context, 2, every).await;
                    panic!("{PANIC}");
                }
                Some("completes" | "fails at first" | "panics at first") => {
                    sleep(Duration::from_millis(100)).await;
                    Ok(ToolOutput::text("done"))
                }
                Some("emits for ever") => {
                    emit(&context, usize::MAX, every).await;
                    Ok(ToolOutput::text("never"))
                }
                Some("fails after 3") => {
                    emit(&context, 3, every).await;
                    Err("half way".into())
                }
                Some("panics") => {
                    emit(&context, 2, every).await;
                    panic!("{PANIC}");
                }
                Some("streams 3") => Ok(stream(3, every)),
                Some("streams 5") => Ok(stream(5, every)),
                _ => Ok(stream(usize::MAX, every)),
            }
        }
    }))
}

async fn emit(context: &CallContext, chunks: usize, every: Duration) {
    for chunk in 0..chunks {
        context.emit(format!("chunk_{chunk}"));
        sleep(every).await;
    }
}

/// A chunk at once, and then every so often.
fn stream(chunks: usize, every: Duration) -> ToolOutput {
    ToolOutput::stream(futures_util::stream::unfold(0, move |chunk| async move {
        if chunk == chunks {
            return None;
        }
        if chunk > 0 {
            sleep(every).await;
        }
        Some((
            Ok::<_, ToolError>(Content::from(format!("chunk_{chunk}"))),
            chunk + 1,
        ))
    }))
}

fn chunks(count: usize) -> Vec<Content> {
    (0..count)
        .map(|chunk| Content::from(format!("chunk_{chunk}")))
        .collect()
}

/// What the caller does with a call.
#[derive(Clone, Copy)]
enum Caller {
    Waits,
    DropsAt(u64),
    DropsStreamAfter(usize),
}

async fn read(
    answer: impl Future<Output = Result<ToolOutput, ToolError>>,
    caller: Caller,
) -> Result<Vec<Content>, ToolError> {
    let mut stream = answer.await?.into_stream();
    let mut contents = Vec::new();
    while let Some(content) = stream.next().await {
        contents.push(content?);
        if matches!(caller, Caller::DropsStreamAfter(count) if count == contents.len()) {
            break;
        }
    }
    Ok(contents)
}
