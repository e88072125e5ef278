//! Metrics of calls, for the facade `metrics`.
//!
//! [`MetricsSink`] is a sink of an [`EventsLayer`](super::EventsLayer). It records what happens to
//! calls with the [recorder](::metrics::Recorder) of the program, such as an exporter for
//! Prometheus.
//!
//! ```
//! use metrics_util::debugging::DebuggingRecorder;
//! use serde_json::json;
//! use toolbooth::events::MetricsSink;
//! use toolbooth::{EventsLayer, ToolCall, tool_fn};
//! use tower::{ServiceBuilder, ServiceExt};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // An application installs the recorder of an exporter, and then creates the sink.
//! let recorder = DebuggingRecorder::new();
//! let snapshotter = recorder.snapshotter();
//! recorder.install()?;
//!
//! let search = ServiceBuilder::new()
//!     .layer(EventsLayer::new(MetricsSink::new()))
//!     .service(tool_fn("search", async |_: ()| Ok::<_, std::io::Error>("3 matches")));
//! search.oneshot(ToolCall::new("search", json!(null))).await?;
//!
//! let metrics = snapshotter.snapshot().into_vec();
//! let names: Vec<_> = metrics.iter().map(|(key, ..)| key.key().name()).collect();
//! assert!(names.contains(&"gen_ai.execute_tool.duration"));
//! # Ok(()) }
//! ```
//!
//! # Prometheus
//!
//! Of `metrics-exporter-prometheus`, a program uses:
//!
//! ```text
//! let mut exporter = PrometheusBuilder::new().with_recommended_naming(true);
//! for histogram in [EXECUTE_TOOL_DURATION, QUEUE_WAIT, LIMIT_OVERSHOOT, CLEANUP_DURATION] {
//!     let name = Matcher::Full(histogram.to_owned());
//!     exporter = exporter.set_buckets_for_metric(name, &DURATION_BUCKETS)?;
//! }
//! let handle = exporter.install_recorder()?; // `handle.render()` is the response of `/metrics`
//! ```
//!
//! The example `metrics_app` is a whole server.
//!
//! # Metrics
//!
//! | Name | Kind and unit | Labels | What it is |
//! |---|---|---|---|
//! | `gen_ai.execute_tool.duration` | histogram, s | `gen_ai.tool.name`, `error.type` | From the entry of a call to its last byte, waits included. By OpenTelemetry's conventions; their buckets are [`DURATION_BUCKETS`]. |
//! | `toolbooth.calls.invoked` | counter | | Calls that entered the events layer. |
//! | `toolbooth.calls.started` | counter | `gen_ai.tool.name` | Calls whose tool was called. The others were held back. |
//! | `toolbooth.calls.ended` | counter | `gen_ai.tool.name`, `toolbooth.outcome`, `error.type` | Calls that ended. The outcome is `completed`, `failed`, `timed_out`, `cancelled`, `rejected` or `panicked`. |
//! | `toolbooth.calls.in_flight` | gauge | `gen_ai.tool.name` | Calls between the start of their tool and their end, without waits for a retry. |
//! | `toolbooth.calls.attempts` | counter | `gen_ai.tool.name` | How often the tool was called. Needs a layer of toolbooth inside of the retry. |
//! | `toolbooth.calls.retries` | counter | `gen_ai.tool.name` | Attempts that follow a failed one. |
//! | `toolbooth.queue.length` | gauge | `toolbooth.layer.name`, `toolbooth.layer.kind` | Calls that wait in the queue of a layer. The kind is `concurrency` for permits, and `rate` for tokens. |
//! | `toolbooth.queue.wait` | histogram, s | `toolbooth.layer.name`, `toolbooth.layer.kind`, `toolbooth.result` | Waits. The result is `admitted`, or `ended` for a call that ended in the queue. A call that need not wait is not counted. |
//! | `toolbooth.limit.overshoot` | histogram, s | `toolbooth.layer.name`, `toolbooth.layer.kind` | From the expiry of a limit to the end of its call: the grace period, and the delay of the timer. |
//! | `toolbooth.limit.key_overflows` | counter | `toolbooth.layer.name`, `toolbooth.layer.kind` | How often a full table of keys made new keys share a limit. |
//! | `toolbooth.breaker.state` | gauge | `toolbooth.layer.name`, `toolbooth.layer.kind`, `toolbooth.breaker.state` | 1 for the state of the breaker and 0 for the others: `closed`, `open`, `half_open`, `disabled`. They appear with its first change. Of a breaker with keys, how many keys are `open` or `half_open`; the others are not counted. |
//! | `toolbooth.partial.items` | counter | `gen_ai.tool.name` | Items that tools published or streamed. |
//! | `toolbooth.partial.bytes` | counter, By | `gen_ai.tool.name` | Their bytes. |
//! | `toolbooth.cleanup.duration` | histogram, s | `gen_ai.tool.name`, `toolbooth.result` | Cleanup hooks. The result is `finished` or `failed`. |
//! | `toolbooth.cleanup.abandoned` | counter | `gen_ai.tool.name` | Cleanup hooks that did not run to their end. |
//! | `toolbooth.events.dropped` | counter | `toolbooth.channel.name` | Events that a [channel](MetricsSink::channel) dropped. |
//!
//! `error.type` is an [`ErrorKind`](toolbooth_core::ErrorKind), or the status of a response. A
//! success has no such label.
//!
//! The counts agree: once all calls have ended, `invoked` is the sum of `ended`, and the gauges of
//! calls and queues are 0. Changes of breakers and of limits belong to no call: a layer reports
//! them to the sink of its own `with_events`. Give such layers names of their own.
//!
//! # Labels are bounded
//!
//! No text that a client chooses becomes a label. A name of a tool does once a call of it has
//! started, so the name in a call that is rejected as unknown does not. Until then, and beyond
//! [1,000 names](MetricsSink::with_max_names), calls count as the tool `other`. The same bound
//! holds for the names of layers. A tool has at most 64 kinds of errors; others are `other`. Keys,
//! tenants and ids of calls are never labels.
//!
//! # Passes
//!
//! A call counts once for each pass through an events layer. Inside of a retry each attempt is a
//! pass. If the layer is outside, the call is one pass with several attempts. Two events layers
//! with clones of one sink count a call twice.
//!
//! # Cost
//!
//! The handles of a tool and of a layer are registered once. After that no event allocates. The
//! sink stores where each call in flight is, in about 200 bytes.

