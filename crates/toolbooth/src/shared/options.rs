use std::fmt;
use std::time::Duration;

use toolbooth_core::EventSink;

use crate::middleware::LayerEvents;

/// What holds for a shared limit while its store does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum WhenAway {
    /// Each process has its share: the limit divided by the processes that were last seen, and at
    /// least 1. One that has ended counts for a lease. This is the default.
    ///
    /// A call that costs more than the share starts when nothing of it is used, if the limit allows
    /// the call at all.
    ///
    /// The limit is exceeded if there are more processes than it has permits or tokens, if some
    /// still reach the store, and by calls that started before the store was lost.
    #[default]
    Local,
    /// Calls are rejected as `Overloaded`. A call that holds permits is cancelled before the lease
    /// of its process ends. The limit is never exceeded.
    Closed,
    /// There is no limit. Calls that hold permits go on.
    Open,
}

/// The settings of a [`SharedStore`](super::SharedStore).
#[derive(Debug, Clone)]
pub struct SharedOptions {
    pub(crate) when_away: WhenAway,
    pub(crate) lease: Duration,
    pub(super) command_timeout: Duration,
    pub(super) events: LayerEvents,
}

/// The shortest lease: a third of it must suffice for several commands.
const MIN_LEASE: Duration = Duration::from_millis(300);

// === impl WhenAway ===

impl WhenAway {
    /// Returns the stable name: `local`, `closed` or `open`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Closed => "closed",
            Self::Open => "open",
        }
    }
}

impl fmt::Display for WhenAway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

// === impl SharedOptions ===

impl SharedOptions {
    /// Creates the default settings.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            when_away: WhenAway::Local,
            lease: Duration::from_secs(10),
            command_timeout: Duration::from_millis(50),
            events: LayerEvents::none(),
        }
    }

    /// Sets what holds while the store does not answer: [`WhenAway::Local`] by default.
    #[must_use]
    pub const fn with_when_away(mut self, when_away: WhenAway) -> Self {
        self.when_away = when_away;
        self
    }

    /// Sets how long a process keeps its permits without renewing them: 10 seconds by default, and
    /// 300 milliseconds at least.
    ///
    /// It renews them every third of this time. All permits of a process that dies are free after
    /// this time.
    #[must_use]
    pub fn with_lease(mut self, lease: Duration) -> Self {
        self.lease = lease.max(MIN_LEASE);
        self
    }

    /// Sets how long a reply of the store may take: 50 milliseconds by default, and a ninth of the
    /// lease at most.
    ///
    /// After three commands in a row without a reply in time, the store counts as away. A probe
    /// finds it again.
    #[must_use]
    pub const fn with_command_timeout(mut self, timeout: Duration) -> Self {
        self.command_timeout = timeout;
        self
    }

    /// Delivers an event to `sink` when the store is lost, and when it is found again:
    /// [`LimitChanged`](crate::EventKind::LimitChanged) of the layer `store`.
    #[must_use]
    pub fn with_events(mut self, sink: impl EventSink) -> Self {
        self.events.add(sink);
        self
    }

    pub(crate) fn reply_within(&self) -> Duration {
        self.command_timeout.min(self.lease / 9)
    }
}

impl Default for SharedOptions {
    fn default() -> Self {
        Self::new()
    }
}
