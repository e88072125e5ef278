use std::fmt;
use std::sync::Arc;

use crate::call::Name;

/// The kind of a layer and the name of one value of it, which its errors carry.
///
/// Without a name of its own the name is the kind. A clone copies no text.
///
/// ```
/// use toolbooth_core::LayerName;
///
/// let audit = LayerName::new("audit");
/// assert_eq!((audit.kind(), audit.as_str()), ("audit", "audit"));
/// let audit = audit.renamed("audit-eu");
/// assert_eq!((audit.kind(), audit.as_str()), ("audit", "audit-eu"));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct LayerName(Repr);

#[derive(Clone, PartialEq, Eq)]
enum Repr {
    Kind(&'static str),
    Named(Arc<Named>),
}

#[derive(PartialEq, Eq)]
struct Named {
    kind: &'static str,
    name: Name,
}

// === impl LayerName ===

impl LayerName {
    /// Creates the name of a layer of this kind.
    #[must_use]
    pub const fn new(kind: &'static str) -> Self {
        Self(Repr::Kind(kind))
    }

    /// Returns another name of the same kind.
    #[must_use]
    pub fn renamed(&self, name: impl Into<Name>) -> Self {
        let (kind, name) = (self.kind(), name.into());
        Self(Repr::Named(Arc::new(Named { kind, name })))
    }

    /// Returns the kind, such as `timeout`: stable and of low cardinality.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match &self.0 {
            Repr::Kind(kind) => kind,
            Repr::Named(named) => named.kind,
        }
    }

    /// Returns the name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match &self.0 {
            Repr::Kind(kind) => kind,
            Repr::Named(named) => &named.name,
        }
    }
}

impl From<&LayerName> for Name {
    fn from(name: &LayerName) -> Self {
        match &name.0 {
            Repr::Kind(kind) => Self::from_static(kind),
            Repr::Named(named) => named.name.clone(),
        }
    }
}

impl fmt::Display for LayerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for LayerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}
