//! The store of limits that several gateways share.

use std::time::Duration;

use serde::Deserialize;
use toolbooth::policy::{PolicyError, Setting};
use toolbooth::shared::{SharedOptions, WhenAway};

use super::Secret;
use super::file::Reader;
use super::secret::Template;

/// Where the limits of tools and tenants are, if several gateways share them.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Limits {
    /// The URL of the Redis or Valkey server.
    pub url: Secret,
    /// What the names of the limits begin with: `booth` by default. Gateways share the limits of
    /// one name.
    pub name: String,
    /// What holds while the server does not respond: `local` by default.
    pub when_away: WhenAway,
    /// How long the permits of a gateway that has died are kept: 10 s by default.
    pub lease: Duration,
    /// How long a reply of the server may take: 50 ms by default.
    pub command_timeout: Duration,
}

/// The table `[limits]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table of shared limits")]
pub(super) struct LimitsTable {
    url: Template,
    name: Option<String>,
    when_away: Option<Away>,
    #[serde(default)]
    lease: Setting<Duration>,
    #[serde(default)]
    command_timeout: Setting<Duration>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Away {
    Local,
    Closed,
    Open,
}

// === impl Limits ===

impl Limits {
    /// Returns the settings of the store.
    pub(crate) fn options(&self) -> SharedOptions {
        SharedOptions::new()
            .with_when_away(self.when_away)
            .with_lease(self.lease)
            .with_command_timeout(self.command_timeout)
    }
}

// === impl LimitsTable ===

impl LimitsTable {
    pub(super) fn read(self, reader: &Reader<'_>) -> Result<Limits, PolicyError> {
        let keys = &["limits"];
        let lease = reader.duration(keys, "lease", &self.lease, Duration::from_secs(10))?;
        if lease < Duration::from_millis(300) {
            return Err(reader.fault(keys, "lease", "it must be 300ms or more"));
        }
        Ok(Limits {
            url: reader.text(keys, "url", &self.url)?,
            name: self.name.unwrap_or_else(|| "booth".to_owned()),
            when_away: match self.when_away.unwrap_or(Away::Local) {
                Away::Local => WhenAway::Local,
                Away::Closed => WhenAway::Closed,
                Away::Open => WhenAway::Open,
            },
            lease,
            command_timeout: reader.duration(
                keys,
                "command_timeout",
                &self.command_timeout,
                Duration::from_millis(50),
            )?,
        })
    }
}
