use std::collections::VecDeque;
use std::fmt;

use triomphe::{Arc, UniqueArc};

use super::{Content, Emitted, KeepPolicy, Partial};

/// Contents that were evicted from a buffer, or rejected by it.
///
/// The caller drops them after it releases its lock: the destructor of a content's bytes may run
/// any code.
pub(crate) type Displaced = Vec<Emitted>;

/// The partial result of one attempt while the attempt still publishes.
///
/// It is made where errors and hooks share it later, so closing it moves nothing (`storm`).
pub(super) struct Buffer {
    partial: UniqueArc<Partial>,
    /// The contents and the snapshot, in place of those of `partial`, once something shares them.
    shared: Option<Box<Shared>>,
    /// The sum of the sizes of the contents.
    bytes: usize,
}

/// Contents that event sinks or readers of updates share.
#[derive(Default)]
struct Shared {
    contents: VecDeque<std::sync::Arc<Content>>,
    snapshot: Option<std::sync::Arc<Content>>,
}

// === impl Buffer ===

impl Buffer {
    pub(super) fn append(&mut self, policy: KeepPolicy, content: Emitted) -> Displaced {
        let size = content.size();
        let never_fits = size > policy.max_bytes || policy.max_items == 0;
        let mut displaced = Vec::new();
        if policy.drop_oldest && !never_fits {
            while !self.fits(policy, size) {
                let Some(oldest) = self.pop() else { break };
                self.bytes -= oldest.size();
                displaced.push(oldest);
            }
        }
        // Without `drop_oldest` the contents are a prefix without gaps: after the first item that
        // did not fit, no other is stored.
        let gap = self.partial.dropped > 0 && !policy.drop_oldest;
        if never_fits || gap || !self.fits(policy, size) {
            displaced.push(content);
        } else {
            self.bytes += size;
            self.push(content);
        }
        self.partial.dropped += displaced.len() as u64;
        displaced
    }

    /// Replaces the snapshot unless `content` is too large; returns the content that is not stored.
    pub(super) fn set_snapshot(&mut self, policy: KeepPolicy, content: Emitted) -> Option<Emitted> {
        if content.size() > policy.max_bytes {
            return Some(content);
        }
        match content {
            Emitted::Own(content) if self.shared.is_none() => {
                replace(&mut self.partial.snapshot, content).map(Emitted::Own)
            }
            content => {
                let snapshot = &mut self.shared().snapshot;
                snapshot.replace(content.into_shared()).map(Emitted::Shared)
            }
        }
    }

    /// Counts an item that the consumer of a streaming response receives.
    pub(super) fn count_delivered(&mut self) {
        self.partial.delivered += 1;
    }

    /// Returns whether anything was published, even if none of it is stored.
    pub(super) fn is_published(&self) -> bool {
        self.shared.is_some() || self.partial.is_published()
    }

    pub(super) fn to_partial(&self) -> Partial {
        let mut partial = self.partial.clone();
        if let Some(shared) = &self.shared {
            partial.contents = shared
                .contents
                .iter()
                .map(|item| (**item).clone())
                .collect();
            partial.snapshot = shared.snapshot.as_deref().cloned().map(Box::new);
        }
        partial
    }

    /// Closes the buffer. Of the contents, those that something still shares are copied.
    pub(super) fn into_partial(mut self) -> Arc<Partial> {
        if let Some(shared) = self.shared {
            let Shared { contents, snapshot } = *shared;
            let own = std::sync::Arc::unwrap_or_clone;
            self.partial.contents = contents.into_iter().map(own).collect();
            self.partial.snapshot = snapshot.map(own).map(Box::new);
        }
        self.partial.contents.make_contiguous();
        self.partial.shareable()
    }

    fn push(&mut self, content: Emitted) {
        match content {
            Emitted::Own(content) if self.shared.is_none() => {
                let contents = &mut self.partial.contents;
                if contents.is_empty() {
                    // Many calls emit one item. `push_back` alone makes room for four (`storm`).
                    contents.reserve_exact(1);
                }
                contents.push_back(content);
            }
            content => self.shared().contents.push_back(content.into_shared()),
        }
    }

    fn pop(&mut self) -> Option<Emitted> {
        match &mut self.shared {
            Some(shared) => shared.contents.pop_front().map(Emitted::Shared),
            None => self.partial.contents.pop_front().map(Emitted::Own),
        }
    }

    /// Moves what is kept to where it is shared.
    fn shared(&mut self) -> &mut Shared {
        self.shared.get_or_insert_with(|| {
            let contents = std::mem::take(&mut self.partial.contents).into_iter();
            let snapshot = self.partial.snapshot.take();
            Box::new(Shared {
                contents: contents.map(std::sync::Arc::new).collect(),
                snapshot: snapshot.map(|snapshot| std::sync::Arc::new(*snapshot)),
            })
        })
    }

    fn fits(&self, policy: KeepPolicy, size: usize) -> bool {
        let shared = self.shared.as_ref().map(|shared| shared.contents.len());
        let items = shared.unwrap_or(self.partial.contents.len());
        items < policy.max_items && self.bytes + size <= policy.max_bytes
    }
}

impl Default for Buffer {
    fn default() -> Self {
        Self {
            partial: UniqueArc::new(Partial::default()),
            shared: None,
            bytes: 0,
        }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer")
            .field("partial", &self.to_partial())
            .field("bytes", &self.bytes)
            .finish()
    }
}

/// Replaces a boxed value, and uses its box again.
pub(super) fn replace<T>(boxed: &mut Option<Box<T>>, value: T) -> Option<T> {
    match boxed {
        Some(boxed) => Some(std::mem::replace(&mut **boxed, value)),
        None => {
            *boxed = Some(Box::new(value));
            None
        }
    }
}
