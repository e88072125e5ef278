//! Keeping what calls produce, within bounds. Pure: no clock, no task, no lock.

use std::collections::VecDeque;
use std::sync::Arc;

use super::{Content, Partial};
use crate::call::Progress;

/// How much of a call's partial results is kept, and which part when it does not all fit.
///
/// Set by the layer that keeps them; each attempt of a call has these bounds for itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeepPolicy {
    max_items: usize,
    max_bytes: usize,
    drop_oldest: bool,
}

/// The partial results of one call, by attempt; how far it is; and the checkpoint that its attempts share.
#[derive(Debug, Default)]
pub(crate) struct Partials {
    attempts: Vec<Attempt>,
    progress: Option<Progress>,
    /// Whether a layer keeps what is published: then an error takes the progress along.
    keeps: bool,
    checkpoint: Option<Content>,
}

/// Contents that found no room, or made some. They are dropped by whoever called, after the lock: dropping bytes may run anything.
pub(crate) type Displaced = Vec<Content>;

/// Attempts of which nothing is worth keeping; dropped as [`Displaced`] is.
pub(crate) type Ended = Vec<Attempt>;

#[derive(Debug)]
pub(crate) struct Attempt {
    number: u32,
    ended: bool,
    /// Whether it holds a whole answer, which came late.
    late: bool,
    kept: Kept,
}

#[derive(Debug)]
enum Kept {
    Open(Buffer),
    Closed(Arc<Partial>),
}

#[derive(Debug, Default)]
struct Buffer {
    contents: VecDeque<Content>,
    bytes: usize,
    snapshot: Option<Content>,
    dropped: u64,
    delivered: u64,
}

// === impl KeepPolicy ===

impl KeepPolicy {
    /// At most 1,024 items and 1 MiB; what comes after the first item that does not fit is not kept.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            max_items: 1_024,
            max_bytes: 1 << 20,
            drop_oldest: false,
        }
    }

    /// At most this many items.
    #[must_use]
    pub const fn with_max_items(mut self, items: usize) -> Self {
        self.max_items = items;
        self
    }

    /// At most this many bytes, as [`Content::size`] counts them; a snapshot has as many for itself.
    #[must_use]
    pub const fn with_max_bytes(mut self, bytes: usize) -> Self {
        self.max_bytes = bytes;
        self
    }

    /// Keeps the newest items instead of the first ones.
    #[must_use]
    pub const fn with_drop_oldest(mut self) -> Self {
        self.drop_oldest = true;
        self
    }
}

impl KeepPolicy {
    pub(crate) const fn max_items(self) -> usize {
        self.max_items
    }

    pub(crate) const fn max_bytes(self) -> usize {
        self.max_bytes
    }

    pub(crate) const fn drops_oldest(self) -> bool {
        self.drop_oldest
    }
}

impl Default for KeepPolicy {
    fn default() -> Self {
        Self::new()
    }
}

// === impl Partials ===

impl Partials {
    /// Appends a piece to what `attempt` produced.
    pub(crate) fn append(
        &mut self,
        attempt: u32,
        policy: KeepPolicy,
        content: Content,
    ) -> Displaced {
        match self.buffer(attempt) {
            Some(buffer) => buffer.append(policy, content),
            None => vec![content],
        }
    }

    /// Replaces the snapshot of `attempt`.
    pub(crate) fn snapshot(
        &mut self,
        attempt: u32,
        policy: KeepPolicy,
        content: Content,
    ) -> Displaced {
        let displaced = match self.buffer(attempt) {
            Some(buffer) => buffer.set_snapshot(policy, content),
            None => Some(content),
        };
        displaced.into_iter().collect()
    }

    /// Counts a piece that goes to the consumer of a streamed answer.
    pub(crate) fn count_delivered(&mut self, attempt: u32) {
        if let Some(buffer) = self.buffer(attempt) {
            buffer.delivered += 1;
        }
    }

    /// A whole answer that came late, in place of what `attempt` produced; gives back what it displaces.
    pub(crate) fn late(&mut self, attempt: u32, contents: Vec<Content>) -> Displaced {
        let entry = self.entry(attempt);
        entry.late = true;
        let mut displaced = contents;
        entry.kept.close(|partial| {
            std::mem::swap(&mut Arc::make_mut(partial).contents, &mut displaced);
        });
        displaced
    }

