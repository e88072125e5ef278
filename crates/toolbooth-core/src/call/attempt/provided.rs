//! Values that layers provide to everything inside of a call.

use std::any::{Any, TypeId};
use std::sync::{Arc, OnceLock};

use super::Attempt;
use crate::call::settings::Extension;

/// A list of values, to which values are only appended: a reference to one stays valid.
#[derive(Debug, Default)]
pub(super) struct Provided(OnceLock<Box<Node>>);

#[derive(Debug)]
struct Node {
    extension: Extension,
    next: Provided,
}

// === impl Attempt ===

impl Attempt {
    /// Provides a value for all attempts of the call. Of several of one type, the last one counts.
    pub(crate) fn provide<T: Any + Send + Sync>(&self, value: &Arc<T>) {
        let provided = &self.call().published().provided;
        let current = provided.find(TypeId::of::<T>());
        // A later attempt of the call passes the same layer.
        if current
            .is_none_or(|current| !std::ptr::addr_eq(Arc::as_ptr(current), Arc::as_ptr(value)))
        {
            provided.append((TypeId::of::<T>(), Arc::clone(value) as _));
        }
    }

    /// Returns the value of this type that a layer has provided.
    pub(in crate::call) fn provided<T: 'static>(&self) -> Option<&T> {
        let published = self.call().published.get()?;
        published.provided.find(TypeId::of::<T>())?.downcast_ref()
    }

    /// Returns all values that layers have provided, the oldest first.
    pub(in crate::call) fn all_provided(&self) -> impl Iterator<Item = &Extension> {
        let published = self.call().published.get();
        published
            .into_iter()
            .flat_map(|published| published.provided.iter())
    }
}

// === impl Provided ===

impl Provided {
    fn iter(&self) -> impl Iterator<Item = &Extension> {
        let nodes = std::iter::successors(self.0.get(), |node| node.next.0.get());
        nodes.map(|node| &node.extension)
    }

    fn find(&self, id: TypeId) -> Option<&Arc<dyn Any + Send + Sync>> {
        let found = self.iter().filter(|(of, _)| *of == id).last();
        found.map(|(_, value)| value)
    }

    fn append(&self, extension: Extension) {
        let mut node = Box::new(Node {
            extension,
            next: Self::default(),
        });
        let mut end = self;
        // Another thread may append at the same time: then the list goes on behind its node.
        while let Err(rejected) = end.0.set(node) {
            node = rejected;
            match end.0.get() {
                Some(other) => end = &other.next,
                None => return,
            }
        }
    }
}