mod calls;
mod few;
mod layers;
mod names;
mod registrar;
mod table;
mod tools;

use std::fmt;
use std::sync::Arc;

use ::metrics::{Counter, Recorder};
use toolbooth_core::{Event, EventKind, EventSink, LayerName, LimitChange};

use self::calls::{Calls, Ends};
use self::layers::LayerMetrics;
use self::registrar::{Registrar, label};
use self::table::Table;
use self::tools::ToolMetrics;
use super::channel::{ChannelSink, EventReceiver, channel};

pub use self::names::{
    CLEANUP_DURATION, DURATION_BUCKETS, EXECUTE_TOOL_DURATION, LIMIT_OVERSHOOT, QUEUE_WAIT,
};

/// How many names of tools, and of layers, become labels by default.
pub const DEFAULT_MAX_NAMES: usize = 1_000;

/// Records metrics of calls. See the [module](self).
///
/// Clones share everything.
#[derive(Clone)]
pub struct MetricsSink(Arc<Shared>);

struct Shared {
    registrar: Registrar,
    invoked: Counter,
    tools: Table<ToolMetrics>,
    layers: Table<LayerMetrics>,
    calls: Calls,
}

// === impl MetricsSink ===

impl MetricsSink {
    /// Creates a sink that records with the recorder of the process, or of the thread.
    ///
    /// Install the recorder before: the sink registers metrics when they first occur, and never
    /// again.
    #[must_use]
    pub fn new() -> Self {
        Self::with(Registrar::global(), DEFAULT_MAX_NAMES)
    }

    /// Creates a sink that records with this recorder, which need not be installed.
    #[must_use]
    pub fn for_recorder(recorder: impl Recorder + Send + Sync + 'static) -> Self {
        Self::with(Registrar::of(recorder), DEFAULT_MAX_NAMES)
    }

    /// Sets how many names of tools, and of layers, become labels: 1,000 by default. The others
    /// share the label `other`.
    ///
    /// Call it before the sink is cloned.
    #[must_use]
    pub fn with_max_names(self, names: usize) -> Self {
        Self::with(self.0.registrar.clone(), names)
    }

    fn with(registrar: Registrar, max_names: usize) -> Self {
        registrar.with(names::describe);
        Self(Arc::new(Shared {
            invoked: registrar.counter(names::INVOKED, &[]),
            registrar,
            tools: Table::new(max_names),
            layers: Table::new(max_names),
            calls: Calls::new(),
        }))
    }

    /// Creates a [channel](channel()) that counts the events that it drops in the metric
    /// `toolbooth.events.dropped`, under this name.
    #[must_use]
    pub fn channel(&self, name: &str, capacity: usize) -> (ChannelSink, EventReceiver) {
        let Shared { registrar, .. } = &*self.0;
        registrar.with(names::describe_dropped);
        let dropped = registrar.counter(names::DROPPED, &[label(names::CHANNEL, name)]);
        let (sink, receiver) = channel(capacity);
        (sink.with_dropped_counter(dropped), receiver)
    }
}

/// As [`new`](Self::new).
impl Default for MetricsSink {
    fn default() -> Self {
        Self::new()
    }
}

