use std::any::Any;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::yield_now;
use tokio::time::timeout;
use toolbooth_core::{
    BoxError, CallContext, ErrorKind, LayerName, Moment, Outcome, OverloadReason, ToolError,
    ToolRequest,
};
use tower::retry::Policy;
use tower::retry::budget::{Budget, TpsBudget};

use super::backoff::Backoff;
use crate::middleware::{ConfigError, layer_name};

/// Decides whether a call is retried, for tower's [`RetryLayer`](tower::retry::RetryLayer).
///
/// See the [module](super).
#[derive(Debug, Clone)]
pub struct RetryPolicy {
    attempts: u32,
    /// Failed attempts of this call: tower clones the policy for each call.
    failed: u32,
    backoff: Backoff,
    budget: Option<Arc<TpsBudget>>,
    name: LayerName,
}

/// The class of a failure, which decides whether it is retried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FailureClass {
    /// A layer rejected the call. Nothing ran.
    Rejected,
    /// The tool may have run, and a retry may help.
    Retryable,
    /// The tool failed, and did not mark its error as retryable.
    Failed,
    /// A retry cannot help.
    Permanent,
}

// === impl RetryPolicy ===

impl RetryPolicy {
    /// Allows `attempts` attempts of a call, including the first.
    ///
    /// 1 disables retries. So does 0, since tower makes the first attempt without a policy
    /// decision.
    ///
    /// By default the backoff is 100 ms, doubled up to 10 s, with full jitter. The default budget
    /// is that of tower: 20 % of the calls that succeed, and 10 retries per second, counted over 10
    /// s.
    #[must_use]
    pub fn new(attempts: u32) -> Self {
        Self {
            attempts,
            failed: 0,
            backoff: Backoff::new(Duration::from_millis(100), Duration::from_secs(10)),
            budget: Some(Arc::new(TpsBudget::default())),
            name: LayerName::new("retry"),
        }
    }

    /// Like [`new`](Self::new), but rejects 0. For numbers from a configuration.
    ///
    /// # Errors
    /// [`ConfigError::ZeroAttempts`] for 0: the first attempt is always made.
    pub fn try_new(attempts: u32) -> Result<Self, ConfigError> {
        match attempts {
            0 => Err(ConfigError::ZeroAttempts),
            attempts => Ok(Self::new(attempts)),
        }
    }

    /// Sets the backoff: after `n` failed attempts, a uniformly random wait from zero to
    /// `min(max, base * 2^(n - 1))`.
    ///
    /// A `base` of zero means no wait.
    #[must_use]
    pub fn with_backoff(self, base: Duration, max: Duration) -> Self {
        let backoff = self.backoff.with_range(base, max);
        Self { backoff, ..self }
    }

    /// Sets the seed of the jitter, by default random for each policy.
    ///
    /// The same seed gives the same sequence of waits, in the order in which attempts of all calls
    /// fail.
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        let backoff = self.backoff.with_seed(seed);
        Self { backoff, ..self }
    }

    /// Sets the budget of all calls together. In an `Arc`, several policies can share it.
    #[must_use]
    pub fn with_budget(self, budget: impl Into<Arc<TpsBudget>>) -> Self {
        let budget = Some(budget.into());
        Self { budget, ..self }
    }

    /// Removes the budget. The number of attempts is then the only bound, even for a broken tool.
    #[must_use]
    pub fn without_budget(self) -> Self {
        let budget = None;
        Self { budget, ..self }
    }

    /// Returns the wait before the next attempt, or `None` for no retry.
    ///
    /// The budget is withdrawn from last, so that a call that is not retried withdraws nothing.
    fn wait(&mut self, context: &CallContext, error: &(dyn Any + 'static)) -> Option<Duration> {
        self.failed = self.failed.saturating_add(1);
        if self.failed >= self.attempts || context.is_cancelled() {
            return None;
        }
        let (class, retry_after) = FailureClass::of(error);
        if !class.allows_retry(context.idempotent()) {
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
        tracing::debug!(
            tool = context.tool(),
            call_id = %context.id(),
            failed = self.failed,
            ?wait,
            "retrying"
        );
        Some(wait)
    }
}

layer_name!(RetryPolicy, name, "retry");

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
                // An outer layer of toolbooth ends the call in this poll. Without one, the inner
                // layer rejects the next attempt.
                yield_now().await;
            }
        }))
    }

    fn clone_request(&mut self, request: &R) -> Option<R> {
        (self.attempts > 1).then(|| request.clone())
    }
}

// === impl FailureClass ===

impl FailureClass {
    /// Returns the class of an error, and its `retry_after`.
    ///
    /// An error of tower's layers has the class of the `ToolError` that it is converted into.
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
            Self::Retryable
        } else if boxed.is::<tower::load_shed::error::Overloaded>() {
            Self::Rejected
        } else {
            Self::Failed
        };
        (foreign, None)
    }

    fn of_ours(error: &ToolError) -> Self {
        if let ToolError::Overloaded {
            reason: OverloadReason::ShuttingDown { .. },
            ..
        } = error
        {
            // A closed layer stays closed. A retry helps in another process.
            return Self::Permanent;
        }
        match (error.is_retryable(), error.outcome(), error.kind()) {
            (true, Outcome::Rejected, _) => Self::Rejected,
            (true, _, _) => Self::Retryable,
            (false, _, ErrorKind::Tool | ErrorKind::Panicked) => Self::Failed,
            (false, _, _) => Self::Permanent,
        }
    }

    /// Returns whether a retry is allowed, given the caller's idempotency hint.
    fn allows_retry(self, idempotent: Option<bool>) -> bool {
        match self {
            Self::Rejected => true,
            Self::Retryable => idempotent != Some(false),
            Self::Failed => idempotent == Some(true),
            Self::Permanent => false,
        }
    }
}

/// Rounds a wait up to milliseconds, the resolution of tokio's timers.
fn ticks(wait: Duration) -> Duration {
    let up = wait.saturating_add(Duration::from_nanos(999_999));
    Duration::new(up.as_secs(), up.subsec_millis() * 1_000_000)
}
