use std::time::Duration;

/// The settings of a [`RedisStore`](crate::RedisStore).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RedisOptions {
    pub(crate) prefix: String,
    pub(crate) timeout: Duration,
}

// === impl RedisOptions ===

impl RedisOptions {
    /// Creates the default settings.
    #[must_use]
    pub fn new() -> Self {
        Self {
            prefix: "toolbooth".to_owned(),
            timeout: Duration::from_secs(1),
        }
    }

    /// Sets what the names of all keys and channels begin with: `toolbooth` by default.
    ///
    /// Processes share the limits of one prefix.
    #[must_use]
    pub fn with_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets how long to wait for a connection, and at most for a reply: 1 second by default.
    ///
    /// The limits themselves wait for a reply as long as
    /// [`SharedOptions::with_command_timeout`](toolbooth::shared::SharedOptions::with_command_timeout)
    /// allows.
    #[must_use]
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }
}

impl Default for RedisOptions {
    fn default() -> Self {
        Self::new()
    }
}
