use std::future::poll_fn;
use std::time::Duration;

use tokio::time::Instant;
use toolbooth_core::{
    BoxError, Collected, KeepPolicy, LayerName, Moment, ToolError, ToolOutput, ToolRequest,
};
use tower_service::Service;

use super::error::succeeded;
use super::{GroupError, Outcomes};
use crate::middleware::layer_name;

/// The settings of a group of calls. See the [module](super).
///
/// The value can be used for any number of groups.
#[derive(Debug, Clone)]
pub struct CallGroup {
    deadline: Option<Instant>,
    timeout: Option<Duration>,
    pub(super) concurrency: Option<usize>,
    pub(super) cancel_on_failure: bool,
    pub(super) keep: Option<KeepPolicy>,
    pub(super) name: LayerName,
}

// === impl CallGroup ===

impl CallGroup {
    /// Creates a group without a limit on its time or on how many of its calls run at once.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            deadline: None,
            timeout: None,
            concurrency: None,
            cancel_on_failure: false,
            keep: Some(KeepPolicy::new()),
            name: LayerName::new("group"),
        }
    }

    /// Sets the instant at which all calls have ended. `None` is no limit: the default.
    #[must_use]
    pub fn with_deadline(mut self, deadline: impl Into<Option<Instant>>) -> Self {
        self.deadline = deadline.into();
        self
    }

    /// Sets the time in which all calls end, from the start of a group on. `None` is no limit: the
    /// default. With a [deadline](Self::with_deadline) as well, the earlier one counts.
    #[must_use]
    pub fn with_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.timeout = timeout.into();
        self
    }

    /// Sets how many calls of the group run at once. `None` is no limit: the default; 0 rejects
    /// every call.
    ///
    /// Calls start in their order. A call runs until its response is collected.
    #[must_use]
    pub fn with_concurrency(mut self, calls: impl Into<Option<usize>>) -> Self {
        self.concurrency = calls.into();
        self
    }

    /// Cancels all other calls once one has failed.
    #[must_use]
    pub const fn with_cancel_on_failure(mut self) -> Self {
        self.cancel_on_failure = true;
        self
    }

    /// Sets how much is kept of the partial result of each call: 1,024 items and 1 MiB by default.
    ///
    /// With `None`, the group keeps nothing itself. Otherwise this policy takes precedence over a
    /// [`PartialResultLayer`](crate::PartialResultLayer) in the stack.
    #[must_use]
    pub fn with_partial_results(mut self, keep: impl Into<Option<KeepPolicy>>) -> Self {
        self.keep = keep.into();
        self
    }

    /// Makes the calls and returns the outcome of each, in the order of the calls, when all have
    /// ended.
    ///
    /// # Cancel safety
    /// Not cancel safe: dropping the future ends all calls.
    pub fn all<S, R, I>(
        &self,
        service: S,
        calls: I,
    ) -> impl Future<Output = Vec<Result<Collected, ToolError>>> + use<S, R, I>
    where
        I: IntoIterator<Item = R>,
        R: ToolRequest,
        S: Service<R, Response = ToolOutput> + Clone,
        S::Error: Into<BoxError> + 'static,
    {
        in_order(self.outcomes(service, calls), |_, _| false)
    }

    /// Makes the calls and returns the first response that is a success, with the index of its
    /// call. The other calls are cancelled.
    ///
    /// # Errors
    /// [`GroupError`] with the outcomes of all calls if none has succeeded, or if there are none.
    ///
    /// # Cancel safety
    /// Not cancel safe: dropping the future ends all calls.
    ///
    /// ```
    /// use std::time::Duration;
    /// use serde_json::json;
    /// use toolbooth::{CallGroup, ToolCall, tool_fn};
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let mirror = tool_fn("mirror", async |seconds: u64| {
    ///     tokio::time::sleep(Duration::from_secs(seconds)).await;
    ///     Ok::<_, std::io::Error>(format!("after {seconds} s"))
    /// });
    /// let calls = [9, 2, 5].map(|seconds: u64| ToolCall::new("mirror", json!(seconds)));
    /// let (index, response) = CallGroup::new().first_ok(mirror, calls).await?;
    /// assert_eq!((index, response.text()), (1, "after 2 s".to_owned()));
    /// # Ok(()) }
    /// ```
    pub fn first_ok<S, R, I>(
        &self,
        service: S,
        calls: I,
    ) -> impl Future<Output = Result<(usize, Collected), GroupError>> + use<S, R, I>
    where
        I: IntoIterator<Item = R>,
        R: ToolRequest,
        S: Service<R, Response = ToolOutput> + Clone,
        S::Error: Into<BoxError> + 'static,
    {
        let quorum = self.quorum(1, service, calls);
        async move {
            let mut outcomes = quorum.await?;
            let index = outcomes.iter().position(succeeded);
            match index.map(|index| (index, outcomes.swap_remove(index))) {
                Some((index, Ok(response))) => Ok((index, response)),
                _ => Err(GroupError::TooFewSucceeded {
                    needed: 1,
                    outcomes,
                }),
            }
        }
    }

    /// Makes the calls and returns the outcome of each, in the order of the calls, when `needed`
    /// have succeeded. The other calls are cancelled then: their outcomes are errors with partial
    /// results.
    ///
    /// # Errors
    /// [`GroupError`] if the group has fewer than `needed` calls, or as soon as too many have
    /// failed for `needed` to succeed.
    ///
    /// # Cancel safety
    /// Not cancel safe: dropping the future ends all calls.
    pub fn quorum<S, R, I>(
        &self,
        needed: usize,
        service: S,
        calls: I,
    ) -> impl Future<Output = Result<Vec<Result<Collected, ToolError>>, GroupError>> + use<S, R, I>
    where
        I: IntoIterator<Item = R>,
        R: ToolRequest,
        S: Service<R, Response = ToolOutput> + Clone,
        S::Error: Into<BoxError> + 'static,
    {
        let outcomes = self.outcomes(service, calls);
        let calls = outcomes.remaining();
        async move {
            let Some(may_fail) = calls.checked_sub(needed) else {
                return Err(GroupError::TooFewCalls { needed, calls });
            };
            let is_enough = |succeeded, failed| succeeded >= needed || failed > may_fail;
            let outcomes = in_order(outcomes, is_enough).await;
            match outcomes.iter().filter(|outcome| succeeded(outcome)).count() >= needed {
                true => Ok(outcomes),
                false => Err(GroupError::TooFewSucceeded { needed, outcomes }),
            }
        }
    }

    /// Makes the calls and returns a stream of their outcomes, as they come.
    ///
    /// The timeout of the group starts now, and the calls start with the first poll. They run while
    /// the stream is polled.
    pub fn outcomes<S, R, I>(&self, service: S, calls: I) -> Outcomes<S, R>
    where
        I: IntoIterator<Item = R>,
        R: ToolRequest,
        S: Service<R, Response = ToolOutput> + Clone,
        S::Error: Into<BoxError> + 'static,
    {
        Outcomes::new(self, service, calls.into_iter().collect())
    }

    /// Returns when a group that starts now has to end.
    pub(super) fn deadline_from(&self, now: Moment) -> Option<Moment> {
        let by_timeout = self.timeout.and_then(|timeout| now.after(timeout));
        let deadline = self.deadline.map(Moment::from);
        match (by_timeout, deadline) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        }
    }
}