impl EventSink for MetricsSink {
    fn on_event(&self, event: &Event) {
        let shared = &*self.0;
        match &event.kind {
            EventKind::Invoked { .. } => {
                shared.invoked.increment(1);
                shared.calls.enter(event);
            }
            EventKind::Queued { layer } => shared.queued(event, layer),
            EventKind::Admitted { layer, .. } => shared.admitted(event, layer),
            EventKind::Started => shared.started(event),
            EventKind::Retry { attempt, .. } => {
                shared.tool(event).retries.increment(1);
                shared.ended(event, shared.calls.retry(event, *attempt));
            }
            EventKind::Partial { bytes, .. } => {
                let tool = shared.tool(event);
                tool.items.increment(1);
                tool.bytes
                    .increment(u64::try_from(*bytes).unwrap_or(u64::MAX));
            }
            EventKind::CleanupFinished { took, .. } => {
                shared.tool(event).cleanup_finished.record(*took);
            }
            EventKind::CleanupFailed { took, .. } => {
                shared.tool(event).cleanup_failed.record(*took);
            }
            EventKind::CleanupAbandoned { hooks, .. } => {
                let hooks = u64::try_from(*hooks).unwrap_or(u64::MAX);
                shared.tool(event).cleanup_abandoned.increment(hooks);
            }
            EventKind::BreakerChanged {
                layer,
                key,
                from,
                to,
                ..
            } => {
                let layer = shared.layer(Some(layer));
                layer.change_state(&shared.registrar, key.is_some(), from, to);
            }
            EventKind::LimitChanged {
                layer,
                change: LimitChange::Overflow { .. },
            } => {
                let layer = shared.layer(Some(layer));
                layer.key_overflows(&shared.registrar).increment(1);
            }
            EventKind::TimedOut {
                layer,
                overshoot: Some(overshoot),
                ..
            } => {
                let layer = shared.layer(layer.as_ref());
                layer.overshoot(&shared.registrar).record(*overshoot);
                shared.terminal(event);
            }
            kind if kind.is_terminal() => shared.terminal(event),
            _ => {}
        }
    }

    fn identity(&self) -> Option<usize> {
        Some(Arc::as_ptr(&self.0).addr())
    }
}

impl fmt::Debug for MetricsSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MetricsSink")
            .field("tools", &self.0.tools.len())
            .field("layers", &self.0.layers.len())
            .finish_non_exhaustive()
    }
}

// === impl Shared ===

impl Shared {
    /// Returns the handles of the tool of an event, without making its name a label.
    fn tool(&self, event: &Event) -> Arc<ToolMetrics> {
        let known = self.tools.get(event.tool.as_deref().unwrap_or(""));
        known.unwrap_or_else(|| self.tools.other(|name| self.new_tool(name)))
    }

    fn new_tool(&self, name: &str) -> ToolMetrics {
        ToolMetrics::new(&self.registrar, name)
    }

    /// Returns the handles of a layer; without one, those of a layer that is not known.
    fn layer(&self, layer: Option<&LayerName>) -> Arc<LayerMetrics> {
        let name = layer.map_or(names::OTHER, LayerName::as_str);
        self.layers.get_or_insert(name, |name| {
            // Layers of several kinds share the other name.
            LayerMetrics::new(name, layer.filter(|_| name != names::OTHER))
        })
    }

    fn queued(&self, event: &Event, layer: &LayerName) {
        let layer = self.layer(Some(layer));
        if self.calls.wait(event, &layer) {
            layer.queue(&self.registrar).length.increment(1);
        }
    }

    fn admitted(&self, event: &Event, layer: &LayerName) {
        let layer = self.layer(Some(layer));
        if let Some(wait) = self.calls.admit(event, &layer) {
            let queue = layer.queue(&self.registrar);
            queue.length.decrement(1);
            queue.admitted.record(event.at.duration_since(wait.since));
        }
    }

    fn started(&self, event: &Event) {
        let name = event.tool.as_deref().unwrap_or(names::OTHER);
        let tool = self.tools.get_or_insert(name, |name| self.new_tool(name));
        tool.attempts.increment(1);
        let starts = self.calls.start(event, &tool);
        tool.started.increment(starts.first.into());
        tool.in_flight.increment(starts.running);
    }

    fn terminal(&self, event: &Event) {
        let Some(outcome) = event.kind.outcome() else {
            return;
        };
        let ends = self.calls.leave(event);
        let pass = ends.pass.as_ref();
        let took = pass.map(|pass| event.at.duration_since(pass.invoked_at));
        self.ended(event, ends);
        let error_type = event.kind.error_type();
        self.tool(event)
            .record_end(&self.registrar, outcome, error_type, took);
    }

    /// Takes what has ended out of the gauges.
    fn ended(&self, event: &Event, ends: Ends) {
        for tool in ends.running {
            tool.in_flight.decrement(1);
        }
        for wait in ends.waits {
            let queue = wait.layer.queue(&self.registrar);
            queue.length.decrement(1);
            queue.ended.record(event.at.duration_since(wait.since));
        }
    }
}
