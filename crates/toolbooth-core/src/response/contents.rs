use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, OnceLock};

use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Content, Emitted};

/// The items of a partial result. Those that something else shares are copied once they are read.
#[derive(Clone, Default)]
pub(crate) struct Contents {
    /// Contiguous, except while the attempt publishes. Empty if there are shared ones.
    own: VecDeque<Content>,
    /// Boxed, since few calls share contents, and each call pays for the size (`storm`).
    shared: Option<Box<Shared>>,
}

#[derive(Clone)]
struct Shared {
    items: VecDeque<Arc<Content>>,
    /// The same by value, for `as_slice`.
    copied: OnceLock<Vec<Content>>,
}

// === impl Contents ===

impl Contents {
    pub(super) fn push(&mut self, content: Emitted) {
        match content {
            Emitted::Own(content) if self.shared.is_none() => {
                if self.own.is_empty() {
                    // Many calls emit one item. `push_back` alone makes room for four (`storm`).
                    self.own.reserve_exact(1);
                }
                self.own.push_back(content);
            }
            content => self.share().push_back(content.into_shared()),
        }
    }

    pub(super) fn pop(&mut self) -> Option<Emitted> {
        match &mut self.shared {
            Some(shared) => shared.items.pop_front().map(Emitted::Shared),
            None => self.own.pop_front().map(Emitted::Own),
        }
    }

    pub(super) fn len(&self) -> usize {
        let shared = self.shared.as_ref().map(|shared| shared.items.len());
        shared.unwrap_or(self.own.len())
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Content> {
        let shared = self.shared.iter().flat_map(|shared| &shared.items);
        self.own.iter().chain(shared.map(|item| &**item))
    }

    /// Ends the changes. If nothing else shares the items any more, they are moved, not copied.
    pub(super) fn close(&mut self) {
        let is_unique = |item| Arc::strong_count(item) == 1;
        match &mut self.shared {
            Some(shared) if shared.items.iter().all(is_unique) => {
                let items = std::mem::take(&mut shared.items).into_iter();
                self.own = items.map(Arc::unwrap_or_clone).collect();
                self.shared = None;
            }
            _ => {}
        }
        self.own.make_contiguous();
    }

    /// Returns the items. Call [`close`](Self::close) before.
    pub(super) fn as_slice(&self) -> &[Content] {
        match &self.shared {
            Some(shared) => shared.copied.get_or_init(|| {
                let items = shared.items.iter().map(|item| (**item).clone());
                items.collect()
            }),
            None => self.own.as_slices().0,
        }
    }

    pub(super) fn into_vec(self) -> Vec<Content> {
        let Some(shared) = self.shared else {
            return self.own.into();
        };
        let Shared { items, copied } = *shared;
        let items = || items.into_iter().map(Arc::unwrap_or_clone).collect();
        copied.into_inner().unwrap_or_else(items)
    }

    /// Moves the items to where they are shared.
    fn share(&mut self) -> &mut VecDeque<Arc<Content>> {
        let shared = self.shared.get_or_insert_with(|| {
            let own = std::mem::take(&mut self.own).into_iter();
            Box::new(Shared {
                items: own.map(Arc::new).collect(),
                copied: OnceLock::new(),
            })
        });
        &mut shared.items
    }
}

impl fmt::Debug for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl PartialEq for Contents {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

impl From<Vec<Content>> for Contents {
    fn from(contents: Vec<Content>) -> Self {
        Self {
            own: contents.into(),
            shared: None,
        }
    }
}

impl Serialize for Contents {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut items = serializer.serialize_seq(Some(self.len()))?;
        self.iter()
            .try_for_each(|item| items.serialize_element(item))?;
        items.end()
    }
}

impl<'de> Deserialize<'de> for Contents {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::deserialize(deserializer).map(Self::from)
    }
}
