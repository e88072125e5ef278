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
    /// The snapshot, in place of that of `partial`, if something shares it.
    shared_snapshot: Option<std::sync::Arc<Content>>,
    /// The sum of the sizes of the contents.
    bytes: usize,
}

// === impl Buffer ===

impl Buffer {
    pub(super) fn append(&mut self, policy: KeepPolicy, content: Emitted) -> Displaced {
        let size = content.size();
        let never_fits = size > policy.max_bytes || policy.max_items == 0;
        let mut displaced = Vec::new();
        if policy.drop_oldest && !never_fits {
            while !self.fits(policy, size) {
                let Some(oldest) = self.partial.contents.pop() else {
                    break;
                };
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
            self.partial.contents.push(content);
        }
        self.partial.dropped += displaced.len() as u64;
        displaced
    }

    /// Replaces the snapshot unless `content` is too large; returns the content that is not stored.
    pub(super) fn set_snapshot(&mut self, policy: KeepPolicy, content: Emitted) -> Option<Emitted> {
        if content.size() > policy.max_bytes {
            return Some(content);
        }
        let shared = &mut self.shared_snapshot;
        match content {
            Emitted::Own(content) if shared.is_none() => {
                replace(&mut self.partial.snapshot, content).map(Emitted::Own)
            }
            content => {
                let own = self.partial.snapshot.take();
                let shared = shared.replace(content.into_shared());
                let own = || own.map(|own| Emitted::Own(*own));
                shared.map(Emitted::Shared).or_else(own)
            }
        }
    }

    /// Counts an item that the consumer of a streaming response receives.
    pub(super) fn count_delivered(&mut self) {
        self.partial.delivered += 1;
    }

    /// Returns whether anything was published, even if none of it is stored.
    pub(super) fn is_published(&self) -> bool {
        self.shared_snapshot.is_some() || self.partial.is_published()
    }

    pub(super) fn to_partial(&self) -> Partial {
        let mut partial = self.partial.clone();
        if let Some(snapshot) = &self.shared_snapshot {
            partial.snapshot = Some(Box::new((**snapshot).clone()));
        }
        partial
    }

    pub(super) fn into_partial(mut self) -> Arc<Partial> {
        if let Some(snapshot) = self.shared_snapshot {
            let snapshot = std::sync::Arc::unwrap_or_clone(snapshot);
            self.partial.snapshot = Some(Box::new(snapshot));
        }
        self.partial.contents.close();
        self.partial.shareable()
    }

    fn fits(&self, policy: KeepPolicy, size: usize) -> bool {
        self.partial.contents.len() < policy.max_items && self.bytes + size <= policy.max_bytes
    }
}

impl Default for Buffer {
    fn default() -> Self {
        Self {
            partial: UniqueArc::new(Partial::default()),
            shared_snapshot: None,
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
