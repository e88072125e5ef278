use std::sync::Arc;
use std::time::Duration;

use toolbooth_core::{EventKind, LayerName, LimitChange};
use tower_layer::Layer;

use super::Timeout;
use super::limits::Settings;
use crate::Name;
use crate::middleware::{ConfigError, LayerEvents, PerTool, layer_name, limit_events};

/// Limits how long a call may take. See the [module](super).
///
/// The `with_*` methods configure this value alone: a clone made before keeps its settings. The
/// `set_*` methods change a live limit, for all clones and for the services made from them.
#[derive(Debug, Clone)]
pub struct TimeoutLayer {
    settings: Arc<Settings>,
    name: LayerName,
    events: LayerEvents,
}

// === impl TimeoutLayer ===

impl TimeoutLayer {
    /// Limits the whole call: waits, the tool, and a streaming response to its last byte.
    ///
    /// One limit for all tools, or limits by tool. `None` or [`Duration::MAX`] is no limit.
    /// [`Duration::ZERO`] lets pass only a response that is ready at the first poll.
    #[must_use]
    pub fn new(limits: impl Into<PerTool<Duration>>) -> Self {
        Self {
            settings: Arc::new(Settings::new(limits.into())),
            name: LayerName::new("timeout"),
            events: LayerEvents::none(),
        }
    }

    /// As [`new`](Self::new), for limits from a configuration.
    ///
    /// # Errors
    /// [`ConfigError::EndlessTimeout`] for [`Duration::MAX`], which is likely a mistake.
    pub fn try_new(limits: impl Into<PerTool<Duration>>) -> Result<Self, ConfigError> {
        let limits = limits.into();
        if limits.values().any(|limit| *limit == Duration::MAX) {
            return Err(ConfigError::EndlessTimeout(Duration::MAX));
        }
        Ok(Self::new(limits))
    }

    /// Creates a layer without a limit of its own on the whole call.
    ///
    /// A call's own [`with_timeout`](crate::ToolCall::with_timeout) and
    /// [`with_deadline`](crate::ToolCall::with_deadline) are still enforced.
    #[must_use]
    pub fn unlimited() -> Self {
        Self::new(PerTool::none())
    }

    /// Limits the time that a call may go without activity.
    ///
    /// Activity is a [heartbeat](crate::CallContext::heartbeat), a report of
    /// [progress](crate::CallContext::progress), an [emitted](crate::CallContext::emit) item, a
    /// [snapshot](crate::CallContext::snapshot), and an item of a streaming response. One limit
    /// for all tools, or limits by tool; `None`, the default, or [`Duration::MAX`] is no limit.
    #[must_use]
    pub fn with_idle(self, limits: impl Into<PerTool<Duration>>) -> Self {
        let limits = limits.into();
        self.with(|settings| settings.idle = limits)
    }

    /// Limits the time until the first item of the result.
    ///
    /// The first item is an emitted item, a snapshot, an item of a streaming response, or the
    /// whole response. Until then the idle limit does not apply. One limit for all tools, or
    /// limits by tool; `None`, the default, or [`Duration::MAX`] is no limit.
    #[must_use]
    pub fn with_first_item(self, limits: impl Into<PerTool<Duration>>) -> Self {
        let limits = limits.into();
        self.with(|settings| settings.first_item = limits)
    }

    /// Sets the grace period: the time after a limit in which the tool may finish by itself. Zero
    /// by default.
    ///
    /// When the limit expires, the call's context is cancelled, and the call has timed out. A
    /// buffered response that the tool returns in the grace period is the partial result of that
    /// error; an error of the tool is its source. A streaming response ends at the limit.
    ///
    /// The period never exceeds the caller's deadline or an outer limit on the whole call. During
    /// the period, permits acquired inside are still in use.
    #[must_use]
    pub fn with_grace(self, grace: Duration) -> Self {
        self.with(|settings| settings.grace = grace)
    }

    /// Changes the limit on the whole call, for all tools without a limit of their own. `None` is
    /// no limit.
    ///
    /// It applies to calls that start from now on, of all clones of this value. Calls that run
    /// keep their limit.
    ///
    /// ```
    /// use std::time::Duration;
    /// use toolbooth::{PerTool, TimeoutLayer};
    ///
    /// let limits = PerTool::new(Duration::from_secs(5)).with("file", Duration::from_secs(30));
    /// let timeout = TimeoutLayer::new(limits);
    /// timeout.set_limit(Duration::from_secs(2));
    /// timeout.set_limit_for("file", None);
    /// ```
    pub fn set_limit(&self, limit: impl Into<Option<Duration>>) {
        let limit = limit.into();
        self.settings.set_limit(limit);
        self.report(None, limit);
    }

    /// Changes the limit on whole calls of one tool, as [`set_limit`](Self::set_limit) does for
    /// the other tools.
    pub fn set_limit_for(&self, tool: impl Into<Name>, limit: impl Into<Option<Duration>>) {
        let (tool, limit) = (tool.into(), limit.into());
        self.settings.set_limit_for(tool.clone(), limit);
        self.report(Some(tool), limit);
    }

    /// Reports a limit that was set.
    fn report(&self, tool: Option<Name>, limit: Option<Duration>) {
        self.events.report(|| {
            let limit = limit.filter(|limit| *limit != Duration::MAX);
            EventKind::LimitChanged {
                layer: self.name.clone(),
                change: LimitChange::Set {
                    key: tool,
                    limit: limit.map(|limit| format!("{limit:?}").into()),
                },
            }
        });
    }

    fn with(mut self, set: impl FnOnce(&mut Settings)) -> Self {
        set(Arc::make_mut(&mut self.settings));
        self
    }
}

layer_name!(TimeoutLayer, name, "timeout");
limit_events!(TimeoutLayer, events);

impl<S> Layer<S> for TimeoutLayer {
    type Service = Timeout<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Timeout::new(inner, Arc::clone(&self.settings), self.name.clone())
    }
}
