use toolbooth_core::Name;

use super::{SetLimit, SharedStore};

/// Where the state of a limit is: in which store, and under which name.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) store: SharedStore,
    layer: Name,
    key: Option<Name>,
    /// How a new limit is stated.
    pub(crate) set: SetLimit,
}

// === impl Place ===

impl Place {
    /// Creates the place of a limit for all calls.
    pub(crate) const fn new(store: SharedStore, layer: Name) -> Self {
        Self {
            store,
            layer,
            key: None,
            set: SetLimit::IfConfigured,
        }
    }

    /// Returns the place of a key of this limit, or of all calls. `is_changed` is whether this
    /// process has changed the limit of the key since it was configured: then what the store knows
    /// holds.
    pub(crate) fn of(&self, key: Option<&str>, is_changed: bool) -> Self {
        let mut place = key.map_or_else(|| self.clone(), |key| self.at(key));
        if is_changed {
            place.set = SetLimit::IfUnknown;
        }
        place
    }

    /// Returns the place of a key of this limit.
    pub(crate) fn at(&self, key: &str) -> Self {
        Self {
            key: Some(key.into()),
            ..self.clone()
        }
    }

    /// Returns the name of the limit in the store.
    pub(crate) fn limit(&self) -> Name {
        match &self.key {
            None => self.layer.clone(),
            Some(key) => format!("{}/{key}", self.layer).into(),
        }
    }
}
