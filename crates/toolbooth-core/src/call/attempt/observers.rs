//! The event sinks around a call.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::time::Instant;

use super::Attempt;
use crate::call::name::Name;
use crate::event::{Event, EventKind, EventSink, deliver};
use crate::response::{Content, Emitted};
use crate::seam::Item;

/// The sinks of the events layers of one attempt, the outermost first. Only appended to, so it is
/// read without a lock while the sinks run.
#[derive(Default)]
pub(super) struct Observers(OnceLock<Arc<Node>>);

struct Node {
    sink: Arc<dyn EventSink>,
    /// The depth of the events layer.
    depth: u32,
    /// Whether an events layer outside has the same sink, which receives each event once.
    repeats: bool,
    /// Whether the first item was reported.
    has_item: AtomicBool,
    next: Observers,
}

/// An item to report.
struct Partial<'a> {
    bytes: usize,
    content: Option<&'a Content>,
    /// The same, if it is shared.
    shared: Option<&'a Arc<Content>>,
}

/// Reports what happens after the call has ended to the sinks that observed it.
///
/// Made by [`Part::reporter`](crate::Part::reporter).
#[derive(Clone)]
pub struct Reporter {
    call: Identity,
    sinks: Vec<Arc<dyn EventSink>>,
}

/// The call in each of its events.
#[derive(Clone)]
struct Identity {
    id: Name,
    serial: u64,
    tool: Name,
    attempt: u32,
}

// === impl Attempt ===

impl Attempt {
    /// Registers the sink of the events layer at `depth` for what happens inside.
    pub(crate) fn observe(&self, sink: &Arc<dyn EventSink>, depth: u32) {
        let mut repeats = false;
        self.each_observer(depth, &mut |_, node| repeats |= is_same(&node.sink, sink));
        self.observers.append(Arc::new(Node {
            sink: Arc::clone(sink),
            depth,
            repeats,
            has_item: AtomicBool::new(false),
            next: Observers::none(),
        }));
        self.is_observed.store(true, Ordering::Release);
    }

    /// Returns whether there is a sink.
    #[inline(always)]
    pub(crate) fn is_observed(&self) -> bool {
        self.is_observed.load(Ordering::Acquire)
    }

    /// Reports an event to the sinks of the events layers outside of `depth` that have not ended.
    #[inline(always)]
    pub(crate) fn report_event(&self, depth: u32, kind: impl FnOnce() -> EventKind) {
        if self.is_observed() {
            self.report_observed(depth, kind());
        }
    }

    #[cold]
    fn report_observed(&self, depth: u32, kind: EventKind) {
        let event = self.event(kind);
        self.each_observer(depth, &mut |attempt, node| {
            // What runs on another thread may report after the end of the call.
            let has_ended = attempt.ended_outside(node.depth + 1).is_some();
            if !node.repeats && !has_ended {
                deliver(&*node.sink, &event);
            }
        });
    }

    /// Reports an event to one sink alone.
    pub(crate) fn report_to(&self, sink: &dyn EventSink, kind: EventKind) {
        deliver(sink, &self.event(kind));
    }

    /// Records whether a layer waits for an inner service that is not ready.
    pub(crate) fn set_unready(&self, is_unready: bool) {
        self.is_unready.store(is_unready, Ordering::Release);
    }

    /// Returns whether the layer at `depth` reports the start: a later attempt may have no events
    /// layer inside that does.
    #[inline]
    pub(crate) fn reports_start(&self, depth: u32) -> bool {
        depth == 1 && self.is_observed() && self.link().is_some()
    }

    /// Reports once that the tool was called, after a layer has called its inner service and that
    /// has called its own. Unless one of them holds the call back, the last one is the tool.
    pub(crate) fn report_started(&self) {
        let waits = self.is_unready.load(Ordering::Acquire) || self.is_latest_held_back();
        if !waits && !self.has_reported_start.swap(true, Ordering::AcqRel) {
            self.report_observed(u32::MAX, EventKind::Started);
        }
    }

    /// Reports activity of the tool, unless the attempt is over.
    #[inline]
    pub(in crate::call) fn report_activity(&self, kind: impl FnOnce() -> EventKind) {
        if self.is_observed() && !self.is_over() {
            self.report_started();
            self.report_observed(u32::MAX, kind());
        }
    }

    /// Reports an item that the tool has published, unless the attempt is over.
    pub(super) fn report_published(&self, content: &Emitted) {
        if self.is_observed() && !self.is_over() {
            let partial = Partial::emitted(content);
            self.report_started();
            self.each_observer(u32::MAX, &mut |_, node| node.report_item(self, &partial));
        }
    }

    /// Returns whether a sink receives contents.
    pub(super) fn reports_contents(&self) -> bool {
        let mut reports = false;
        self.each_sink(u32::MAX, &mut |sink| reports |= sink.wants_contents());
        reports
    }

    /// Reports an item of a streaming response to the events layer at `depth`.
    pub(crate) fn report_streamed(&self, depth: u32, item: Item<'_>) {
        let Some(partial) = Partial::of(item) else {
            return;
        };
        let own = self.observers.iter().filter(|node| node.depth == depth);
        own.for_each(|node| node.report_item(self, &partial));
    }

    /// Returns what reports for this attempt after its end; `None` without a sink.
    #[inline]
    pub(crate) fn reporter(&self, depth: u32) -> Option<Reporter> {
        match self.is_observed() {
            true => Some(self.new_reporter(depth)),
            false => None,
        }
    }

