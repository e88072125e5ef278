use std::any::Any;
use std::error::Error;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use toolbooth_core::{
    BoxError, CallContext, LayerName, Moment, Name, ResponseHead, ToolError, ToolRequest,
    ToolResponse,
};
use tower::retry::Policy;

use super::backoff::Backoff;
use super::budget::RetryBudget;
use super::failure::{self, Failure};
use super::waiting::Waiting;
use crate::middleware::{ConfigError, PerTool};

/// The default of [`RetryPolicy::with_max_retry_after`].
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);

/// Decides whether a call is retried, for tower's [`RetryLayer`](tower::retry::RetryLayer).
///
/// See the [module](super).
#[derive(Debug, Clone)]
pub struct RetryPolicy {
    settings: Arc<Settings>,
    /// Failed attempts of this call: tower clones the policy for each call.
    failed: u32,
    /// Boxed, since few calls are retried.
    earlier: Option<Box<Earlier>>,
}

#[derive(Debug, Clone)]
struct Settings {
    name: LayerName,
    attempts: u32,
    backoff: Backoff,
    budget: Option<RetryBudget>,
    idempotent: PerTool<bool>,
    max_retry_after: Duration,
    responses: Option<Responses>,
}

/// Selects the responses that are failures.
#[derive(Clone)]
struct Responses(Arc<dyn Fn(ResponseHead<'_>) -> bool + Send + Sync>);

/// The earlier attempts of a call.
#[derive(Debug, Clone, Default)]
struct Earlier {
    /// Whether the tool had been called.
    started: bool,
    /// The error of the last one whose tool had been called, if it can be kept.
    failure: Option<ToolError>,
    /// The time that the call has waited for an open circuit.
    waited_for_circuit: Duration,
}

// === impl RetryPolicy ===

impl RetryPolicy {
    /// Allows `attempts` attempts of a call, including the first.
    ///
    /// 1 disables retries. So does 0, since tower makes the first attempt without a policy
    /// decision.
    ///
    /// By default the backoff is 100 ms, doubled up to 10 s, with full jitter, and the budget is
    /// [`RetryBudget::default`].
    #[must_use]
    pub fn new(attempts: u32) -> Self {
        let settings = Settings {
            name: LayerName::new("retry"),
            attempts,
            backoff: Backoff::new(Duration::from_millis(100), Duration::from_secs(10)),
            budget: Some(RetryBudget::default()),
            idempotent: PerTool::none(),
            max_retry_after: MAX_RETRY_AFTER,
            responses: None,
        };
        Self {
            settings: Arc::new(settings),
            failed: 0,
            earlier: None,
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

    /// Sets the name of this policy: `retry` by default. Its logs carry the name.
    #[must_use]
    pub fn with_name(self, name: impl Into<Name>) -> Self {
        self.with(|settings| settings.name = settings.name.renamed(name))
    }

    /// Returns the name of this policy.
    #[must_use]
    pub fn name(&self) -> &str {
        self.settings.name.as_str()
    }

    /// Sets whether calling a tool twice has the same effect as calling it once: `true` for all
    /// tools, or a [`PerTool`].
    ///
    /// By default this is not known, and a tool that had started is called again only if its error
    /// is retryable. The [setting of a call](toolbooth_core::ToolCall::with_idempotent) takes
    /// precedence. This setting takes precedence over the method of an HTTP request.
    ///
    /// ```
    /// use toolbooth::{PerTool, RetryPolicy};
    ///
    /// let reads = PerTool::none().with("search", true).with("fetch", true);
    /// let policy = RetryPolicy::new(3).with_idempotent(reads);
    /// # drop(policy);
    /// ```
    #[must_use]
    pub fn with_idempotent(self, idempotent: impl Into<PerTool<bool>>) -> Self {
        self.with(|settings| settings.idempotent = idempotent.into())
    }

    /// Treats responses as failures, if the predicate returns true for their head.
    ///
    /// By default no response is retried. A response that is selected here is retried only for
    /// calls that are idempotent, since the tool had started. The header `Retry-After` in seconds
    /// of a 429 or 503 is a lower bound of the wait. Without a retry the response is returned. It
    /// deposits nothing into the budget. A predicate that panics counts as false.
    ///
    /// ```
    /// use toolbooth::{ResponseHead, RetryPolicy};
    ///
    /// let policy = RetryPolicy::new(3).with_responses(|head| match head {
    ///     ResponseHead::Http(head) => head.status == 503,
    ///     ResponseHead::Tool(output) => output.is_error(),
    ///     _ => false,
    /// });
    /// # drop(policy);
    /// ```
    #[must_use]
    pub fn with_responses<F>(self, is_failure: F) -> Self
    where
        F: Fn(ResponseHead<'_>) -> bool + Send + Sync + 'static,
    {
        let responses = Responses(Arc::new(is_failure));
        self.with(|settings| settings.responses = Some(responses))
    }

    /// Sets the longest [`retry_after`](toolbooth_core::ToolError::retry_after) that is waited for,
    /// by default 60 s.
    ///
    /// A longer one ends the retries, and the error is returned at once. A call also waits no
    /// longer than this in all for circuit breakers that are open, even if they do not report a
    /// time.
    #[must_use]
    pub fn with_max_retry_after(self, max: Duration) -> Self {
        self.with(|settings| settings.max_retry_after = max)
    }

    /// Sets the backoff: after `n` failed attempts, a uniformly random wait from zero to
    /// `min(max, base * 2^(n - 1))`.
    ///
    /// A `base` of zero means no wait. The `retry_after` of an error comes on top.
    #[must_use]
    pub fn with_backoff(self, base: Duration, max: Duration) -> Self {
        self.with(|settings| settings.backoff.set_range(base, max))
    }

    /// Sets the seed of the jitter, by default random for each policy.
    ///
    /// The same seed gives the same sequence of waits, in the order in which attempts of all calls
    /// fail.
    #[must_use]
    pub fn with_seed(self, seed: u64) -> Self {
        self.with(|settings| settings.backoff.set_seed(seed))
    }

    /// Sets the budget of all calls together. Policies with clones of one budget share it.
    #[must_use]
    pub fn with_budget(self, budget: RetryBudget) -> Self {
        self.with(|settings| settings.budget = Some(budget))
    }

    /// Removes the budget. The number of attempts is then the only bound, even for a broken tool.
    #[must_use]
    pub fn without_budget(self) -> Self {
        self.with(|settings| settings.budget = None)
    }

    fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Arc::make_mut(&mut self.settings));
        self
    }

    /// Returns the wait before the next attempt, or `None` for no retry.
    ///
    /// The budget is withdrawn from last, so that a call that is not retried withdraws nothing.
    fn wait<R: ToolRequest>(&mut self, request: &mut R, failure: Failure) -> Option<Duration> {
        self.failed = self.failed.saturating_add(1);
        let settings = &self.settings;
        if self.failed >= settings.attempts
            || request.context().is_cancelled()
            || !failure.allows_retry(settings.idempotent(request))
        {
            return None;
        }
        let jitter = settings.backoff.after(self.failed);
        let wait = failure.retry_after.unwrap_or_default();
        let wait = wait.saturating_add(jitter);
        let context = request.context();
        if self.hinted(failure, jitter) > settings.max_retry_after || !is_in_time(context, wait) {
            return None;
        }
        if !settings.budget.as_ref().is_none_or(RetryBudget::withdraw) {
            return None;
        }
        tracing::debug!(
            layer = settings.name.as_str(),
            tool = context.tool(),
            call_id = %context.id(),
            failed = self.failed,
            ?wait,
            "retrying"
        );
        Some(wait)
    }

    /// Returns the time that the maximum bounds: the hint, and for an open circuit also what the
    /// call has waited for one before.
    ///
    /// The jitter after a hint does not count, so that a hint of the maximum is allowed.
    fn hinted(&self, failure: Failure, jitter: Duration) -> Duration {
        if !failure.circuit_open {
            return failure.retry_after.unwrap_or_default();
        }
        let earlier = self.earlier.as_deref();
        let waited = earlier.map_or(Duration::ZERO, |earlier| earlier.waited_for_circuit);
        waited.saturating_add(failure.retry_after.unwrap_or(jitter))
    }

    /// Records a failed attempt that is retried. tower drops its result.
    fn record<Res, E: 'static>(
        &mut self,
        result: &mut Result<Res, E>,
        failure: Failure,
        wait: Duration,
    ) {
        let earlier = self.earlier.get_or_insert_default();
        if failure.circuit_open {
            earlier.waited_for_circuit = earlier.waited_for_circuit.saturating_add(wait);
        }
        if failure.started {
            earlier.started = true;
            earlier.failure = match result {
                Ok(_) => Some(ToolError::failed(
                    "the response of the attempt was a failure",
                )),
                Err(error) => failure::take(error),
            };
        }
    }

    /// Completes the error of a call by what its attempts did.
    fn complete(&self, error: &mut (dyn Any + 'static), failure: Failure) {
        let Some(error) = failure::ours_mut(error) else {
            return;
        };
        let earlier = self.earlier.as_deref();
        if failure.started || earlier.is_some_and(|earlier| earlier.started) {
            *error = error.clone().with_started();
        }
        let last = earlier.and_then(|earlier| earlier.failure.clone());
        if let (false, None, Some(last)) = (failure.started, error.source(), last) {
            *error = error.clone().with_source(last);
        }
    }
}

impl<R, Res, E> Policy<R, Res, E> for RetryPolicy
where
    R: ToolRequest + Clone,
    Res: ToolResponse,
    E: Into<BoxError> + 'static,
{
    type Future = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

    fn retry(&mut self, request: &mut R, result: &mut Result<Res, E>) -> Option<Self::Future> {
        let failure = match result {
            Ok(response) => match self.settings.failure(response) {
                Some(failure) => failure,
                None => {
                    if let Some(budget) = &self.settings.budget {
                        budget.deposit();
                    }
                    return None;
                }
            },
            Err(error) => Failure::of_error(error, request.tool_name()),
        };
        let Some(wait) = self.wait(request, failure) else {
            if let Err(error) = result {
                self.complete(error, failure);
            }
            return None;
        };
        request.context().report_retry(wait, || match result {
            Ok(response) => Ok(response.inspect_head(failure::response_type).flatten()),
            Err(error) => Err(failure::report(error)),
        });
        self.record(result, failure, wait);
        let waiting = Waiting::new(request.context(), self.failed, &self.settings.name);
        Some(Box::pin(waiting.wait(wait)))
    }

    fn clone_request(&mut self, request: &R) -> Option<R> {
        (self.settings.attempts > 1).then(|| request.clone())
    }
}

// === impl Settings ===

impl Settings {
    /// Returns whether the call is idempotent, if known.
    fn idempotent<R: ToolRequest>(&self, request: &mut R) -> Option<bool> {
        let call = request.context().idempotent();
        let tool = || self.idempotent.get(request.tool_name()).copied();
        call.or_else(tool).or_else(|| request.idempotent())
    }

    /// Returns the failure that a response is, if the predicate selects it.
    fn failure<Res: ToolResponse>(&self, response: &mut Res) -> Option<Failure> {
        let Responses(is_failure) = self.responses.as_ref()?;
        let inspected = response.inspect_head(|head| {
            let is_failure = catch_unwind(AssertUnwindSafe(|| is_failure(head)));
            is_failure
                .unwrap_or(false)
                .then(|| Failure::of_response(head))
        });
        inspected.flatten()
    }
}

impl fmt::Debug for Responses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Responses")
    }
}

/// Returns whether the call may still run after the wait.
fn is_in_time(context: &CallContext, wait: Duration) -> bool {
    match (context.deadline(), Moment::now().after(ticks(wait))) {
        (Some(deadline), Some(next)) => next < Moment::from(deadline),
        (Some(_), None) => false,
        (None, _) => true,
    }
}

/// Rounds a wait up to milliseconds, the resolution of tokio's timers.
fn ticks(wait: Duration) -> Duration {
    let up = wait.saturating_add(Duration::from_nanos(999_999));
    Duration::new(up.as_secs(), up.subsec_millis() * 1_000_000)
}
