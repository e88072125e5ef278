use std::num::NonZeroU32;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::stream;
use governor::Quota;
use tokio::time::sleep;
use toolbooth::{
    BoxError, BreakerPolicy, CatchPanicLayer, CircuitBreakerLayer, CleanupLayer,
    ConcurrencyLimitLayer, Content, Order, Outcome, PartialResultLayer, PerTool, RateLimitLayer,
    TimeoutLayer, ToolCall, ToolError, ToolOutput,
};
use tower::util::BoxCloneSyncService;
use tower::{ServiceBuilder, service_fn};

pub(crate) const TOOLS: u64 = 100;
pub(crate) const TENANTS: u64 = 10;

pub(crate) type Stack = BoxCloneSyncService<ToolCall<Task>, ToolOutput, ToolError>;

/// What a call has its tool do.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Task {
    Complete(Duration),
    Fail(Duration),
    ReportFailure(Duration),
    Panic(Duration),
    Stream { chunks: u32, pause: Duration },
    Hang,
}

/// How often each outcome was told to a hook, or seen by a caller; in the order of [`OUTCOMES`].
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
    /// By how much everything is faster than in the hour that is simulated.
    pub(crate) faster: u32,
    cleanup: CleanupLayer,
    by_tenant: RateLimitLayer,
    shared: ConcurrencyLimitLayer,
    by_tool: ConcurrencyLimitLayer,
    told: Arc<[AtomicU64; OUTCOMES.len()]>,
    limit: AtomicU32,
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
        let scaled = |time: Duration| time / faster;
        let per_tenant = NonZeroU32::new(2 * faster).expect("not 0");
        let burst = NonZeroU32::new(10).expect("not 0");
        let cleanup = CleanupLayer::new();
        let by_tenant =
            RateLimitLayer::by(Quota::per_second(per_tenant).allow_burst(burst), |call| {
                call.tenant().unwrap_or("nobody").into()
            })
            .with_max_wait(scaled(Duration::from_secs(5)));
        let shared = ConcurrencyLimitLayer::new(START)
            .with_order(Order::priority().with_aging(scaled(Duration::from_secs(10))))
            .with_queue_capacity(64);
        let by_tool = ConcurrencyLimitLayer::per_tool(PerTool::new(2)).with_queue_capacity(2);
        let policy = BreakerPolicy::new()
            .with_open_time(scaled(Duration::from_secs(30)))
            .with_half_open_limit(scaled(Duration::from_secs(30)))
            .expect("it is not 0");
        let stack = ServiceBuilder::new()
            .layer(cleanup.clone())
            .layer(TimeoutLayer::new(scaled(Duration::from_secs(20))))
            .layer(by_tenant.clone())
            .layer(shared.clone())
            .layer(by_tool.clone())
            .layer(CircuitBreakerLayer::with_policy(policy))
            .layer(CatchPanicLayer::new())
            .layer(PartialResultLayer::new())
            .service(service_fn(tool));
        Self {
            stack: Stack::new(stack),
            faster,
            cleanup,
            by_tenant,
            shared,
            by_tool,
            told: Arc::default(),
            limit: AtomicU32::new(u32::try_from(START).expect("20 fits")),
        }
    }

    /// Has a hook of the call count its outcome.
    pub(crate) fn observe(&self, call: &ToolCall<Task>) {
        let told = Arc::clone(&self.told);
        call.context().on_cleanup(move |outcome| async move {
            told[index(outcome)].fetch_add(1, Ordering::Relaxed);
        });
    }

    pub(crate) fn told(&self) -> Outcomes {
        std::array::from_fn(|at| self.told[at].load(Ordering::Relaxed))
    }

    /// Changes what all tools together may do at once.
    pub(crate) fn set_limit(&self, limit: u32) {
        self.limit.store(limit, Ordering::Relaxed);
        self.shared.set_limit(limit as usize).expect("it is not 0");
    }

    /// Everything that calls took is back, and their hooks are done.
    pub(crate) async fn assert_idle(&self) {
        let report = self.cleanup.drain(Duration::from_secs(10)).await;
        assert_eq!(
            (report.failed, report.abandoned, report.orphaned),
            (0, 0, 0)
        );
        assert_eq!(report.ran, self.told().iter().sum::<u64>());
        assert_eq!((self.shared.in_flight(), self.shared.queued()), (0, 0));
        assert_eq!(
            self.shared.available(),
            self.limit.load(Ordering::Relaxed) as usize
        );
        assert_eq!((self.by_tool.in_flight(), self.by_tool.queued()), (0, 0));
        assert_eq!(self.by_tool.available(), 2);
        assert_eq!(self.by_tenant.queued(), 0);
    }
}

const START: usize = 20;

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
            Ok(ToolOutput::error("it did not work"))
        }
        Task::Panic(after) => {
            sleep(after).await;
            // As a panic, without the message on stderr.
            resume_unwind(Box::new("it broke"))
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
