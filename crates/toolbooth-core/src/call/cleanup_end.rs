use triomphe::Arc;

use super::child::Parent;
use super::kept::{KeptPermits, WeakPermits};
use super::settings::Settings;
use super::{CallContext, Name, ToolCall};
use crate::error::ToolError;
use crate::outcome::Outcome;
use crate::response::Partial;

/// The argument of a cleanup hook: the call, its outcome and its partial result.
#[derive(Debug, Clone)]
pub struct CleanupEnd {
    /// The settings of the call, with an id.
    call: Settings,
    outcome: Outcome,
    partial: Option<Arc<Partial>>,
    /// The permits that the hooks keep, which the calls of a hook inherit. Boxed, since few calls
    /// have any, and each cleanup is a task (`storm`).
    permits: Option<Box<WeakPermits>>,
}

// === impl CleanupEnd ===

impl CleanupEnd {
    pub(super) const fn new(
        call: Settings,
        outcome: Outcome,
        partial: Option<Arc<Partial>>,
    ) -> Self {
        Self {
            call,
            outcome,
            partial,
            permits: None,
        }
    }

    /// Sets the permits that the hooks keep.
    pub(super) fn with_permits(mut self, permits: &KeptPermits) -> Self {
        self.permits = permits.downgrade().map(Box::new);
        self
    }

    /// Returns the name of the tool.
    #[must_use]
    pub fn tool(&self) -> &str {
        &self.call.tool
    }

    /// Returns the id of the call.
    #[must_use]
    pub fn call_id(&self) -> &str {
        self.call.id.as_deref().unwrap_or_default()
    }

    /// Returns the outcome of the call, as the layer that runs the hook received it.
    #[must_use]
    pub const fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Returns the partial result of the call, if it failed and a layer kept one.
    #[must_use]
    pub fn partial(&self) -> Option<&Partial> {
        self.partial.as_deref()
    }

    /// Creates a call that the hook makes: of the tool `name`, with an id of its own.
    ///
    /// Unlike a [child](CallContext::child) of the context, which is cancelled once its parent has
    /// ended, it runs after the end of the call. It has no deadline of that call: the limit of the
    /// hook bounds it. It inherits the tenant, the priority and the extensions.
    ///
    /// If the hook still keeps the permit of a concurrency limit, the call needs none. That is so
    /// for limits that are held until all has ended, and until the hooks have ended. Any other
    /// call of a hook, such as one of [`ToolCall::new`], waits for a permit of its own.
    ///
    /// # Errors
    /// [`ToolError::TooDeep`] as for [`CallContext::child`].
    ///
    /// ```
    /// use serde_json::json;
    /// use toolbooth_core::{Outcome, ToolCall};
    ///
    /// # #[tokio::main(flavor = "current_thread")] async fn main() {
    /// let call = ToolCall::new("transfer", json!({ "cents": 500 })).with_tenant("acme");
    /// call.context().on_cleanup_with(|end| async move {
    ///     if end.outcome() != Outcome::Completed {
    ///         let rollback = end.child("rollback", json!(null)).expect("not nested that deep");
    ///         assert_eq!(rollback.context().tenant(), Some("acme"));
    ///         // .. make the call `rollback` ..
    ///     }
    /// });
    /// # }
    /// ```
    pub fn child<A>(&self, name: impl Into<Name>, args: A) -> Result<ToolCall<A>, ToolError> {
        let permits = self.permits.as_deref().cloned();
        let parent = Parent::of_hook(&self.call, permits);
        let child = CallContext::new_nested(&self.call, parent, name.into())?;
        Ok(ToolCall::of(child, args))
    }
}
