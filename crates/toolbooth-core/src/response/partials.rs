//! The partial results of a call, within bounds. No clock, task or lock.

use triomphe::Arc;

use super::buffer::{Buffer, replace};
use super::{Content, Contents, Displaced, Emitted, KeepPolicy, Partial};
use crate::call::Progress;

/// The partial results of a call by attempt, its progress, and the checkpoint of its attempts.
#[derive(Debug, Default)]
pub(crate) struct Partials {
    /// The attempt that published first. Most calls have one: it needs no list (`storm`).
    first: Option<Attempt>,
    /// The others. Empty while there is no first.
    others: Vec<Attempt>,
    /// Boxed, as the checkpoint: few calls have them (`storm`).
    progress: Option<Box<Progress>>,
    /// Whether a layer keeps partial results: only then an error carries the progress.
    keeps: bool,
    checkpoint: Option<Box<Content>>,
}

/// The partial result of one attempt.
#[derive(Debug)]
pub(crate) struct Attempt {
    number: u32,
    /// Whether the attempt is over, so that it publishes no more.
    ended: bool,
    /// Whether the contents are a complete response that the tool returned after the limit expired.
    late: bool,
    state: State,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Empty,
    Open(Buffer),
    /// Shared with the error that carries it. Nothing is appended to it.
    Closed(Arc<Partial>),
}

// === impl Partials ===

impl Partials {
    /// Appends an item to the partial result of `attempt`.
    pub(crate) fn append(
        &mut self,
        attempt: u32,
        policy: KeepPolicy,
        content: Emitted,
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
        content: Emitted,
    ) -> Displaced {
        let displaced = match self.buffer(attempt) {
            Some(buffer) => buffer.set_snapshot(policy, content),
            None => Some(content),
        };
        displaced.into_iter().collect()
    }

    /// Counts an item that the consumer of a streaming response receives.
    pub(crate) fn count_delivered(&mut self, attempt: u32) {
        if let Some(buffer) = self.buffer(attempt) {
            buffer.count_delivered();
        }
    }

    /// Replaces the contents of `attempt` by a response that came after the limit expired.
    pub(crate) fn late(&mut self, attempt: u32, contents: Vec<Content>) -> Contents {
        let entry = self.entry(attempt);
        entry.late = true;
        let mut contents = Contents::from(contents);
        entry.state.close(|partial| {
            std::mem::swap(&mut Arc::make_mut(partial).contents, &mut contents);
        });
        contents
    }

    /// Records the progress of the call; returns the report that it replaces.
    pub(crate) fn report(&mut self, progress: Progress, keeps: bool) -> Option<Progress> {
        self.keeps |= keeps;
        let progress = progress.after(self.progress.as_deref());
        replace(&mut self.progress, progress)
    }

    pub(crate) fn last_progress(&self) -> Option<&Progress> {
        self.progress.as_deref()
    }

    /// Marks `attempt` as ended. Of the ended attempts only the one an error would carry stays.
    ///
    /// Returns the others; the caller drops them after it releases its lock, as [`Displaced`].
    pub(crate) fn end(&mut self, attempt: u32) -> Vec<Attempt> {
        for entry in self.first.iter_mut().chain(&mut self.others) {
            entry.ended |= entry.number == attempt;
        }
        let last = self.last().map(|last| last.number);
        let stays = |entry: &Attempt| !entry.ended || Some(entry.number) == last;
        if self.attempts().all(stays) {
            return Vec::new();
        }
        let others = std::mem::take(&mut self.others);
        let attempts = self.first.take().into_iter().chain(others);
        let (mut stay, removed): (Vec<_>, _) = attempts.partition(stays);
        self.first = (!stay.is_empty()).then(|| stay.remove(0));
        self.others = stay;
        removed
    }

    /// Copies the partial result of `attempt`; if there is none, the one an error would carry.
    pub(crate) fn copy(&self, attempt: u32) -> Option<Partial> {
        let own = self.attempts().find(|entry| entry.number == attempt);
        let entry = own.or_else(|| self.last());
        let mut partial = entry.map_or_else(Partial::default, |entry| entry.state.to_partial());
        partial.progress = self.kept_progress();
        (partial != Partial::default()).then_some(partial)
    }