layer_name!(CallGroup, name, "group");

impl Default for CallGroup {
    fn default() -> Self {
        Self::new()
    }
}

/// Collects the outcomes in the order of the calls. Cancels the calls that are left once
/// `is_enough` returns true for the numbers of those that have succeeded and failed.
async fn in_order<S, R>(
    mut outcomes: Outcomes<S, R>,
    is_enough: impl Fn(usize, usize) -> bool,
) -> Vec<Result<Collected, ToolError>>
where
    R: ToolRequest,
    S: Service<R, Response = ToolOutput> + Clone,
    S::Error: Into<BoxError> + 'static,
{
    let mut ended = Vec::with_capacity(outcomes.remaining());
    let (mut succeeded_calls, mut failed_calls) = (0, 0);
    loop {
        if is_enough(succeeded_calls, failed_calls) {
            outcomes.cancel();
        }
        let Some((index, outcome)) = poll_fn(|cx| outcomes.poll_outcome(cx)).await else {
            break;
        };
        match succeeded(&outcome) {
            true => succeeded_calls += 1,
            false => failed_calls += 1,
        }
        ended.push((index, outcome));
    }
    ended.sort_unstable_by_key(|(index, _)| *index);
    ended.into_iter().map(|(_, outcome)| outcome).collect()
}
