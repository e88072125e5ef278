//! Names that stand for several tools.

use std::collections::HashMap;

/// Returns whether a name is this one, or matches this pattern: a start that a `*` follows.
///
/// ```
/// use toolbooth::policy::name_matches;
///
/// assert!(name_matches("github_*", "github_search") && name_matches("*", "search"));
/// assert!(!name_matches("github_*", "git") && !name_matches("search", "search_all"));
/// ```
#[must_use]
pub fn name_matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start) || name == pattern,
        None => name == pattern,
    }
}

/// Returns whether a name may stand for several tools.
pub(super) fn is_pattern(name: &str) -> bool {
    name.ends_with('*')
}

/// Values by name or pattern.
#[derive(Debug)]
pub(super) struct ByName<'a, T> {
    names: HashMap<&'a str, T>,
    /// The longest first.
    starts: Vec<(&'a str, T)>,
}

// === impl ByName ===

impl<'a, T: Copy> ByName<'a, T> {
    pub(super) fn new(values: impl Iterator<Item = (&'a str, T)>) -> Self {
        let mut all = Self {
            names: HashMap::new(),
            starts: Vec::new(),
        };
        for (name, value) in values {
            all.names.insert(name, value);
            all.starts
                .extend(name.strip_suffix('*').map(|start| (start, value)));
        }
        all.starts
            .sort_by_key(|(start, _)| std::cmp::Reverse(start.len()));
        all
    }

    /// Returns the value of the name itself, otherwise that of the longest start of it.
    pub(super) fn get(&self, name: &str) -> Option<T> {
        let start = || {
            self.starts
                .iter()
                .find(|(start, _)| name.starts_with(start))
        };
        self.names.get(name).copied().or_else(|| Some(start()?.1))
    }
}
