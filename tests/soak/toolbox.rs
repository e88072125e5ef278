use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::stream;
use tokio::time::sleep;
use toolbooth::{
    BoxError, CatchPanicLayer, CleanupLayer, Content, Outcome, PartialResultLayer, TimeoutLayer,
    ToolCall, ToolError, ToolOutput,
};
use tower::util::BoxCloneSyncService;
use tower::{ServiceBuilder, service_fn};

use super::changes::Limits;
use super::events::Summed;

pub(crate) const TOOLS: u64 = 100;
pub(crate) const TENANTS: u64 = 10;

pub(crate) type Stack = BoxCloneSyncService<ToolCall<Task>, ToolOutput, ToolError>;

/// What a tool does for a call.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Task {
    Complete(Duration),
    Fail(Duration),
    ReportFailure(Duration),
    Panic(Duration),
    Stream { chunks: u32, pause: Duration },
    Hang,
}

/// How often hooks received or callers observed each outcome, in the order of [`OUTCOMES`].
pub(crate) type Outcomes = [u64; OUTCOMES.len()];

pub(crate) const OUTCOMES: [Outcome; 6] = [
    Outcome::Completed,
    Outcome::Failed,
    Outcome::TimedOut,
    Outcome::Cancelled,
    Outcome::Rejected,
    Outcome::Panicked,
];

pub(crate) struct Toolbox {
    pub(crate) stack: Stack,
    /// The factor by which all times are shorter than in the simulated hour.
    pub(crate) faster: u32,
    pub(crate) limits: Limits,
    pub(crate) events: Summed,
    cleanup: CleanupLayer,
    hooks: Arc<[AtomicU64; OUTCOMES.len()]>,
}

pub(crate) fn index(outcome: Outcome) -> usize {
    OUTCOMES
        .iter()
        .position(|known| *known == outcome)
        .expect("all outcomes are known")
}

// === impl Toolbox ===

impl Toolbox {
    pub(crate) fn new() -> Self {
        Self::new_faster(1)
    }

    pub(crate) fn new_faster(faster: u32) -> Self {
        let events = Summed::default();
        let cleanup = CleanupLayer::new();
        let limits = Limits::new(faster);
        let stack = ServiceBuilder::new()
            .layer(events.layer())
            .layer(cleanup.clone())
            .layer(TimeoutLayer::new(Duration::from_secs(20) / faster))
            .layer(limits.rate.clone())
            .layer(limits.by_tenant.clone())
            .layer(limits.shared.clone())
            .layer(limits.by_tool.clone())
            .layer(limits.breaker.clone())
            .layer(CatchPanicLayer::new())
            .layer(PartialResultLayer::new())
            .service(service_fn(tool));
        Self {
            stack: Stack::new(stack),
            faster,
            limits,
            events,
            cleanup,
            hooks: Arc::default(),
        }
    }

    /// Registers a hook that counts the outcome of the call.
    pub(crate) fn observe(&self, call: &ToolCall<Task>) {
        let hooks = Arc::clone(&self.hooks);
        call.context().on_cleanup(move |outcome| async move {
            hooks[index(outcome)].fetch_add(1, Ordering::Relaxed);
        });
    }

    pub(crate) fn outcomes(&self) -> Outcomes {
        std::array::from_fn(|at| self.hooks[at].load(Ordering::Relaxed))
    }

    /// Asserts that everything is released and that all hooks have run.
    pub(crate) async fn assert_idle(&self) {
        let report = self.cleanup.drain(Duration::from_secs(10)).await;
        assert_eq!(
            (report.failed, report.abandoned, report.orphaned),
            (0, 0, 0)
        );
        assert_eq!(report.ran, self.outcomes().iter().sum::<u64>());
        self.limits.assert_idle().await;
    }
}

async fn tool(call: ToolCall<Task>) -> Result<ToolOutput, BoxError> {
    let (context, task) = call.into_parts();
    match task {
        Task::Complete(after) => {
            context.emit("half of it");
            sleep(after).await;
            Ok(ToolOutput::text("all of it"))
        }
        Task::Fail(after) => {
            sleep(after).await;
            Err("it failed".into())
        }
        Task::ReportFailure(after) => {
            sleep(after).await;
            Ok(ToolOutput::error("the tool failed"))
        }
        Task::Panic(after) => {
            sleep(after).await;
            // Without the message on stderr.
            resume_unwind(Box::new("the tool panics"))
        }
        Task::Stream { chunks, pause } => Ok(ToolOutput::stream(stream::unfold(
            0,
            move |chunk| async move {
                sleep(pause).await;
                let content = Content::from(format!("chunk {chunk}"));
                (chunk < chunks).then_some((Ok::<_, ToolError>(content), chunk + 1))
            },
        ))),
        Task::Hang => std::future::pending().await,
    }
}
