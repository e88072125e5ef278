use std::sync::Arc;

use super::{Source, ToolError};
use crate::call::{CallContext, Name};
use crate::response::Partial;

/// Whose call an error ended, and what that call had produced by then.
///
/// The layers fill it in; an error that a tool made itself has an empty one until it passes the first layer.
#[derive(Debug, Clone, Default)]
pub struct Origin(Option<Arc<Stamp>>);

#[derive(Debug, Clone)]
struct Stamp {
    call: Option<Call>,
    partial: Option<Arc<Partial>>,
}

#[derive(Debug, Clone)]
struct Call {
    /// Told apart by this, since callers may give two calls the same id.
    serial: u64,
    id: Name,
    tool: Name,
}

// === impl Origin ===

impl Origin {
    fn call(&self) -> Option<&Call> {
        self.0.as_ref()?.call.as_ref()
    }

    fn partial(&self) -> Option<&Arc<Partial>> {
        self.0.as_ref()?.partial.as_ref()
    }

    fn stamp(&mut self) -> &mut Stamp {
        Arc::make_mut(self.0.get_or_insert_with(|| {
            Arc::new(Stamp {
                call: None,
                partial: None,
            })
        }))
    }
}

// === impl ToolError ===

impl ToolError {
    /// What the call had produced before it was cut short; `None` if nothing.
    #[must_use]
    pub fn partial(&self) -> Option<&Partial> {
        self.origin().partial().map(|partial| &**partial)
    }

    /// Takes the partial result out of the error, without copying it where the error is its only holder.
    #[must_use]
    pub fn into_partial(self) -> Option<Partial> {
        let origin = self.into_origin();
        let stamp = Arc::unwrap_or_clone(origin.0?);
        stamp.partial.map(Arc::unwrap_or_clone)
    }

    /// The tool whose call it was, once the error has passed a layer.
    #[must_use]
    pub fn tool(&self) -> Option<&str> {
        self.origin().call().map(|call| call.tool.as_str())
    }

    /// The id of the call, once the error has passed a layer.
    #[must_use]
    pub fn call_id(&self) -> Option<&str> {
        self.origin().call().map(|call| call.id.as_str())
    }

    pub(crate) fn shared_partial(&self) -> Option<&Arc<Partial>> {
        self.origin().partial()
    }

    pub(crate) fn set_partial(&mut self, partial: Option<Arc<Partial>>) {
        if partial.is_some() || self.origin().partial().is_some() {
            self.origin_mut().stamp().partial = partial;
        }
    }

    /// Makes the error one of `context`'s call: marks it if it is nobody's yet, and turns the error
    /// of another call, forwarded by this one's tool, into a failure of this tool.
    pub(crate) fn adopt(&mut self, context: &CallContext) {
        match self.origin().call().map(|call| call.serial) {
            Some(serial) if serial == context.serial() => return,
            Some(_) => {
                let foreign = std::mem::replace(self, Self::unknown_tool(""));
                *self = Self::Tool {
                    source: Source::of(foreign),
                    retryable: false,
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
        self.origin_mut().stamp().call = Some(Call {
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
            | Self::TooDeep { origin, .. }
            | Self::Tool { origin, .. } => origin,
        }
    }

    fn into_origin(mut self) -> Origin {
        std::mem::take(self.origin_mut())
    }
}