    /// Returns the partial result for an error: that of the last attempt that published anything.
    ///
    /// Afterwards nothing is appended to it; only its progress may still be updated.
    pub(crate) fn attach(&mut self) -> Option<Arc<Partial>> {
        let progress = self.kept_progress();
        let Some(number) = self.last().map(|last| last.number) else {
            let partial = Partial {
                progress: Some(progress?),
                ..Partial::default()
            };
            return Some(Arc::new(partial));
        };
        let partial = self.entry(number).state.close(|partial| {
            if partial.progress != progress {
                Arc::make_mut(partial).progress = progress;
            }
        });
        Some(partial)
    }

    /// Replaces the checkpoint; returns the one before.
    pub(crate) fn set_checkpoint(&mut self, content: Content) -> Option<Content> {
        replace(&mut self.checkpoint, content)
    }

    pub(crate) fn checkpoint(&self) -> Option<Content> {
        self.checkpoint.as_deref().cloned()
    }

    /// Returns the last attempt that published anything. A complete late response has precedence.
    fn last(&self) -> Option<&Attempt> {
        let published = self.attempts().filter(|entry| entry.state.is_published());
        published.max_by_key(|entry| (entry.late, entry.number))
    }

    fn kept_progress(&self) -> Option<Box<Progress>> {
        self.progress.as_ref().filter(|_| self.keeps).cloned()
    }

    /// Returns the open buffer of `attempt`, or `None` once it is closed.
    fn buffer(&mut self, attempt: u32) -> Option<&mut Buffer> {
        let state = &mut self.entry(attempt).state;
        if matches!(state, State::Empty) {
            *state = State::Open(Buffer::default());
        }
        match state {
            State::Open(buffer) => Some(buffer),
            State::Empty | State::Closed(_) => None,
        }
    }

    /// Returns the entry of `attempt`, and inserts it on the first use.
    fn entry(&mut self, attempt: u32) -> &mut Attempt {
        let first = self.first.get_or_insert_with(|| Attempt::new(attempt));
        if first.number == attempt {
            return first;
        }
        let mut numbers = self.others.iter().map(|entry| entry.number);
        let at = numbers.position(|number| number == attempt);
        let at = at.unwrap_or_else(|| {
            self.others.push(Attempt::new(attempt));
            self.others.len() - 1
        });
        &mut self.others[at]
    }

    fn attempts(&self) -> impl Iterator<Item = &Attempt> {
        self.first.iter().chain(&self.others)
    }
}

// === impl Attempt ===

impl Attempt {
    const fn new(number: u32) -> Self {
        Self {
            number,
            ended: false,
            late: false,
            state: State::Empty,
        }
    }
}

// === impl State ===

impl State {
    fn is_published(&self) -> bool {
        match self {
            Self::Empty => false,
            Self::Open(buffer) => buffer.is_published(),
            Self::Closed(partial) => partial.is_published(),
        }
    }

    fn to_partial(&self) -> Partial {
        let mut partial = match self {
            Self::Empty => Partial::default(),
            Self::Open(buffer) => buffer.to_partial(),
            Self::Closed(partial) => (**partial).clone(),
        };
        partial.contents.close();
        partial
    }

