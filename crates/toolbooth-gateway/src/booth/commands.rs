//! The commands of a booth.

use std::collections::BTreeMap;

use toolbooth::toolbox::ResolvedTool;
use toolbooth::{ToolSpec, Toolbox};

use super::BoothError;
use super::change::EntryChange;
use crate::config::Config;

/// Commands that are ready to be tools.
pub(super) struct Commands(Vec<(ToolSpec, ResolvedTool, EntryChange)>);

// === impl Commands ===

impl Commands {
    /// Makes the commands that have changed.
    pub(super) fn new(
        config: &Config,
        changes: &BTreeMap<String, EntryChange>,
    ) -> Result<Self, BoothError> {
        let mut all = Vec::new();
        for (name, command) in &config.tools {
            let Some(change) = changes.get(name) else {
                continue;
            };
            let tool = command.tool(name).map_err(|source| BoothError::Command {
                tool: name.clone(),
                source,
            })?;
            all.push((command.spec(name), tool, *change));
        }
        Ok(Self(all))
    }

    /// Returns the tools, for a builder.
    pub(super) fn into_tools(self) -> impl Iterator<Item = (ToolSpec, ResolvedTool)> {
        self.0.into_iter().map(|(spec, tool, _)| (spec, tool))
    }

    /// Checks that no server offers a tool of the name of a new command.
    pub(super) fn check(&self, toolbox: &Toolbox) -> Result<(), BoothError> {
        let mut new = self
            .0
            .iter()
            .filter(|(.., change)| *change == EntryChange::Added);
        match new.find(|(spec, ..)| toolbox.contains(spec.name())) {
            Some((spec, ..)) => Err(BoothError::NameTaken {
                tool: spec.name().to_owned(),
            }),
            None => Ok(()),
        }
    }

    /// Changes the tools. One that a server offers since the check stays.
    pub(super) fn apply(self, toolbox: &Toolbox, changes: &BTreeMap<String, EntryChange>) {
        let removed = changes
            .iter()
            .filter(|(_, change)| **change == EntryChange::Removed);
        for (name, _) in removed {
            toolbox.remove(name);
        }
        for (spec, tool, change) in self.0 {
            let name = spec.name().to_owned();
            let applied = match change {
                EntryChange::Changed => toolbox.replace(spec, tool).map(|_| ()),
                EntryChange::Added | EntryChange::Removed => toolbox.insert(spec, tool),
            };
            if let Err(error) = applied {
                tracing::error!(tool = name, %error, "the command is not offered");
            }
        }
    }
}
