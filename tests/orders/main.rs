//! Every order of the layers compiles and works, whatever way a call ends.
//!
//! As static types, erased at the outside so that the harness is compiled once: the 120 orders of
//! the five layers, the pairs and the triples of all ten. Erased at run time: all 40,320 orders of
//! the eight, and all 720 of the five and a circuit breaker.

#![expect(clippy::panic, reason = "tools of these tests panic")]

mod eight;
mod endings;
mod few;
mod five;
mod six;

use std::sync::Once;
use std::time::Duration;

use futures_util::StreamExt;
use serde_json::json;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};
use toolbooth::{
    BoxError, BreakerPolicy, CallContext, CatchPanicLayer, CircuitBreakerLayer, CleanupLayer,
    ConcurrencyLimitLayer, Content, ErrorKind, Outcome, PartialResultLayer, RateLimitLayer,
    RetryPolicy, ShutdownLayer, SpawnLayer, TimeoutLayer, ToolCall, ToolError, ToolOutput, tool_fn,
};
use toolbooth_test::{BoxTool, Recorder, ms};
use toolbooth_tests::hourly;
use tower::retry::RetryLayer;
use tower::util::BoxCloneSyncService;
use tower::{Layer, ServiceExt, service_fn};

/// The layers of one stack, outermost first, and the function that stacks them as a static type.
struct Selection {
    layers: &'static [&'static str],
    stack: fn(&Stackable, Tool) -> BoxTool,
}

/// Stacks layers as a static type.
macro_rules! nested {
    ($layers:ident, $tool:ident;) => { $tool };
    ($layers:ident, $tool:ident; $outer:ident $($inner:ident)*) => {
        $layers.$outer.layer(nested!($layers, $tool; $($inner)*))
    };
}

/// Pushes each selection of layers, one for each `one`, in each of its orders.
macro_rules! selections {
    ($all:ident; [$($chosen:ident)*]; ; $($left:ident)*) => {
        $all.push(Selection {
            layers: &[$(stringify!($chosen)),*],
            stack: |layers, tool| BoxTool::new(nested!(layers, tool; $($chosen)*)),
        });
    };
    ($all:ident; [$($chosen:ident)*]; one $($more:ident)*; $($left:ident)+) => {
        selections!(@ $all; [$($chosen)*]; one $($more)*; []; $($left)+);
    };
    (@ $all:ident; [$($chosen:ident)*]; one $($more:ident)*; [$($passed:ident)*];) => {};
    (
        @ $all:ident; [$($chosen:ident)*]; one $($more:ident)*;
        [$($passed:ident)*]; $next:ident $($left:ident)*
    ) => {
        selections!($all; [$($chosen)* $next]; $($more)*; $($passed)* $($left)*);
        selections!(@ $all; [$($chosen)*]; one $($more)*; [$($passed)* $next]; $($left)*);
    };
}
use {nested, selections};

const LIMIT: Duration = ms(1_999);
const PANIC: &str = "the tool panics";

type Tool = BoxCloneSyncService<ToolCall, ToolOutput, BoxError>;

/// Whose hook it is, the outcome of its call, and how many contents were kept.
type Hooks = Recorder<(&'static str, Outcome, usize)>;

/// All layers, and a circuit breaker that opens when a call fails.
struct Stackable {
    timeout: TimeoutLayer,
    concurrency: ConcurrencyLimitLayer,
    rate: RateLimitLayer,
    cleanup: CleanupLayer,
    partial: PartialResultLayer,
    catch_panic: CatchPanicLayer,
    spawn: SpawnLayer,
    retry: RetryLayer<RetryPolicy>,
    breaker: CircuitBreakerLayer,
    shutdown: ShutdownLayer,
}

impl Stackable {
    fn new(permits: usize, burst: u32) -> Self {
        let twice = RetryPolicy::new(2)
            .with_backoff(Duration::ZERO, Duration::ZERO)
            .without_budget();
        let at_once = BreakerPolicy::new()
            .with_consecutive_failures(1)
            .expect("one is not none");
        Self {
            timeout: TimeoutLayer::new(LIMIT),
            concurrency: ConcurrencyLimitLayer::new(permits),
            rate: RateLimitLayer::new(hourly(burst)),
            cleanup: CleanupLayer::new(),
            partial: PartialResultLayer::new(),
            catch_panic: CatchPanicLayer::new(),
            spawn: SpawnLayer::new(),
            retry: RetryLayer::new(twice),
            breaker: CircuitBreakerLayer::with_policy(at_once),
            shutdown: ShutdownLayer::new(),
        }
    }
}

/// Keeps the messages of expected panics out of the output.
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

fn register(context: &CallContext, hooks: &Hooks, whose: &'static str) {
    let hooks = hooks.clone();
    context.on_cleanup_with(move |end| async move {
        let contents = end.partial().map_or(0, |partial| partial.contents().len());
        hooks.record((whose, end.outcome(), contents));
    });
}

/// The outcomes that the hooks of one owner received.
fn outcomes(hooks: &[(&'static str, Outcome, usize)], whose: &str) -> Vec<Outcome> {
    let hooks = hooks.iter().filter(|hook| hook.0 == whose);
    hooks.map(|hook| hook.1).collect()
}

/// A tool that ends as its arguments say, with `every` between two chunks.
fn tool(hooks: &Hooks, every: Duration) -> Tool {
    let hooks = hooks.clone();
    Tool::new(service_fn(move |call: ToolCall| {
        let hooks = hooks.clone();
        async move {
            let (context, ending) = call.into_parts();
            register(&context, &hooks, "tool");
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
                    sleep(ms(100)).await;
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

/// Streams the first chunk at once and the others `every` apart.
fn stream(chunks: usize, every: Duration) -> ToolOutput {
    ToolOutput::stream(futures_util::stream::unfold(0, move |chunk| async move {
        if chunk == chunks {
            return None;
        }
        if chunk > 0 {
            sleep(every).await;
        }
        let content = Content::from(format!("chunk_{chunk}"));
        Some((Ok::<_, ToolError>(content), chunk + 1))
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

/// Reads the response to its end, or up to the item after which the caller drops it.
async fn read(
    response: impl Future<Output = Result<ToolOutput, ToolError>>,
    caller: Caller,
) -> Result<Vec<Content>, ToolError> {
    let mut stream = response.await?.into_stream();
    let mut contents = Vec::new();
    while let Some(content) = stream.next().await {
        contents.push(content?);
        if matches!(caller, Caller::DropsStreamAfter(count) if count == contents.len()) {
            break;
        }
    }
    Ok(contents)
}
