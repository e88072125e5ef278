use std::fmt;
use std::time::Duration;

use triomphe::Arc;

use super::{LayerName, Source, ToolError};
use crate::call::{CallContext, Name};
use crate::response::Partial;

/// The call of an error, and the partial result of that call.
///
/// The layers fill it in. It is empty in an error that a tool made, until the first layer receives
/// the error.
#[derive(Clone, Default)]
pub struct Origin(Option<Arc<Stamp>>);

#[derive(Clone, Default)]
struct Stamp {
    call: Option<Call>,
    /// Whether the tool had been called. Set together with `call`.
    started: bool,
    /// The layer that made the error.
    layer: Option<LayerName>,
    /// The limit by which that layer rejected the call.
    limit: Option<Name>,
    /// Where the call waited when it ended.
    waited: Option<Waited>,
    /// The time from the expiry of the limit to the error.
    overshoot: Option<Duration>,
    partial: Option<Arc<Partial>>,
}

/// Where a call waited when it ended early.
#[derive(Debug, Clone)]
pub(crate) enum Waited {
    /// In the queue of this layer.
    Queue(LayerName),
    /// For this attempt, by this retry policy.
    Attempt(u32, LayerName),
}

#[derive(Clone)]
struct Call {
    /// Identifies the call: two calls may have the same id.
    serial: u64,
    id: Name,
    tool: Name,
}

// === impl Origin ===

impl Origin {
    fn call(&self) -> Option<&Call> {
        self.0.as_ref()?.call.as_ref()
    }

    pub(super) fn layer(&self) -> Option<&LayerName> {
        self.0.as_ref()?.layer.as_ref()
    }

    pub(super) fn limit(&self) -> Option<&Name> {
        self.0.as_ref()?.limit.as_ref()
    }

    pub(super) fn waited(&self) -> Option<&Waited> {
        self.0.as_ref()?.waited.as_ref()
    }

    fn partial(&self) -> Option<&Arc<Partial>> {
        self.0.as_ref()?.partial.as_ref()
    }

    fn stamp(&mut self) -> &mut Stamp {
        Arc::make_mut(self.0.get_or_insert_default())
    }
}

/// Shows nothing of the partial result.
impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origin").finish_non_exhaustive()
    }
}

// === impl ToolError ===

impl ToolError {
    /// Returns the partial result of the call, or `None` if there is none.
    #[must_use]
    pub fn partial(&self) -> Option<&Partial> {
        self.origin().partial().map(|partial| &**partial)
    }

    /// Returns the partial result by value. It is copied only if a clone of the error shares it.
    #[must_use]
    pub fn into_partial(self) -> Option<Partial> {
        let origin = self.into_origin();
        let stamp = Arc::unwrap_or_clone(origin.0?);
        stamp.partial.map(Arc::unwrap_or_clone)
    }

    /// Returns the name of the tool, once a layer has received the error.
    #[must_use]
    pub fn tool(&self) -> Option<&str> {
        self.origin().call().map(|call| call.tool.as_str())
    }

    /// Returns the id of the call, once a layer has received the error.
    #[must_use]
    pub fn call_id(&self) -> Option<&str> {
        self.origin().call().map(|call| call.id.as_str())
    }

    /// Returns whether the tool had been called, by any attempt of the call.
    ///
    /// False only if layers of toolbooth held every attempt back, in a queue or by a rejection, or
    /// if the tool's adapter rejected its arguments, as `tool_fn` does. A call that is inside of
    /// another crate's layer counts as started. So does a rejection that the tool itself returned.
    ///
    /// If false, the call had no effects, and repeating it is safe. Before a layer receives the
    /// error, the kind decides: false for rejections and for invalid arguments.
    #[must_use]
    pub fn started(&self) -> bool {
        match &self.origin().0 {
            Some(stamp) if stamp.call.is_some() || stamp.started => stamp.started,
            _ => !matches!(
                self,
                Self::RateLimited { .. }
                    | Self::Overloaded { .. }
                    | Self::CircuitOpen { .. }
                    | Self::InvalidArguments { .. }
                    | Self::UnknownTool { .. }
                    | Self::Denied { .. }
                    | Self::TooDeep { .. }
            ),
        }
    }

    /// Returns the name of the layer that made the error, or `None` for an error of the tool or of
    /// another crate's layer.
    ///
    /// Of a timeout it is the layer whose limit expired. Of the caller's deadline it is the layer
    /// that enforced it.
    #[must_use]
    pub fn layer(&self) -> Option<&str> {
        self.origin().layer().map(LayerName::as_str)
    }

    /// Returns the name and the kind of the layer that made the error.
    #[must_use]
    pub fn layer_name(&self) -> Option<&LayerName> {
        self.origin().layer()
    }

