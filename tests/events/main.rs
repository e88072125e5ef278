//! The events of a call in every order of the five layers, with the events layer in every position,
//! for every way in which a call ends; and between layers of tower.
//!
//! The names of the events are compared as a whole. Each pass through the layer has one
//! `tool.invoked` and one terminal event, whose outcome is that of the call.

#![expect(clippy::panic, reason = "tools of these tests panic")]

mod calls;
mod foreign;
mod queues;
mod retries;
mod streams;

use std::collections::BTreeMap;
use std::fmt;

use tokio::time::sleep;
use toolbooth::{Event, EventKind, EventsLayer, Outcome, ToolCall, ToolError, ToolOutput};
use toolbooth_test::{BoxTool, Recorder, boxed, call, ms};
use toolbooth_tests::{Kind, Layers};
use tower::{Layer, Service, ServiceExt};

/// An order of the five layers, and the number of layers that are outside of the events layer.
#[derive(Clone, Copy)]
struct Setup {
    order: [Kind; 5],
    outside: usize,
}

/// A stack of a setup, and what its events layer has delivered.
struct Stack {
    setup: Setup,
    tool: BoxTool,
    events: Recorder<Event>,
}

/// All orders of the five layers, with the events layer in each of the six positions.
fn setups() -> impl Iterator<Item = Setup> {
    let orders = Kind::orders();
    assert_eq!(orders.len(), 120);
    orders
        .into_iter()
        .flat_map(|order| (0..=order.len()).map(move |outside| Setup { order, outside }))
}

const INVOKED: &str = "tool.invoked";
const STARTED: &str = "tool.started";

// === impl Setup ===

impl Setup {
    /// Whether the layer is inside of the events layer.
    fn has_inside(&self, kind: Kind) -> bool {
        self.position(kind) >= self.outside
    }

    /// The number of layers that are outside of this one.
    fn position(&self, kind: Kind) -> usize {
        let mut order = self.order.iter();
        order.position(|other| *other == kind).expect("it is there")
    }

    fn stack(self, layers: &Layers, tool: impl Into<Tool>) -> Stack {
        let events = Recorder::new();
        let layer = EventsLayer::new(events.sink());
        let (outer, inner) = self.order.split_at(self.outside);
        let inside = layers.stack(inner, tool.into().0);
        Stack {
            setup: self,
            tool: layers.stack(outer, boxed(layer.layer(inside))),
            events,
        }
    }
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (outer, inner) = self.order.split_at(self.outside);
        write!(f, "{outer:?}, events, {inner:?}")
    }
}

/// A tool with its type erased.
struct Tool(BoxTool);

impl<S> From<S> for Tool
where
    S: Service<ToolCall, Response = ToolOutput> + Clone + Send + Sync + 'static,
    S::Error: Into<toolbooth::BoxError> + 'static,
    S::Future: Send + 'static,
{
    fn from(tool: S) -> Self {
        Self(boxed(tool))
    }
}

// === impl Stack ===

impl Stack {
    /// Makes a call and reads its response. Returns the outcome of its error, if there is one.
    async fn run(&self, call: ToolCall) -> Outcome {
        match read(self.tool.clone(), call).await {
            Ok(()) => Outcome::Completed,
            Err(error) => error.outcome(),
        }
    }

    /// Asserts the names of all events. A pass that reached the layer ends with `terminal`, of this
    /// outcome.
    #[track_caller]
    fn assert_events(&self, expected: &[&str], outcome: Outcome) {
        assert_eq!(self.events.names(), expected, "{:?}", self.setup);
        self.assert_passes();
        if !expected.is_empty() {
            assert_eq!(self.terminal().outcome(), Some(outcome), "{:?}", self.setup);
        }
    }

    /// Asserts that each pass has one first and one terminal event, in this order.
    #[track_caller]
    fn assert_passes(&self) {
        let mut passes = BTreeMap::<_, Vec<_>>::new();
        for event in self.events.values() {
            let end = match event.kind {
                EventKind::Invoked { .. } => "first",
                kind if kind.is_terminal() => "terminal",
                _ => continue,
            };
            let pass = passes.entry((event.serial, event.attempt)).or_default();
            pass.push(end);
        }
        for pass in passes.values() {
            assert_eq!(pass, &["first", "terminal"], "{:?}", self.setup);
        }
    }

    /// The last terminal event.
    #[track_caller]
    fn terminal(&self) -> EventKind {
        let kinds = self.events.values().into_iter().map(|event| event.kind);
        let last = kinds.filter(EventKind::is_terminal).last();
        last.unwrap_or_else(|| panic!("no terminal event in {:?}", self.setup))
    }
}

async fn read(tool: BoxTool, call: ToolCall) -> Result<(), ToolError> {
    tool.oneshot(call).await?.collect().await.map(drop)
}