    #[cold]
    fn new_reporter(&self, depth: u32) -> Reporter {
        let mut sinks = Vec::new();
        self.each_sink(depth, &mut |sink| sinks.push(Arc::clone(sink)));
        Reporter {
            call: self.identity(),
            sinks,
        }
    }

    /// Calls `each` with the sinks outside of `depth`, each sink once.
    fn each_sink(&self, depth: u32, each: &mut dyn FnMut(&Arc<dyn EventSink>)) {
        self.each_observer(depth, &mut |_, node| {
            if !node.repeats {
                each(&node.sink);
            }
        });
    }

    /// Calls `each` with the events layers outside of `depth` and their attempts, those of this
    /// attempt first.
    fn each_observer(&self, depth: u32, each: &mut dyn FnMut(&Self, &Node)) {
        let around = self.observers.iter().filter(|node| node.depth < depth);
        around.for_each(|node| each(self, node));
        if let Some(link) = self.link() {
            link.attempt.each_observer(link.depth + 1, each);
        }
    }

    /// Returns whether a call made this one, or an events layer outside of `depth` has a span.
    pub(crate) fn is_nested(&self, depth: u32) -> bool {
        let mut is_nested = self.settings.parent().is_some();
        self.each_observer(depth, &mut |_, node| {
            is_nested |= node.sink.span().is_some();
        });
        is_nested
    }

    /// Returns the id and the number of the call that made this one.
    pub(crate) fn parent_identity(&self) -> Option<(Name, u64)> {
        let link = self.settings.parent()?.inside.as_ref()?;
        Some((link.attempt.id(), link.attempt.serial()))
    }

    fn event(&self, kind: EventKind) -> Event {
        self.identity().event(self.now().instant(), kind)
    }

    fn identity(&self) -> Identity {
        Identity {
            id: self.id(),
            serial: self.serial(),
            tool: self.settings.tool.clone(),
            attempt: self.number(),
        }
    }
}

/// Returns whether both are one sink, or clones of one.
fn is_same(one: &Arc<dyn EventSink>, other: &Arc<dyn EventSink>) -> bool {
    let identity = one.identity();
    Arc::ptr_eq(one, other) || identity.is_some() && identity == other.identity()
}

// === impl Observers ===

impl Observers {
    pub(super) const fn none() -> Self {
        Self(OnceLock::new())
    }

    fn iter(&self) -> impl Iterator<Item = &Node> {
        let first = self.0.get();
        std::iter::successors(first, |node| node.next.0.get()).map(|node| &**node)
    }

    fn append(&self, mut node: Arc<Node>) {
        let mut end = self;
        // Another layer may append at the same time, where an inner service runs on a task.
        while let Err(rejected) = end.0.set(node) {
            node = rejected;
            let Some(taken) = end.0.get() else { return };
            end = &taken.next;
        }
    }
}

impl std::fmt::Debug for Observers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let depths = self.iter().map(|node| node.depth);
        f.debug_list().entries(depths).finish()
    }
}

// === impl Node ===

impl Node {
    fn report_item(&self, attempt: &Attempt, item: &Partial<'_>) {
        if self.repeats {
            return;
        }
        if !self.has_item.swap(true, Ordering::AcqRel) {
            attempt.report_to(&*self.sink, EventKind::FirstItem);
        }
        let content = match self.sink.wants_contents() {
            true => item.share(),
            false => None,
        };
        let partial = EventKind::Partial {
            bytes: item.bytes,
            content,
        };
        attempt.report_to(&*self.sink, partial);
    }
}

// === impl Partial ===

impl<'a> Partial<'a> {
    fn emitted(content: &'a Emitted) -> Self {
        let shared = match content {
            Emitted::Own(_) => None,
            Emitted::Shared(content) => Some(content),
        };
        Self {
            bytes: content.size(),
            content: Some(content),
            shared,
        }
    }

    /// Returns `None` for what is no item, such as trailers.
    fn of(item: Item<'a>) -> Option<Self> {
        let (bytes, content) = match item {
            Item::Content(content) => (content.size(), Some(content)),
            Item::Frame(bytes) => (bytes, None),
            #[cfg(feature = "http")]
            Item::Trailers(_) => return None,
        };
        Some(Self {
            bytes,
            content,
            shared: None,
        })
    }

    /// Returns the content for an event: a copy, unless it is shared.
    fn share(&self) -> Option<Arc<Content>> {
        let copy = || self.content.cloned().map(Arc::new);
        self.shared.cloned().or_else(copy)
    }
}

// === impl Reporter ===

impl Reporter {
    /// Reports an event of the call, now.
    pub fn report(&self, kind: EventKind) {
        let event = self.call.clone().event(Instant::now(), kind);
        for sink in &self.sinks {
            deliver(&**sink, &event);
        }
    }
}

impl std::fmt::Debug for Reporter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reporter")
            .field("call", &self.call.id)
            .field("sinks", &self.sinks.len())
            .finish()
    }
}

// === impl Identity ===

impl Identity {
    fn event(self, at: Instant, kind: EventKind) -> Event {
        Event {
            call_id: Some(self.id),
            serial: self.serial,
            tool: Some(self.tool),
            attempt: self.attempt,
            at,
            kind,
        }
    }
}
