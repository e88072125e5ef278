use serde::Serialize;

/// The state of a booth. It has no secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct BoothStatus {
    /// The number of tools.
    pub tools: usize,
    /// The servers, by name.
    pub upstreams: Vec<UpstreamStatus>,
}

/// The state of a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct UpstreamStatus {
    /// The name.
    pub name: String,
    /// What it is: the program, or the address without its path.
    pub server: String,
    /// Whether it is connected.
    pub state: UpstreamState,
    /// How many of its tools are offered.
    pub tools: usize,
    /// How often it was connected again.
    pub restarts: u64,
    /// The last error, without what the server has written.
    pub last_error: Option<String>,
    /// The last error with all its causes, for the operator alone: it may quote the server.
    #[serde(skip)]
    pub details: Option<String>,
}

/// Whether a server is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum UpstreamState {
    /// The first attempt has not ended.
    Connecting,
    /// It is connected.
    Connected,
    /// It is away, and connected again when it is back.
    Down,
}

// === impl BoothStatus ===

impl BoothStatus {
    /// Returns whether calls can succeed: whether a server is connected, or there are only
    /// commands.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        let mut all = self.upstreams.iter();
        self.upstreams.is_empty() || all.any(|server| server.state == UpstreamState::Connected)
    }

    /// Returns whether calls cannot succeed yet: a server is being connected, and none is.
    #[must_use]
    pub fn is_starting(&self) -> bool {
        let mut all = self.upstreams.iter();
        !self.is_ready() && all.any(|server| server.state == UpstreamState::Connecting)
    }
}

// === impl UpstreamStatus ===

impl UpstreamStatus {
    /// The state of a server whose first attempt has not ended.
    pub(super) fn new(name: &str, server: &str) -> Self {
        Self {
            name: name.to_owned(),
            server: server.to_owned(),
            state: UpstreamState::Connecting,
            tools: 0,
            restarts: 0,
            last_error: None,
            details: None,
        }
    }
}