    /// Closes the buffer and applies `change`. An error that already carries it is not changed.
    fn close(&mut self, change: impl FnOnce(&mut Arc<Partial>)) -> Arc<Partial> {
        let mut partial = match std::mem::take(self) {
            Self::Empty => Arc::default(),
            Self::Open(buffer) => buffer.into_partial(),
            Self::Closed(partial) => partial,
        };
        change(&mut partial);
        *self = Self::Closed(Arc::clone(&partial));
        partial
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(partial: Option<Partial>) -> Vec<String> {
        let partial = partial.unwrap_or_default();
        partial
            .contents()
            .iter()
            .filter_map(|content| content.as_text().map(str::to_owned))
            .collect()
    }

    fn keep(policy: KeepPolicy, items: &[&str]) -> Partials {
        let mut partials = Partials::default();
        for item in items {
            partials.append(1, policy, Emitted::Own((*item).into()));
        }
        partials
    }

    #[test]
    fn contents_are_a_prefix_without_gaps() {
        let policy = KeepPolicy::new().with_max_bytes(4);
        let partials = keep(policy, &["ab", "toolong", "c"]);
        assert_eq!(texts(partials.copy(1)), ["ab"]);
        assert_eq!(partials.copy(1).unwrap().dropped(), 2);
    }

    #[test]
    fn drop_oldest_keeps_the_newest_items() {
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

    /// A ring buffer that has wrapped around has two slices.
    #[test]
    fn contents_are_contiguous_once_they_are_read() {
        let policy = KeepPolicy::new().with_max_items(3).with_drop_oldest();
        for pushed in 3..12 {
            let items: Vec<_> = (0..pushed).map(|item: u32| item.to_string()).collect();
            let items: Vec<_> = items.iter().map(String::as_str).collect();
            let mut partials = keep(policy, &items);
            let newest = &items[items.len() - 3..];
            assert_eq!(texts(partials.copy(1)), newest);
            let attached = partials.attach().map(Arc::unwrap_or_clone);
            assert_eq!(texts(attached), newest);
        }
    }

    #[test]
    fn partial_of_the_last_attempt_that_published_is_attached() {
        let policy = KeepPolicy::new();
        let mut partials = keep(policy, &["a", "b"]);
        partials.end(1);
        // Attempt 2 published a snapshot that is not stored.
        let small = policy.with_max_bytes(1);
        partials.snapshot(2, small, Emitted::Own("too long".into()));
        partials.end(2);
        assert_eq!(
            texts(partials.attach().map(Arc::unwrap_or_clone)),
            ["a", "b"]
        );
        partials.append(3, policy, Emitted::Own("c".into()));
        partials.end(3);
        assert_eq!(texts(partials.attach().map(Arc::unwrap_or_clone)), ["c"]);
        partials.snapshot(4, policy, Emitted::Own("half".into()));
        let attached = partials.attach().unwrap();
        assert_eq!(attached.snapshot(), Some(&Content::from("half")));
        assert_eq!(attached.contents(), []);
    }

    #[test]
    fn ended_attempts_leave_one_partial() {
        let policy = KeepPolicy::new();
        let mut partials = Partials::default();
        for attempt in 1..100 {
            partials.append(attempt, policy, Emitted::Own("x".into()));
            partials.end(attempt);
        }
        assert_eq!(partials.attempts().count(), 1);
    }

    #[test]
    fn attempts_that_run_keep_their_partials_when_another_ends() {
        let policy = KeepPolicy::new();
        let mut partials = Partials::default();
        for (attempt, item) in [(1, "a"), (2, "b"), (3, "c")] {
            partials.append(attempt, policy, Emitted::Own(item.into()));
        }
        assert_eq!(partials.end(1).len(), 1);
        partials.append(2, policy, Emitted::Own("d".into()));
        partials.append(3, policy, Emitted::Own("e".into()));
        assert_eq!(texts(partials.copy(2)), ["b", "d"]);
        assert_eq!(texts(partials.copy(3)), ["c", "e"]);
        assert_eq!(partials.end(2).len(), 1);
        assert_eq!(partials.end(3).len(), 0);
        assert_eq!(texts(partials.copy(1)), ["c", "e"]);
    }

    #[test]
    fn snapshot_alone_is_a_partial_and_an_empty_one_is_none() {
        let mut partials = Partials::default();
        assert_eq!(partials.attach(), None);
        partials.snapshot(1, KeepPolicy::new(), Emitted::Own("half".into()));
        partials.snapshot(1, KeepPolicy::new(), Emitted::Own("most".into()));
        assert_eq!(
            partials.attach().unwrap().snapshot(),
            Some(&Content::from("most"))
        );
    }
}
