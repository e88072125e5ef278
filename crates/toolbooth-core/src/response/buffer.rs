use std::collections::VecDeque;

use super::{Content, KeepPolicy, Partial};

/// Contents that were evicted from a buffer, or rejected by it.
///
/// The caller drops them after it releases its lock: the destructor of a content's bytes may run
/// any code.
pub(crate) type Displaced = Vec<Content>;

/// The partial result of one attempt while the attempt still publishes.
#[derive(Debug, Default)]
pub(super) struct Buffer {
    contents: VecDeque<Content>,
    /// The sum of the sizes of `contents`.
    bytes: usize,
    snapshot: Option<Content>,
    dropped: u64,
    delivered: u64,
}

// === impl Buffer ===

impl Buffer {
    pub(super) fn append(&mut self, policy: KeepPolicy, content: Content) -> Displaced {
        let size = content.size();
        let never_fits = size > policy.max_bytes || policy.max_items == 0;
        let mut displaced = Vec::new();
        if policy.drop_oldest && !never_fits {
            while !self.fits(policy, size) {
                let Some(oldest) = self.contents.pop_front() else {
                    break;
                };
                self.bytes -= oldest.size();
                displaced.push(oldest);
            }
        }
        // Without `drop_oldest` the contents are a prefix without gaps: after the first item that
        // did not fit, no other is stored.
        let gap = self.dropped > 0 && !policy.drop_oldest;
        if never_fits || gap || !self.fits(policy, size) {
            displaced.push(content);
        } else {
            self.bytes += size;
            self.contents.push_back(content);
        }
        self.dropped += displaced.len() as u64;
        displaced
    }

    /// Replaces the snapshot unless `content` is too large; returns the content that is not stored.
    pub(super) fn set_snapshot(&mut self, policy: KeepPolicy, content: Content) -> Option<Content> {
        match content.size() <= policy.max_bytes {
            true => self.snapshot.replace(content),
            false => Some(content),
        }
    }

    /// Counts an item that the consumer of a streaming response receives.
    pub(super) const fn count_delivered(&mut self) {
        self.delivered += 1;
    }

    /// Whether anything was published, even if none of it is stored.
    pub(super) fn is_published(&self) -> bool {
        !self.contents.is_empty() || self.snapshot.is_some() || self.dropped + self.delivered > 0
    }

    pub(super) fn to_partial(&self) -> Partial {
        Partial {
            contents: self.contents.iter().cloned().collect(),
            snapshot: self.snapshot.clone(),
            progress: None,
            dropped: self.dropped,
            delivered: self.delivered,
        }
    }

    pub(super) fn into_partial(self) -> Partial {
        Partial {
            contents: self.contents.into(),
            snapshot: self.snapshot,
            progress: None,
            dropped: self.dropped,
            delivered: self.delivered,
        }
    }

    fn fits(&self, policy: KeepPolicy, size: usize) -> bool {
        self.contents.len() < policy.max_items && self.bytes + size <= policy.max_bytes
    }
}
