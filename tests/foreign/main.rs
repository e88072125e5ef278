//! Layers of tower inside, between and outside of toolbooth layers.
//!
//! They compile and work, an outer timeout bounds every wait, and no permit, position or token is
//! lost. Some tests restate compositions in which other crates go wrong, with the id of the case.
//! Those show the fault of the layers of tower first, as a control, if they have it.

mod permits;
mod positions;
mod readiness;
mod waiting;

use std::time::Duration;

use tokio::time::{Instant, sleep};
use toolbooth::{BoxError, ErrorKind, TimeoutLayer, ToolCall, ToolError, ToolOutput};
use toolbooth_test::ms;
use toolbooth_tests::{Kind, Layers, MINUTE, Retries, tool};
use tower::buffer::Buffer;
use tower::limit::{
    ConcurrencyLimitLayer as TowerConcurrencyLimitLayer, GlobalConcurrencyLimitLayer,
};
use tower::load_shed::LoadShed;
use tower::retry::Retry;
use tower::timeout::Timeout as TowerTimeout;
use tower::util::BoxCloneSyncService;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

/// A stack with its type erased. Its error is boxed, as it is in layers of tower.
type Tool = BoxCloneSyncService<ToolCall, ToolOutput, BoxError>;

const TOKENS: u32 = 100;

/// The position of cleanup in [`Kind::ALL`].
const CLEANUP: usize = 3;

/// The layers of tower.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Foreign {
    Timeout,
    ConcurrencyLimit,
    GlobalConcurrencyLimit,
    LoadShed,
    Buffer,
    Retry,
}

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

    /// With limits of 2, buffers of 4, and a timeout of a minute.
    fn around(self, inner: Tool) -> Tool {
        match self {
            Self::Timeout => erased(TowerTimeout::new(inner, MINUTE)),
            Self::ConcurrencyLimit => erased(TowerConcurrencyLimitLayer::new(2).layer(inner)),
            Self::GlobalConcurrencyLimit => {
                erased(GlobalConcurrencyLimitLayer::new(2).layer(inner))
            }
            Self::LoadShed => erased(LoadShed::new(inner)),
            Self::Buffer => erased(Buffer::new(inner, 4)),
            Self::Retry => erased(Retry::new(Retries::new(1), inner)),
        }
    }

    const fn is_limit(self) -> bool {
        matches!(self, Self::ConcurrencyLimit | Self::GlobalConcurrencyLimit)
    }
}

// === helpers ===

fn ours() -> Layers {
    Layers::with(MINUTE, TOKENS, 4)
}

/// All five layers around `tool`, and `foreign` inside the first `outside` of them.
fn stack(layers: &Layers, foreign: impl Fn(Tool) -> Tool, outside: usize, tool: Tool) -> Tool {
    let wrap = |kinds: &[Kind], tool| {
        let innermost_first = kinds.iter().rev();
        innermost_first.fold(tool, |tool, kind| erased(layers.around(*kind, tool)))
    };
    let (outer, inner) = Kind::ALL.split_at(outside);
    wrap(outer, foreign(wrap(inner, tool)))
}

fn erased<S>(service: S) -> Tool
where
    S: Service<ToolCall, Response = ToolOutput> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError> + 'static,
    S::Future: Send + 'static,
{
    Tool::new(service.map_err(Into::into))
}

fn call() -> ToolCall {
    toolbooth_test::call("tool")
}

/// A tool that responds after this time.
fn slow(time: Duration) -> Tool {
    erased(tool(move |_| async move {
        sleep(time).await;
        Ok::<_, BoxError>("done")
    }))
}

/// Makes a call and returns the text of its response.
async fn respond(tool: Tool, call: ToolCall) -> Result<String, ToolError> {
    let output = tool.oneshot(call).await.map_err(ToolError::from)?;
    Ok(output.collect().await?.text())
}

/// Makes a call and returns how it ended and how long it took.
async fn timed(tool: &Tool) -> (Result<String, ErrorKind>, Duration) {
    let start = Instant::now();
    let response = respond(tool.clone(), call()).await;
    (response.map_err(|error| error.kind()), start.elapsed())
}

/// Starts a call and runs all tasks until each of them waits.
async fn started<S>(service: S) -> tokio::task::JoinHandle<Result<String, ToolError>>
where
    S: Service<ToolCall, Response = ToolOutput> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError> + 'static,
    S::Future: Send + 'static,
{
    let task = tokio::spawn(respond(erased(service), call()));
    run_all_tasks().await;
    task
}

/// Runs all tasks until each of them waits, without advancing the clock.
async fn run_all_tasks() {
    for _ in 0..64 {
        tokio::task::yield_now().await;
    }
}
