//! Decides about a call before its tool, while the call holds nothing.

use std::any::Any;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use serde_json::Value;
use tokio::time::Sleep;
use toolbooth_core::{CallContext, DenyReason, LayerName, Moment, Part, ToolCall, ToolError};

use super::ToolSpec;
use super::service::ResponseWatch;
use super::shared::Entry;
use crate::middleware::Acquire;

/// The default of [`ToolboxBuilder::with_gate_limit`](super::ToolboxBuilder::with_gate_limit).
pub(super) const DEFAULT_GATE_LIMIT: Duration = Duration::from_secs(600);

/// What a gate decides about: a call and the tool that it was resolved to.
#[derive(Clone)]
pub struct GateRequest {
    spec: ToolSpec,
    context: CallContext,
    args: Arc<Value>,
}

/// A gate's decision against a call, with a message that the client may read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Denied {
    message: Arc<str>,
}

type Decision = Pin<Box<dyn Future<Output = Result<(), Denied>> + Send>>;

/// The gate of a toolbox.
#[derive(Clone)]
pub(super) struct Gate(Arc<dyn Fn(GateRequest) -> Decision + Send + Sync>);

/// A call that waits for the decision of the gate. Dropping it drops the gate's future.
pub(super) struct Gating {
    gate: Gate,
    name: LayerName,
    limit: Option<Duration>,
    since: Moment,
    state: State,
    /// The end of the wait, once the decision is pending.
    timer: Option<Pin<Box<Sleep>>>,
}

enum State {
    Start(GateRequest),
    Pending(Decision),
    Done,
}

// === impl GateRequest ===

impl GateRequest {
    /// Returns the description of the tool, such as its annotations.
    #[must_use]
    pub const fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    /// Returns the arguments of the call.
    #[must_use]
    pub fn args(&self) -> &Value {
        &self.args
    }

    /// Returns the context of the call, such as its tenant.
    #[must_use]
    pub const fn context(&self) -> &CallContext {
        &self.context
    }
}

/// Does not print the arguments: they may be secret, and long.
impl fmt::Debug for GateRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GateRequest")
            .field("tool", &self.spec.name())
            .field("context", &self.context)
            .finish_non_exhaustive()
    }
}

// === impl Denied ===

impl Denied {
    /// Creates a decision with this message, which the client may read.
    #[must_use]
    pub fn new(message: impl Into<Arc<str>>) -> Self {
        let message = message.into();
        Self { message }
    }
}

// === impl Gate ===

impl Gate {
    pub(super) fn new<F, Fut>(decide: F) -> Self
    where
        F: Fn(GateRequest) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Denied>> + Send + 'static,
    {
        Self(Arc::new(move |request| Box::pin(decide(request))))
    }

    /// Returns a gate that asks `next` about the calls that this one allows.
    pub(super) fn and_then(self, next: Self) -> Self {
        Self::new(move |request| {
            let first = (self.0)(request.clone());
            let next = next.clone();
            async move {
                first.await?;
                (next.0)(request).await
            }
        })
    }

    /// Creates the wait of a call.
    pub(super) fn ask(
        &self,
        name: &LayerName,
        entry: &Entry,
        part: &Part,
        call: &ToolCall,
    ) -> Gating {
        let request = GateRequest {
            spec: entry.spec.clone(),
            context: part.context().clone(),
            args: call.shared_args(),
        };
        Gating {
            gate: self.clone(),
            name: name.clone(),
            limit: entry.gate_limit,
            since: part.now(),
            state: State::Start(request),
            timer: None,
        }
    }
}

// === impl Gating ===

impl Gating {
    /// Polls for the decision. Its future is dropped when it completes or panics.
    fn poll_decision(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ToolError>> {
        let Self { gate, state, .. } = self;
        let decided = catch_unwind(AssertUnwindSafe(|| {
            if let State::Start(_) = state {
                if let State::Start(request) = std::mem::replace(state, State::Done) {
                    *state = State::Pending((gate.0)(request));
                }
            }
            let State::Pending(decision) = state else {
                return Poll::Pending;
            };
            let decided = decision.as_mut().poll(cx);
            if decided.is_ready() {
                *state = State::Done;
            }
            decided
        }));
        match decided {
            Ok(decided) => decided.map_err(|denied| {
                let reason = DenyReason::decided(denied.message);
                self.denied(reason)
            }),
            Err(panic) => {
                self.state = State::Done;
                Poll::Ready(Err(self.denied(panicked(&*panic))))
            }
        }
    }

    /// Polls for the end of the wait: the limit, and the caller's deadline if no layer outside
    /// enforces it.
    fn poll_end(&mut self, part: &Part, cx: &mut Context<'_>) -> Poll<ToolError> {
        let deadline = part.bound().filter(|_| !part.is_timed());
        let limit = self.limit.and_then(|limit| self.since.after(limit));
        let ends = [deadline.map(|deadline| deadline.at()), limit];
        let Some(end) = ends.into_iter().flatten().min() else {
            return Poll::Pending;
        };
        if Moment::now() < end {
            let sleep = || Box::pin(tokio::time::sleep_until(end.instant()));
            let timer = self.timer.get_or_insert_with(sleep);
            std::task::ready!(timer.as_mut().poll(cx));
        }
        self.state = State::Done;
        Poll::Ready(self.passed_deadline(part).unwrap_or_else(|| {
            let limit = self.limit.unwrap_or_default();
            self.denied(DenyReason::no_decision(limit))
        }))
    }

    fn passed_deadline(&self, part: &Part) -> Option<ToolError> {
        let bound = part.bound().filter(|bound| bound.at() <= Moment::now())?;
        Some(bound.error(part.context()).with_layer(&self.name))
    }

    fn denied(&self, reason: DenyReason) -> ToolError {
        ToolError::denied(reason).with_layer(&self.name)
    }
}

impl Acquire<ResponseWatch> for Gating {
    fn poll_acquire(
        &mut self,
        part: &Part,
        _: &mut ResponseWatch,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), ToolError>> {
        if let State::Start(_) = &self.state {
            if let Some(error) = self.passed_deadline(part) {
                return Poll::Ready(Err(error));
            }
        }
        match self.poll_decision(cx) {
            // An admission at or after the deadline does not start the tool.
            Poll::Ready(Ok(())) => {
                let passed = self.passed_deadline(part);
                Poll::Ready(passed.map_or(Ok(()), Err))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => self.poll_end(part, cx).map(Err),
        }
    }

    fn queue(&self) -> Option<&LayerName> {
        Some(&self.name)
    }
}

fn panicked(panic: &(dyn Any + Send)) -> DenyReason {
    match ToolError::from_panic(panic) {
        ToolError::Panicked { message, .. } => DenyReason::panicked(message),
        other => DenyReason::panicked(other.to_string()),
    }
}
