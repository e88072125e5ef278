use std::any::Any;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::timeout;
use toolbooth_core::{BoxError, CallContext, ErrorKind, Moment, Outcome, ToolError, ToolRequest};
use tower::retry::Policy;
use tower::retry::budget::{Budget, TpsBudget};

use super::backoff::Backoff;
use crate::middleware::ConfigError;

/// When a call is made again, for tower's [`RetryLayer`](tower::retry::RetryLayer). See the [module](super).
#[derive(Debug, Clone)]
pub struct RetryPolicy {
    attempts: u32,
    /// Attempts of this call that have failed: tower clones the policy for each call.
    failed: u32,
    backoff: Backoff,
    budget: Option<Arc<TpsBudget>>,
}

/// What an error says of another attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Again {
    /// Nothing ran.
    Refused,
    /// The tool may have run; another try may help.
    MayHelp,
    /// The tool failed, and did not say that another try may help.
    Failed,
    /// No.
    Never,
}

// === impl RetryPolicy ===

impl RetryPolicy {
    /// So many attempts of a call, the first one included; 1 is the off value, and so is 0, since tower makes the first
    /// attempt without asking.
    ///
    /// The backoff is 100 ms, doubled up to 10 s, with full jitter; the budget is tower's default one: retries are
    /// 20% of the calls that succeed, and 10 a second besides, counted over 10 s.
    #[must_use]
    pub fn new(attempts: u32) -> Self {
        Self {
            attempts,
            failed: 0,
            backoff: Backoff::new(Duration::from_millis(100), Duration::from_secs(10)),
            budget: Some(Arc::new(TpsBudget::default())),
        }
    }

    /// As [`new`](Self::new), for numbers that come from a configuration.
    ///
    /// # Errors
    /// [`ConfigError::ZeroAttempts`] for 0: the first attempt is made in any case.
    pub fn try_new(attempts: u32) -> Result<Self, ConfigError> {
        match attempts {
            0 => Err(ConfigError::ZeroAttempts),
            attempts => Ok(Self::new(attempts)),
        }
    }

    /// How long to wait before an attempt: after `n` that failed, anything from zero to `min(max, base * 2^(n - 1))`, each
    /// equally likely. A `base` of zero is no wait.
    #[must_use]
    pub fn with_backoff(self, base: Duration, max: Duration) -> Self {
        let backoff = self.backoff.with_range(base, max);
        Self { backoff, ..self }
    }

    /// The jitter's sequence: the same waits for the same seed, in the order in which the attempts of all calls fail. Without it
    /// each policy has a sequence of its own.
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        let backoff = self.backoff.with_seed(seed);
        Self { backoff, ..self }
    }

    /// Another budget for all calls together; in an `Arc` it can be shared by several policies.
    #[must_use]
    pub fn with_budget(self, budget: impl Into<Arc<TpsBudget>>) -> Self {
        let budget = Some(budget.into());
        Self { budget, ..self }
    }

    /// No budget: the attempts of each call are the only bound, and a tool that is dead gets all of them.
    #[must_use]
    pub fn without_budget(self) -> Self {
        let budget = None;
        Self { budget, ..self }
    }

    /// How long to wait before the next attempt; `None` where there is to be none. What can be known without spending goes before the budget.
    fn wait(&mut self, context: &CallContext, error: &(dyn Any + 'static)) -> Option<Duration> {
        self.failed = self.failed.saturating_add(1);
        if self.failed >= self.attempts || context.is_cancelled() {
            return None;
        }
        let (again, retry_after) = Again::of(error);
        if !again.allows(context.idempotent()) {
            return None;
        }
        let backoff = self.backoff.after(self.failed);
        let wait = backoff.max(retry_after.unwrap_or_default());
        let in_time = match (context.deadline(), Moment::now().after(ticks(wait))) {
            (Some(deadline), Some(next)) => next < Moment::from(deadline),
            (Some(_), None) => false,
            (None, _) => true,
        };
        if !in_time || !self.budget.as_ref().is_none_or(|budget| budget.withdraw()) {
            return None;
        }
        tracing::debug!(tool = context.tool(), call_id = %context.id(), failed = self.failed, ?wait, "retrying");
        Some(wait)
    }
}

impl<R, Res, E> Policy<R, Res, E> for RetryPolicy
where
    R: ToolRequest + Clone,
    E: Into<BoxError> + 'static,
{
    type Future = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

    fn retry(&mut self, request: &mut R, result: &mut Result<Res, E>) -> Option<Self::Future> {
        let Err(error) = result else {
            if let Some(budget) = &self.budget {
                budget.deposit();
            }
            return None;
        };
        let context = request.context();
        let wait = self.wait(context, error)?;
        let context = context.clone();
        Some(Box::pin(async move {
            if timeout(wait, context.cancelled()).await.is_ok() {
                // Our layer outside ends the call in this very poll; where there is none, the one inside refuses the next attempt.
                yield_now().await;
            }
        }))
    }

    fn clone_request(&mut self, request: &R) -> Option<R> {
        (self.attempts > 1).then(|| request.clone())
    }
}

// === impl Again ===

impl Again {
    /// What the error says, and after how long at the earliest. The error of a foreign layer is judged as ours make it one of theirs.
    fn of(error: &(dyn Any + 'static)) -> (Self, Option<Duration>) {
        if let Some(ours) = error.downcast_ref::<ToolError>() {
            return (Self::of_ours(ours), ours.retry_after());
        }
        let Some(boxed) = error.downcast_ref::<BoxError>() else {
            return (Self::Failed, None);
        };
        if let Some(ours) = boxed.downcast_ref::<ToolError>() {
            return (Self::of_ours(ours), ours.retry_after());
        }
        let foreign = if boxed.is::<tower::timeout::error::Elapsed>() {
            Self::MayHelp
        } else if boxed.is::<tower::load_shed::error::Overloaded>() {
            Self::Refused
        } else {
            Self::Failed
        };
        (foreign, None)
    }

    fn of_ours(error: &ToolError) -> Self {
        match (error.is_retryable(), error.outcome(), error.kind()) {
            (true, Outcome::Rejected, _) => Self::Refused,
            (true, _, _) => Self::MayHelp,
            (false, _, ErrorKind::Tool | ErrorKind::Panicked) => Self::Failed,
            (false, _, _) => Self::Never,
        }
    }

    /// `idempotent` is what the caller said.
    fn allows(self, idempotent: Option<bool>) -> bool {
        match self {
            Self::Refused => true,
            Self::MayHelp => idempotent != Some(false),
            Self::Failed => idempotent == Some(true),
            Self::Never => false,
        }
    }
}

/// tokio's timers tick in milliseconds: when a wait is over.
fn ticks(wait: Duration) -> Duration {
    let up = wait.saturating_add(Duration::from_nanos(999_999));
    Duration::new(up.as_secs(), up.subsec_millis() * 1_000_000)
}