    /// How far the call is, behind the last report; gives back the report that it replaces.
    pub(crate) fn report(&mut self, progress: Progress, keeps: bool) -> Option<Progress> {
        self.keeps |= keeps;
        let progress = progress.after(self.progress.as_ref());
        self.progress.replace(progress)
    }

    pub(crate) const fn last_progress(&self) -> Option<&Progress> {
        self.progress.as_ref()
    }

    /// Nothing more comes from `attempt`: of all ended ones, only the one worth attaching stays.
    pub(crate) fn end(&mut self, attempt: u32) -> Ended {
        for entry in &mut self.attempts {
            entry.ended |= entry.number == attempt;
        }
        let last = self.last().map(|last| last.number);
        let stays = |entry: &Attempt| !entry.ended || Some(entry.number) == last;
        let attempts = std::mem::take(&mut self.attempts);
        let (stay, go) = attempts.into_iter().partition(stays);
        self.attempts = stay;
        go
    }

    /// A copy of what `attempt` has kept so far, or else of what an error would take along.
    pub(crate) fn copy(&self, attempt: u32) -> Option<Partial> {
        let own = self.attempts.iter().find(|entry| entry.number == attempt);
        let entry = own.or_else(|| self.last());
        let mut partial = entry.map_or_else(Partial::default, |entry| entry.kept.copy());
        partial.progress = self.kept_progress().cloned();
        (partial != Partial::default()).then_some(partial)
    }

    /// What an error takes along: that of the last attempt that published any. Nothing more is added to it but later progress.
    pub(crate) fn attach(&mut self) -> Option<Arc<Partial>> {
        let progress = self.kept_progress().cloned();
        let Some(number) = self.last().map(|last| last.number) else {
            let partial = Partial {
                progress: Some(progress?),
                ..Partial::default()
            };
            return Some(Arc::new(partial));
        };
        let partial = self.entry(number).kept.close(|partial| {
            if partial.progress != progress {
                Arc::make_mut(partial).progress = progress;
            }
        });
        Some(partial)
    }

    /// Replaces the checkpoint, and gives back the one before.
    pub(crate) const fn set_checkpoint(&mut self, content: Content) -> Option<Content> {
        self.checkpoint.replace(content)
    }

    pub(crate) fn checkpoint(&self) -> Option<Content> {
        self.checkpoint.clone()
    }

    /// The last attempt that published any; one that answered, if late, goes before.
    fn last(&self) -> Option<&Attempt> {
        let published = self.attempts.iter().filter(|entry| entry.kept.is_any());
        published.max_by_key(|entry| (entry.late, entry.number))
    }

    fn kept_progress(&self) -> Option<&Progress> {
        self.progress.as_ref().filter(|_| self.keeps)
    }

    /// The open buffer of `attempt`; `None` once it is closed.
    fn buffer(&mut self, attempt: u32) -> Option<&mut Buffer> {
        match &mut self.entry(attempt).kept {
            Kept::Open(buffer) => Some(buffer),
            Kept::Closed(_) => None,
        }
    }

    /// What there is of `attempt`, made when its first piece comes.
    fn entry(&mut self, attempt: u32) -> &mut Attempt {
        let at = match self
            .attempts
            .iter()
            .position(|entry| entry.number == attempt)
        {
            Some(at) => at,
            None => {
                self.attempts.push(Attempt {
                    number: attempt,
                    ended: false,
                    late: false,
                    kept: Kept::Open(Buffer::default()),
                });
                self.attempts.len() - 1
            }
        };
        &mut self.attempts[at]
    }
}

// === impl Kept ===

impl Kept {
    /// Whether there is anything to tell: a piece, a snapshot, or that pieces were dropped or delivered.
    fn is_any(&self) -> bool {
        match self {
            Self::Open(Buffer {
                contents,
                snapshot,
                dropped,
                delivered,
                ..
            }) => !contents.is_empty() || snapshot.is_some() || *dropped + *delivered > 0,
            Self::Closed(partial) => **partial != Partial::default(),
        }
    }

    fn copy(&self) -> Partial {
        match self {
            Self::Open(buffer) => Partial {
                contents: buffer.contents.iter().cloned().collect(),
                snapshot: buffer.snapshot.clone(),
                progress: None,
                dropped: buffer.dropped,
                delivered: buffer.delivered,
            },
            Self::Closed(partial) => Partial::clone(partial),
        }
    }

