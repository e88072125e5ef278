//! Calls that a call makes.

use std::sync::{Arc, Weak};

use super::attempt::Attempt;
use super::clock::Moment;
use super::settings::Settings;
use super::{CallContext, Name, ToolCall};
use crate::error::ToolError;

/// How deep calls may be nested where the call does not say otherwise.
pub const DEFAULT_MAX_DEPTH: u32 = 5;

/// From a call to the one that made it.
#[derive(Debug, Clone)]
pub(super) struct Parent {
    /// Does not keep it alive: it ends when it ends.
    pub(super) attempt: Weak<Attempt>,
    /// How many calls stand above.
    level: u32,
    /// When the parent is cut.
    pub(super) cap: Option<Moment>,
}

/// What a line is known by: alive, no two have the same.
pub(crate) fn address<L>(line: &Arc<L>) -> usize {
    Arc::as_ptr(line).addr()
}

// === impl Parent ===

impl Parent {
    /// Whether any call above holds a permit of the line.
    fn holds(&self, line: usize) -> bool {
        let mut above = self.attempt.upgrade();
        while let Some(attempt) = above {
            if attempt.holds(line) {
                return true;
            }
            let parent = attempt.settings.parent();
            above = parent.and_then(|parent| parent.attempt.upgrade());
        }
        false
    }
}

// === impl CallContext ===

impl CallContext {
    /// A call that this one makes: of the tool `name`, with an id of its own.
    ///
    /// It ends with this call at the latest: what cuts this call, or ends it in any other way, cancels it with [`CancelReason::Parent`](crate::CancelReason::Parent), and
    /// the moment at which this call is cut is a deadline for it. Its own end does not touch this call. It inherits the tenant, the
    /// priority and the extensions, but not the timeout or whether it is idempotent.
    ///
    /// Through a concurrency limit of which this call, or one above it, holds a permit, it needs none of its own: that permit is for all that the
    /// call makes, so that a tool which calls through the limit that it stands in does not wait for itself.
    ///
    /// An error of the nested call that a tool passes on with `?` is a failure of that tool: [`ToolError::Tool`] with the error as its source.
    ///
    /// # Errors
    /// [`ToolError::TooDeep`] where too many calls stand above: more than 5, or what [`with_max_depth`](ToolCall::with_max_depth) says.
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
        let (settings, max_depth) = self.nested(name.into());
        let level = settings.parent().map_or(0, |parent| parent.level);
        let child = Self::of(settings);
        if level > max_depth {
            let mut error = ToolError::too_deep(max_depth);
            error.adopt(&child);
            return Err(error);
        }
        self.attempt_state()
            .tell_at_end(&child.attempt_state().signal());
        child.attempt_state().listen_as_child(self.attempt_state());
        Ok(ToolCall::of(child, args))
    }

    fn nested(&self, tool: Name) -> (Settings, u32) {
        let attempt = self.attempt_state();
        let above = attempt.settings.more();
        let mut settings = Settings::new(tool);
        let more = settings.more_mut();
        if let Some(above) = above {
            more.inherit(above);
        }
        let level = above.and_then(|above| above.parent.as_ref());
        more.parent = Some(Parent {
            attempt: Arc::downgrade(attempt),
            level: 1 + level.map_or(0, |parent| parent.level),
            cap: self.bound().map(|bound| bound.at()),
        });
        let max_depth = more.max_depth.unwrap_or(DEFAULT_MAX_DEPTH);
        (settings, max_depth)
    }

    #[inline]
    pub(crate) fn inherits<L>(&self, line: &Arc<L>) -> bool {
        match self.attempt_state().settings.parent() {
            Some(parent) => parent.holds(address(line)),
            None => false,
        }
    }
}
