//! Whether clients should send calls.

use std::sync::{Arc, OnceLock};

use serde_json::{Value, json};
use toolbooth::ShutdownLayer;

use crate::booth::{Booth, BoothStatus};

/// Whether the process starts, serves or drains.
#[derive(Debug)]
pub(crate) struct Readiness {
    shutdown: ShutdownLayer,
    booth: OnceLock<Booth>,
}

/// A phase of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Servers are being connected, and none is yet.
    Starting,
    Serving,
    /// New calls are rejected.
    Draining,
}

// === impl Readiness ===

impl Readiness {
    pub(crate) fn new(shutdown: ShutdownLayer) -> Arc<Self> {
        Arc::new(Self {
            shutdown,
            booth: OnceLock::new(),
        })
    }

    /// Reports that the servers are being connected.
    pub(crate) fn opened(&self, booth: Booth) {
        if self.booth.set(booth).is_err() {
            tracing::debug!("the booth was opened twice");
        }
    }

    fn phase(&self, status: Option<&BoothStatus>) -> Phase {
        match (self.shutdown.is_shutting_down(), status) {
            (true, _) => Phase::Draining,
            (false, Some(status)) if !status.is_starting() => Phase::Serving,
            (false, _) => Phase::Starting,
        }
    }

    /// Returns whether calls can succeed, and the details.
    pub(crate) fn report(&self) -> (bool, Value) {
        let status = self.booth.get().map(Booth::status);
        let phase = self.phase(status.as_ref());
        let is_ready =
            phase == Phase::Serving && status.as_ref().is_some_and(BoothStatus::is_ready);
        let json = json!({
            "ready": is_ready,
            "phase": phase.as_str(),
            "in_flight": self.shutdown.in_flight(),
            "booth": status,
        });
        (is_ready, json)
    }
}

// === impl Phase ===

impl Phase {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Serving => "serving",
            Self::Draining => "draining",
        }
    }
}