    /// Nothing more is added; what is closed can still be changed, and an error that has it keeps it as it was.
    fn close(&mut self, change: impl FnOnce(&mut Arc<Partial>)) -> Arc<Partial> {
        let mut partial = match std::mem::replace(self, Self::Open(Buffer::default())) {
            Self::Open(buffer) => Arc::new(Partial {
                contents: buffer.contents.into(),
                snapshot: buffer.snapshot,
                progress: None,
                dropped: buffer.dropped,
                delivered: buffer.delivered,
            }),
            Self::Closed(partial) => partial,
        };
        change(&mut partial);
        *self = Self::Closed(Arc::clone(&partial));
        partial
    }
}

// === impl Buffer ===

impl Buffer {
    fn append(&mut self, policy: KeepPolicy, content: Content) -> Displaced {
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
        // Without drop-oldest, one piece that did not fit ends the keeping: a prefix has no gaps.
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

    /// Gives back the one that is not kept.
    fn set_snapshot(&mut self, policy: KeepPolicy, content: Content) -> Option<Content> {
        match content.size() <= policy.max_bytes {
            true => self.snapshot.replace(content),
            false => Some(content),
        }
    }

    fn fits(&self, policy: KeepPolicy, size: usize) -> bool {
        self.contents.len() < policy.max_items && self.bytes + size <= policy.max_bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(partial: Option<Partial>) -> Vec<String> {
        let contents = partial.unwrap_or_default().into_contents();
        contents
            .iter()
            .filter_map(|content| content.as_text().map(str::to_owned))
            .collect()
    }

    fn keep(policy: KeepPolicy, pieces: &[&str]) -> Partials {
        let mut partials = Partials::default();
        for piece in pieces {
            partials.append(1, policy, Content::from(*piece));
        }
        partials
    }

    #[test]
    fn a_prefix_stays_free_of_gaps() {
        let policy = KeepPolicy::new().with_max_bytes(4);
        let partials = keep(policy, &["ab", "toolong", "c"]);
        assert_eq!(texts(partials.copy(1)), ["ab"]);
        assert_eq!(partials.copy(1).unwrap().dropped(), 2);
    }

    #[test]
    fn drop_oldest_keeps_the_newest() {
        let policy = KeepPolicy::new().with_max_items(2).with_drop_oldest();
        let partials = keep(policy, &["a", "b", "c"]);
        assert_eq!(texts(partials.copy(1)), ["b", "c"]);
        assert_eq!(partials.copy(1).unwrap().dropped(), 1);
        let by_bytes = KeepPolicy::new().with_max_bytes(3).with_drop_oldest();
        assert_eq!(
            texts(keep(by_bytes, &["ab", "c", "de", "toolong"]).copy(1)),
            ["c", "de"]
        );
    }

    #[test]
    fn last_attempt_that_published_any_is_attached() {
        let policy = KeepPolicy::new();
        let mut partials = keep(policy, &["a", "b"]);
        partials.end(1);
        // It published, and nothing of it was kept.
        let small = policy.with_max_bytes(1);
        partials.snapshot(2, small, Content::from("too long"));
        partials.end(2);
        assert_eq!(
            texts(partials.attach().map(Arc::unwrap_or_clone)),
            ["a", "b"]
        );
        partials.append(3, policy, Content::from("c"));
        partials.end(3);
        assert_eq!(texts(partials.attach().map(Arc::unwrap_or_clone)), ["c"]);
        partials.snapshot(4, policy, Content::from("half"));
        let attached = partials.attach().unwrap();
        assert_eq!(attached.snapshot(), Some(&Content::from("half")));
        assert_eq!(attached.contents(), []);
    }

    #[test]
    fn ended_attempts_leave_one_behind() {
        let policy = KeepPolicy::new();
        let mut partials = Partials::default();
        for attempt in 1..100 {
            partials.append(attempt, policy, Content::from("x"));
            partials.end(attempt);
        }
        assert_eq!(partials.attempts.len(), 1);
    }

    #[test]
    fn a_snapshot_alone_is_a_partial_and_nothing_is_none() {
        let mut partials = Partials::default();
        assert_eq!(partials.attach(), None);
        partials.snapshot(1, KeepPolicy::new(), Content::from("half"));
        partials.snapshot(1, KeepPolicy::new(), Content::from("most"));
        assert_eq!(
            partials.attach().unwrap().snapshot(),
            Some(&Content::from("most"))
        );
    }
}
