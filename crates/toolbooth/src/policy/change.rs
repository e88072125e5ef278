use std::collections::BTreeMap;
use std::fmt;

use toolbooth_core::Name;

use super::plan::{Plan, Scope};
use super::show::Kind;

/// What an update of the policies changed. Made by [`Toolbox::apply`](crate::Toolbox::apply).
///
/// `Display` shows a line for each change: `tool search: timeout 10s -> 30s`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PolicyChange {
    settings: Vec<SettingChange>,
}

/// A setting of a tool, or a limit of a group, that changed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SettingChange {
    /// The group, of a limit that its members share.
    pub group: Option<Name>,
    /// The tool, of any other setting.
    pub tool: Option<Name>,
    /// The name of the setting, such as `concurrency`.
    pub setting: &'static str,
    /// The setting before, as the stack shows it.
    pub from: Option<String>,
    /// The setting now.
    pub to: Option<String>,
}

// === impl PolicyChange ===

impl PolicyChange {
    /// Compares the plans of tools by name.
    pub(super) fn between(before: &BTreeMap<Name, Plan>, after: &BTreeMap<Name, Plan>) -> Self {
        let mut all = BTreeMap::<_, (Option<String>, Option<String>)>::new();
        for (tool, plan) in before {
            for (scope, kind, value) in plan.settings(tool) {
                all.entry((scope, kind)).or_default().0 = Some(value);
            }
        }
        for (tool, plan) in after {
            for (scope, kind, value) in plan.settings(tool) {
                all.entry((scope, kind)).or_default().1 = Some(value);
            }
        }
        let changes = all.into_iter().filter(|(_, (from, to))| from != to);
        let settings =
            changes.map(|((scope, kind), (from, to))| SettingChange::new(scope, kind, from, to));
        Self {
            settings: settings.collect(),
        }
    }

    /// Returns whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.settings.is_empty()
    }

    /// Returns the settings that changed: those of groups, then those of tools, by name.
    #[must_use]
    pub fn settings(&self) -> &[SettingChange] {
        &self.settings
    }
}

impl fmt::Display for PolicyChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing changed");
        }
        for (at, change) in self.settings.iter().enumerate() {
            let separator = if at == 0 { "" } else { "\n" };
            write!(f, "{separator}{change}")?;
        }
        Ok(())
    }
}

// === impl SettingChange ===

impl SettingChange {
    fn new(scope: Scope, kind: Kind, from: Option<String>, to: Option<String>) -> Self {
        let (group, tool) = match scope {
            Scope::Group(name) => (Some(name), None),
            Scope::Tool(name) => (None, Some(name)),
        };
        let setting = kind.as_str();
        Self {
            group,
            tool,
            setting,
            from,
            to,
        }
    }
}

impl fmt::Display for SettingChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let none = |value: &Option<String>| value.as_deref().unwrap_or("none").to_owned();
        let (kind, name) = match (&self.group, &self.tool) {
            (Some(group), _) => ("group", group),
            (None, Some(tool)) => ("tool", tool),
            (None, None) => return Ok(()),
        };
        let (from, to) = (none(&self.from), none(&self.to));
        write!(
            f,
            "{kind} {}: {} {from} -> {to}",
            name.as_str(),
            self.setting
        )
    }
}
