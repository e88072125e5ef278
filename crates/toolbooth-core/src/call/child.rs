//! Calls that a call makes.

use std::sync::Arc;

use super::attempt::{Attempt, Link};
use super::canceller::Signal;
use super::clock::Moment;
use super::kept::WeakPermits;
use super::settings::Settings;
use super::{CallContext, Name, ToolCall};
use crate::error::ToolError;

/// How deep calls may be nested by default.
pub const DEFAULT_MAX_DEPTH: u32 = 5;

/// The call that made a call.
#[derive(Debug, Clone)]
pub(super) struct Parent {
    /// The layers that the call is inside of: those of the nearest call above that has entered one.
    /// A call without layers ends with its last handle, so its children must not hold one.
    pub(super) inside: Option<Link>,
    /// The permits that a hook keeps, for a call that a hook made.
    pub(super) permits: Option<WeakPermits>,
    /// How many calls are above.
    level: u32,
    /// When the parent call expires.
    pub(super) cap: Option<Moment>,
}

// === impl Parent ===

impl Parent {
    /// Returns the parent of the calls that a cleanup hook makes, after the end of its call.
    pub(super) fn of_hook(call: &Settings, permits: Option<WeakPermits>) -> Self {
        Self {
            inside: None,
            permits,
            level: call.parent().map_or(0, |parent| parent.level) + 1,
            cap: None,
        }
    }
}

// === impl CallContext ===

impl CallContext {
    /// Creates a call that this one makes: of the tool `name`, with an id of its own.
    ///
    /// The child call ends with this call at the latest. When this call is cancelled or ends in
    /// any other way, the child is cancelled with
    /// [`CancelReason::Parent`](crate::CancelReason::Parent). When this call expires is a deadline
    /// for it. The child's own end does not touch this call. It inherits the tenant, the priority
    /// and the extensions, but not the timeout or the idempotency hint.
    ///
    /// The child needs no permit of a concurrency limit of which this call, or one above, holds
    /// one. That permit covers everything that the call makes. So a tool that calls through the
    /// limit that it runs under does not wait for itself.
    ///
    /// An error of the child that a tool returns with `?` is a failure of that tool:
    /// [`ToolError::Tool`] with the error as its source.
    ///
    /// # Errors
    /// [`ToolError::TooDeep`] if more than 5 calls are above, or more than
    /// [`with_max_depth`](ToolCall::with_max_depth) allows.
    ///
    /// ```
    /// use serde_json::json;
    /// use toolbooth_core::{CallContext, ToolCall, ToolError, ToolOutput};
    /// use tower::{Service, ServiceExt};
    ///
    /// async fn both<S>(call: CallContext, search: S) -> Result<String, ToolError>
    /// where
    ///     S: Service<ToolCall, Response = ToolOutput, Error = ToolError> + Clone,
    /// {
    ///     let mut found = String::new();
    ///     for pattern in ["TODO", "FIXME"] {
    ///         let nested = call.child("search", json!({ "pattern": pattern }))?;
    ///         let output = search.clone().oneshot(nested).await?;
    ///         found += &output.collect().await?.text();
    ///     }
    ///     Ok(found)
    /// }
    /// # let _ = both::<tower::util::BoxCloneService<ToolCall, ToolOutput, ToolError>>;
    /// ```
    pub fn child<A>(&self, name: impl Into<Name>, args: A) -> Result<ToolCall<A>, ToolError> {
        let attempt = self.attempt_state();
        let above = self.settings().parent();
        let parent = Parent {
            inside: Attempt::inside(attempt).or_else(|| above?.inside.clone()),
            permits: above.and_then(|above| above.permits.clone()),
            level: 1 + above.map_or(0, |parent| parent.level),
            cap: attempt.bound().map(|bound| bound.at()),
        };
        let mut child = Self::new_nested(self.settings(), parent, name.into())?;
        child.configure(|settings| settings.inherit_provided(attempt.all_provided()));
        let signal = Signal::new(attempt.scope(u32::MAX).child_token(), true);
        signal.arm(0);
        child.attempt_state().set_signal(Arc::new(signal));
        child.attempt_state().inherit_listeners(attempt, false);
        Ok(ToolCall::of(child, args))
    }

    /// Creates a call that a call with these settings makes, unless that is too deep.
    pub(super) fn new_nested(
        caller: &Settings,
        parent: Parent,
        name: Name,
    ) -> Result<Self, ToolError> {
        let level = parent.level;
        let settings = caller.child(name, parent);
        let max_depth = settings.rare().and_then(|rare| rare.max_depth);
        let max_depth = max_depth.unwrap_or(DEFAULT_MAX_DEPTH);
        match level > max_depth {
            true => {
                let mut error = ToolError::too_deep(max_depth);
                error.adopt(&Self::with_settings(settings), false);
                Err(error)
            }
            false => Ok(Self::with_settings(settings)),
        }
    }
}
