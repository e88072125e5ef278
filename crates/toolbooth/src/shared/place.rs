use toolbooth_core::Name;

use super::SharedStore;

/// Where the state of a limit is: in which store, and under which name.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub(crate) store: SharedStore,
    layer: Name,
    key: Option<Name>,
}

// === impl Place ===

impl Place {
    /// Creates the place of a limit for all calls.
    pub(crate) const fn new(store: SharedStore, layer: Name) -> Self {
        Self {
            store,
            layer,
            key: None,
        }
    }

    /// Returns the place of a key of this limit, or of all calls.
    pub(crate) fn of(&self, key: Option<&str>) -> Self {
        key.map_or_else(|| self.clone(), |key| self.at(key))
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
