//! Applies a changed file.

mod watch;

use std::path::PathBuf;
use std::sync::Arc;

pub(crate) use self::watch::FileWatch;
use super::tenants::Tenants;
use crate::booth::Booth;
use crate::config::{Config, ConfigError};

/// The file, and what was last read from it.
#[derive(Debug)]
pub(crate) struct Reload {
    path: PathBuf,
    current: Config,
    /// The last error. It is reported once.
    error: Option<String>,
}

/// Why the file is read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    Signal,
    /// The file, or another one in its folder, has changed.
    Change,
}

// === impl Reload ===

impl Reload {
    pub(crate) const fn new(path: PathBuf, current: Config) -> Self {
        Self {
            path,
            current,
            error: None,
        }
    }

    /// Returns the times for a shutdown, as they are in the file now.
    pub(crate) const fn shutdown(&self) -> crate::config::Shutdown {
        self.current.shutdown
    }

    /// Reads the file, and applies what has changed. A file with a fault changes nothing.
    pub(crate) async fn reload(&mut self, cause: Cause, booth: &Booth, tenants: &Arc<Tenants>) {
        let next = match self.read().await {
            Ok(next) => next,
            Err(error) => return self.report(cause, &error),
        };
        self.error = None;
        if next == self.current {
            if cause == Cause::Signal {
                tracing::info!("the file has not changed");
            }
            return;
        }
        match booth.apply(next.clone()) {
            Ok(report) => {
                tenants.apply(&next.tenants);
                self.report_rest(&next);
                tracing::info!(%report, "the file was applied");
                self.current = next;
            }
            Err(error) => tracing::error!(%error, "the file was not applied: nothing changes"),
        }
    }

    async fn read(&self) -> Result<Config, String> {
        let path = self.path.clone();
        let read = tokio::task::spawn_blocking(move || Config::load(path));
        let read = read.await.map_err(|error| error.to_string())?;
        read.map_err(|error: ConfigError| error.to_string())
    }

    fn report(&mut self, cause: Cause, error: &str) {
        if cause == Cause::Change && self.error.as_deref() == Some(error) {
            return;
        }
        tracing::error!("the file is wrong, nothing changes: {error}");
        self.error = Some(error.to_owned());
    }

    /// Reports what applies with the next start only.
    fn report_rest(&self, next: &Config) {
        for (table, changed) in [
            ("listen", next.listen != self.current.listen),
            ("admin", next.admin != self.current.admin),
            ("log", next.log != self.current.log),
        ] {
            if changed {
                tracing::warn!(
                    table,
                    "this table applies when the program is started again"
                );
            }
        }
    }
}
