//! A subscriber that records spans and events.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use tracing::dispatcher::{self, DefaultGuard};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use crate::undecided::keep_call_sites;

pub(crate) type Fields = BTreeMap<&'static str, String>;

/// The spans so far, in the order of their creation.
#[derive(Clone, Default)]
pub(crate) struct Recorded(Arc<Mutex<Vec<RecordedSpan>>>);

#[derive(Debug, Clone, Default)]
pub(crate) struct RecordedSpan {
    pub(crate) name: &'static str,
    /// The index of the parent.
    pub(crate) parent: Option<usize>,
    pub(crate) fields: Fields,
    pub(crate) events: Vec<(Level, Fields)>,
    /// How often the span was closed.
    pub(crate) closed: usize,
}

/// The index of a span, among its extensions.
struct Index(usize);

// === impl Recorded ===

impl Recorded {
    /// Records what this thread traces until the guard is dropped.
    pub(crate) fn start() -> (Self, DefaultGuard) {
        let (recorded, dispatch) = Self::new();
        (recorded, dispatcher::set_default(&dispatch))
    }

    pub(crate) fn new() -> (Self, Dispatch) {
        keep_call_sites();
        let recorded = Self::default();
        let subscriber = tracing_subscriber::registry().with(recorded.clone());
        (recorded, Dispatch::new(subscriber))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<RecordedSpan>> {
        self.0.lock().expect("no panic under it")
    }

    pub(crate) fn spans(&self) -> Vec<RecordedSpan> {
        self.lock().clone()
    }

    /// Returns the only span of a call, which is closed.
    pub(crate) fn only(&self) -> RecordedSpan {
        let spans = self.spans();
        let closed: Vec<_> = spans.iter().map(|span| span.closed).collect();
        assert_eq!(closed, [1], "{spans:#?}");
        spans[0].clone()
    }

    /// Returns each span with the name and the call of its parent.
    pub(crate) fn tree(&self) -> Vec<(String, Option<String>)> {
        let spans = self.spans();
        let label = |span: &RecordedSpan| match span.get("gen_ai.tool.call.id") {
            Some(id) => id.to_owned(),
            None => span.name.to_owned(),
        };
        let parent = |span: &RecordedSpan| Some(label(&spans[span.parent?]));
        spans
            .iter()
            .map(|span| (label(span), parent(span)))
            .collect()
    }

    /// Returns how many spans are open.
    pub(crate) fn open(&self) -> usize {
        self.lock().iter().filter(|span| span.closed == 0).count()
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Recorded {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let span = context.span(id).expect("a new span");
        let index = |span: tracing_subscriber::registry::SpanRef<'_, S>| {
            span.extensions().get::<Index>().map(|index| index.0)
        };
        let mut recorded = RecordedSpan {
            name: attributes.metadata().name(),
            parent: span.parent().and_then(index),
            ..RecordedSpan::default()
        };
        attributes.record(&mut Visitor(&mut recorded.fields));
        let mut spans = self.lock();
        span.extensions_mut().insert(Index(spans.len()));
        spans.push(recorded);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).expect("an open span");
        let index = span.extensions().get::<Index>().expect("inserted above").0;
        values.record(&mut Visitor(&mut self.lock()[index].fields));
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let Some(span) = context.event_span(event) else {
            return;
        };
        let index = span.extensions().get::<Index>().expect("inserted above").0;
        let mut fields = Fields::new();
        event.record(&mut Visitor(&mut fields));
        let event = (*event.metadata().level(), fields);
        self.lock()[index].events.push(event);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let span = context.span(&id).expect("still there");
        let index = span.extensions().get::<Index>().expect("inserted above").0;
        self.lock()[index].closed += 1;
    }
}

// === impl RecordedSpan ===

impl RecordedSpan {
    pub(crate) fn get(&self, field: &str) -> Option<&str> {
        self.fields.get(field).map(String::as_str)
    }

    /// Returns the messages of the events.
    pub(crate) fn messages(&self) -> Vec<&str> {
        let messages = self.events.iter().map(|(_, fields)| &*fields["message"]);
        messages.collect()
    }
}

struct Visitor<'a>(&'a mut Fields);

impl Visit for Visitor<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}
