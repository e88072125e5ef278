//! Records the events of calls.

mod bounds;
mod entry;
mod table;
mod text;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use tokio::time::Instant;
use toolbooth_core::{Event, EventSink, Name};

use self::table::Table;
use self::text::Texts;
use crate::record::Timeline;

/// Records the phases of calls, as a sink of an events layer. See the [crate](crate).
///
/// Clones share the records. Create it before the first call: its creation is the origin of the
/// times.
///
/// # Which calls
/// A call is recorded if it passes an events layer with this sink, its attempts and nested events
/// layers as one record. The records of the calls that it makes refer to it, if these pass an
/// events layer as well.
///
/// With a clone of the recorder in an events layer inside of a retry, each attempt is counted.
///
/// # Panics
/// Never. A panic in another sink does not touch it.
#[derive(Clone)]
pub struct Recorder {
    settings: Settings,
    shared: Arc<Shared>,
}

#[derive(Clone)]
struct Settings {
    capacity: usize,
    contents: bool,
    stacks: Arc<BTreeMap<Name, Arc<str>>>,
}

struct Shared {
    origin: Instant,
    wall_origin: SystemTime,
    table: Mutex<Table>,
}

/// The number of calls that a recorder keeps by default.
const DEFAULT_CAPACITY: usize = 10_000;

// === impl Recorder ===

impl Recorder {
    /// Creates a recorder of 10,000 calls, without contents.
    #[must_use]
    pub fn new() -> Self {
        Self {
            settings: Settings {
                capacity: DEFAULT_CAPACITY,
                contents: false,
                stacks: Arc::default(),
            },
            shared: Arc::new(Shared {
                origin: Instant::now(),
                wall_origin: SystemTime::now(),
                table: Mutex::default(),
            }),
        }
    }

    /// Sets how many calls the recorder keeps, at least 1. 10,000 by default.
    ///
    /// When it is full, the call that ended first is [dropped](Timeline::dropped). A running call
    /// is never dropped: a call that finds only running ones is
    /// [not recorded](Timeline::unrecorded).
    #[must_use]
    pub fn with_capacity(mut self, calls: usize) -> Self {
        self.settings.capacity = calls.max(1);
        self
    }

    /// Keeps contents: items, responses and the texts of errors, up to 16 KiB of each call.
    ///
    /// By default a recorder keeps names, sizes and times only.
    #[must_use]
    pub const fn with_contents(mut self) -> Self {
        self.settings.contents = true;
        self
    }

    /// Sets the text that describes the layers and limits of a tool, such as the `Display` of its
    /// policies. It is shown in the details of the tool's calls.
    #[must_use]
    pub fn with_stack(mut self, tool: impl Into<Name>, text: impl Into<String>) -> Self {
        let stacks = Arc::make_mut(&mut self.settings.stacks);
        stacks.insert(tool.into(), text.into().into());
        self
    }

    /// Returns the calls that the recorder keeps.
    #[must_use]
    pub fn snapshot(&self) -> Timeline {
        self.changes_since(0)
    }

    /// Returns the calls that have changed since a [version](Timeline::version): of a snapshot
    /// before this one, or 0 for all calls.
    #[must_use]
    pub fn changes_since(&self, version: u64) -> Timeline {
        self.changes(version, usize::MAX)
    }

    /// Returns the first calls that have changed since a version, at most `max`. The version of
    /// the timeline is that of the last one, if there are more.
    pub(crate) fn changes(&self, version: u64, max: usize) -> Timeline {
        // Handles alone are copied under the lock.
        let (mut entries, counts, recorded) = {
            let table = self.shared.lock();
            let (entries, counts) = table.changed_since(version);
            (entries, counts, table.len())
        };
        // After the events, none of which is later.
        let now = self.shared.origin.elapsed();
        let mut version = counts.version;
        if entries.len() > max {
            entries.sort_by_key(|entry| entry.version());
            entries.truncate(max);
            version = entries.last().map_or(version, |entry| entry.version());
        }
        entries.sort_by_key(|entry| (entry.start(), entry.arrival));
        Timeline {
            calls: entries.iter().map(|entry| entry.to_record()).collect(),
            origin: self.shared.wall_origin,
            now,
            recorded,
            dropped: counts.dropped,
            unrecorded: counts.unrecorded,
            has_contents: self.settings.contents,
            stacks: self.settings.stacks.as_ref().clone(),
            version,
        }
    }
}

/// As [`new`](Self::new).
impl Default for Recorder {
    fn default() -> Self {
        Self::new()
    }
}

impl EventSink for Recorder {
    fn on_event(&self, event: &Event) {
        let at = event.at.saturating_duration_since(self.shared.origin);
        let texts = match self.settings.contents {
            true => Texts::of(&event.kind),
            false => Texts::default(),
        };
        let evicted = {
            let mut table = self.shared.lock();
            table.apply(event, texts, at, self.settings.capacity)
        };
        // Not under the lock: its memory is released.
        drop(evicted);
    }

    fn wants_contents(&self) -> bool {
        self.settings.contents
    }

    fn identity(&self) -> Option<usize> {
        Some(Arc::as_ptr(&self.shared).addr())
    }
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder")
            .field("capacity", &self.settings.capacity)
            .field("contents", &self.settings.contents)
            .field("calls", &self.shared.lock().len())
            .finish_non_exhaustive()
    }
}

// === impl Shared ===

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Table> {
        // Each change is complete before anything that may panic.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
