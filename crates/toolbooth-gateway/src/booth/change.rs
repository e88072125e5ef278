use std::collections::BTreeMap;
use std::fmt;

use toolbooth::policy::PolicyChange;

/// What [`Booth::apply`](super::Booth::apply) changed.
///
/// `Display` shows a line for each change: `server github: added`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct BoothChange {
    /// The servers, by name.
    pub upstreams: BTreeMap<String, EntryChange>,
    /// The commands, by name.
    pub tools: BTreeMap<String, EntryChange>,
    /// The limits of tools that are there.
    pub policies: PolicyChange,
}

/// What happened to an entry of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EntryChange {
    /// It is new.
    Added,
    /// It has other settings.
    Changed,
    /// It is gone.
    Removed,
}

// === impl BoothChange ===

impl BoothChange {
    /// Returns whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.upstreams.is_empty() && self.tools.is_empty() && self.policies.is_empty()
    }
}

impl fmt::Display for BoothChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing changed");
        }
        let servers = self
            .upstreams
            .iter()
            .map(|(name, change)| ("server", name, change));
        let commands = self
            .tools
            .iter()
            .map(|(name, change)| ("command", name, change));
        let mut separator = "";
        for (what, name, change) in servers.chain(commands) {
            write!(f, "{separator}{what} {name}: {change}")?;
            separator = "\n";
        }
        match self.policies.is_empty() {
            true => Ok(()),
            false => write!(f, "{separator}{}", self.policies),
        }
    }
}

// === impl EntryChange ===

impl fmt::Display for EntryChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Added => "added",
            Self::Changed => "changed",
            Self::Removed => "removed",
        })
    }
}

/// Compares the entries of two tables.
pub(super) fn between<T: PartialEq>(
    before: &BTreeMap<String, T>,
    after: &BTreeMap<String, T>,
) -> BTreeMap<String, EntryChange> {
    let gone = before.keys().filter(|name| !after.contains_key(*name));
    let gone = gone.map(|name| (name.clone(), EntryChange::Removed));
    let come = after
        .iter()
        .filter_map(|(name, entry)| match before.get(name) {
            None => Some((name.clone(), EntryChange::Added)),
            Some(former) if former != entry => Some((name.clone(), EntryChange::Changed)),
            Some(_) => None,
        });
    gone.chain(come).collect()
}