    /// Returns the kind of the layer that made the error, such as `timeout`: stable and of low
    /// cardinality.
    #[must_use]
    pub fn layer_kind(&self) -> Option<&'static str> {
        self.origin().layer().map(LayerName::kind)
    }

    /// Returns the limit by which a concurrency or rate limit rejected the call, as text: such as
    /// `3 at once`, or `a token every 100ms, burst of 10`. `None` for other errors.
    #[must_use]
    pub fn limit(&self) -> Option<&str> {
        self.origin().limit().map(Name::as_str)
    }

    /// Returns the name of the limit in whose queue the call waited when it timed out, or `None`
    /// if it waited in none.
    #[must_use]
    pub fn queue(&self) -> Option<&str> {
        match self.origin().waited()? {
            Waited::Queue(layer) => Some(layer.as_str()),
            Waited::Attempt(..) => None,
        }
    }

    /// Returns how long after the expiry of its limit a timeout ended the call: a grace period, and
    /// the delay of the timer. `None` for other errors, and if the limit is not known.
    #[must_use]
    pub fn overshoot(&self) -> Option<Duration> {
        self.origin().0.as_ref()?.overshoot
    }

    /// Sets how long after the expiry of its limit a timeout ended the call. Errors of other kinds
    /// stay unchanged. For authors of layers.
    #[must_use]
    pub fn with_overshoot(mut self, overshoot: Duration) -> Self {
        if let Self::Timeout { origin, .. } = &mut self {
            origin.stamp().overshoot = Some(overshoot);
        }
        self
    }

    /// Sets the layer that made the error, for authors of layers.
    #[must_use]
    pub fn with_layer(mut self, layer: &LayerName) -> Self {
        self.set_layer(layer);
        self
    }

    /// Sets the layer that made the error, unless the error has a layer. For authors of layers.
    pub fn set_layer(&mut self, layer: &LayerName) {
        if self.origin().layer().is_none() {
            self.origin_mut().stamp().layer = Some(layer.clone());
        }
    }

    /// Sets the limit of a rejection as text. Errors of other kinds stay unchanged. For authors of
    /// layers.
    #[must_use]
    pub fn with_limit(mut self, limit: impl Into<Name>) -> Self {
        if let Self::RateLimited { origin, .. } | Self::Overloaded { origin, .. } = &mut self {
            origin.stamp().limit = Some(limit.into());
        }
        self
    }

    /// Sets the layer in whose queue the call waited, for authors of layers.
    #[must_use]
    pub fn with_queue(mut self, layer: &LayerName) -> Self {
        self.set_waited(Waited::Queue(layer.clone()));
        self
    }

    pub(crate) fn set_waited(&mut self, waited: Waited) {
        self.origin_mut().stamp().waited = Some(waited);
    }

    /// Assigns the error to a call, unless it has a call already. For authors of adapters that
    /// reject a call before any layer receives it.
    ///
    /// The error of another call becomes the source of a failure of this call's tool.
    ///
    /// ```
    /// use toolbooth_core::{ToolCall, ToolError};
    ///
    /// let call = ToolCall::new("search", serde_json::json!(null)).with_id("call_8fj2");
    /// let error = ToolError::invalid_arguments(".", "not JSON").with_call(call.context());
    /// assert_eq!((error.tool(), error.call_id()), (Some("search"), Some("call_8fj2")));
    /// assert!(!error.started());
    /// ```
    #[must_use]
    pub fn with_call(mut self, context: &CallContext) -> Self {
        let started = self.started();
        self.adopt(context, started);
        self
    }

    /// Records that this attempt of the call, or an earlier one, had called the tool. For authors
    /// of retry policies.
    #[must_use]
    pub fn with_started(mut self) -> Self {
        if !self.started() {
            self.origin_mut().stamp().started = true;
        }
        self
    }

    pub(crate) fn shared_partial(&self) -> Option<&Arc<Partial>> {
        self.origin().partial()
    }

    pub(crate) fn set_partial(&mut self, partial: Option<Arc<Partial>>) {
        if partial.is_some() || self.origin().partial().is_some() {
            self.origin_mut().stamp().partial = partial;
        }
    }

    /// Assigns the error to the call of `context`, unless it has a call already.
    ///
    /// The error of another call, which the tool of this one returned, becomes the source of a
    /// failure of this tool. `started`: layers inside have not held every attempt back.
    pub(crate) fn adopt(&mut self, context: &CallContext, started: bool) {
        match self.origin().call().map(|call| call.serial) {
            Some(serial) if serial == context.serial() => {
                // An earlier attempt may have reached the tool.
                if started && !self.started() {
                    self.origin_mut().stamp().started = true;
                }
                return;
            }
            Some(_) => {
                let foreign = std::mem::replace(self, Self::unknown_tool(""));
                let outage = !matches!(foreign, Self::Tool { outage: false, .. });
                *self = Self::Tool {
                    source: Source::of(foreign),
                    retryable: false,
                    outage,
                    retry_after: None,
                    origin: Origin::default(),
                };
            }
            None => {}
        }
        if let Self::Timeout {
            scope: super::TimeoutScope::Foreign,
            limit,
            elapsed,
            ..
        } = self
        {
            *elapsed = context.elapsed();
            *limit = *elapsed;
        }
        let stamp = self.origin_mut().stamp();
        stamp.started |= started;
        stamp.call = Some(Call {
            serial: context.serial(),
            id: context.id(),
            tool: context.tool_name().clone(),
        });
    }

    const fn origin(&self) -> &Origin {
        match self {
            Self::Timeout { origin, .. }
            | Self::Cancelled { origin, .. }
            | Self::RateLimited { origin, .. }
            | Self::Overloaded { origin, .. }
            | Self::CircuitOpen { origin, .. }
            | Self::Panicked { origin, .. }
            | Self::InvalidArguments { origin, .. }
            | Self::UnknownTool { origin, .. }
            | Self::Denied { origin, .. }
            | Self::TooDeep { origin, .. }
            | Self::Tool { origin, .. } => origin,
        }
    }

    const fn origin_mut(&mut self) -> &mut Origin {
        match self {
            Self::Timeout { origin, .. }
            | Self::Cancelled { origin, .. }
            | Self::RateLimited { origin, .. }
            | Self::Overloaded { origin, .. }
            | Self::CircuitOpen { origin, .. }
            | Self::Panicked { origin, .. }
            | Self::InvalidArguments { origin, .. }
            | Self::UnknownTool { origin, .. }
            | Self::Denied { origin, .. }
            | Self::TooDeep { origin, .. }
            | Self::Tool { origin, .. } => origin,
        }
    }

    fn into_origin(mut self) -> Origin {
        std::mem::take(self.origin_mut())
    }
}
