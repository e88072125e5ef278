//! Makes a `tracing` span of each call.

mod bounded;
mod call_span;
mod names;
mod report;
mod waits;

use std::fmt;
use std::sync::Arc;

use toolbooth_core::{Event, EventSink, Part, TraceContext};
use tracing::field::Empty;
use tracing::level_filters::LevelFilter;
use tracing::{Level, Span};

use self::call_span::CallSpan;

/// Makes a `tracing` span of each pass of a call through an [`EventsLayer`](super::EventsLayer),
/// by OpenTelemetry's conventions for generative AI.
///
/// The layer enters the span whenever it calls, polls or drops its inner service or a streaming
/// response. So the spans of a tool, and of the calls that it makes, are children. The span
/// follows to [`spawn`](crate::CallContext::spawn),
/// [`spawn_blocking`](crate::CallContext::spawn_blocking), the task of a
/// [`SpawnLayer`](crate::SpawnLayer), the tasks of programs, and cleanup hooks. It closes when the
/// call and all of these have ended. Task-locals are not carried.
///
/// # Fields
/// The span has the name `execute_tool`, the level `INFO` and the target `toolbooth::call`. Times
/// are in seconds. Names have at most 256 bytes; control characters in them are replaced.
///
/// | Field | Value |
/// |---|---|
/// | `otel.name`, `otel.kind` | `execute_tool` and the name of the tool, `internal` |
/// | `gen_ai.operation.name` | `execute_tool` |
/// | `gen_ai.tool.name`, `gen_ai.tool.call.id` | the name of the tool, the id of the call |
/// | `gen_ai.tool.type`, `gen_ai.tool.description` | `function`, and the first 1,024 bytes of the description, of a [known](Self::with_specs) tool |
/// | `gen_ai.tool.call.arguments`, `gen_ai.tool.call.result` | only [`with_contents`](Self::with_contents) |
/// | `toolbooth.attempt`, `toolbooth.tenant` | the number of the attempt, the tenant |
/// | `toolbooth.wait.concurrency`, `toolbooth.wait.rate`, `toolbooth.wait.total` | how long the call waited in queues: of concurrency limits, of rate limits, of all layers. At the end |
/// | `toolbooth.duration` | the time from the call to its terminal event, without cleanup |
/// | `toolbooth.outcome` | the [outcome](crate::Outcome) |
/// | `error.type`, `otel.status_code` | [`EventKind::error_type`](crate::EventKind::error_type) and `ERROR`, if the call did not succeed |
/// | `trace_id`, `parent_span_id` | of the [`TraceContext`], if it is the parent |
///
/// # Events
/// Each event becomes an event of `tracing` in the span, with its stable name as the message:
///
/// | Level | Events |
/// |---|---|
/// | `ERROR` | `tool.panicked` |
/// | `WARN` | `tool.failed`, `tool.timed_out`, `cleanup.failed`, `cleanup.abandoned`, a breaker that opens |
/// | `INFO` | `tool.retry`, `tool.rejected`, `tool.cancelled`, `tool.completed` of an error, other changes of a breaker, changes of limits |
/// | `DEBUG` | `tool.queued`, `tool.admitted`, `tool.started`, `tool.expired`, `tool.first_item`, `tool.progress`, `tool.completed`, `cleanup.started`, `cleanup.finished` |
/// | `TRACE` | `tool.partial`, `tool.heartbeat` |
///
/// Where the span is disabled, by a filter or without a subscriber, an event has the fields `tool`
/// and `call_id` instead. So have those of cleanup after the end of the call.
///
/// # Parents
/// The parent is the span that is current when the call is made. A [`TraceContext`] of a call that
/// no other call made goes to the hook of [`with_parent`](Self::with_parent).
///
/// # Cost
/// Two allocations and a lock of its own for each call, and what the subscriber does.
///
/// ```
/// use serde_json::json;
/// use toolbooth::events::{EventsLayer, TracingSink};
/// use toolbooth::{ToolCall, tool_fn};
/// use tower::{ServiceBuilder, ServiceExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), toolbooth::BoxError> {
/// tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).try_init()?;
///
/// let search = ServiceBuilder::new()
///     .layer(EventsLayer::new(TracingSink::new()))
///     .service(tool_fn("search", async |pattern: String| {
///         tracing::info!("in the span of the call");
///         Ok::<_, std::io::Error>(pattern.len().to_string())
///     }));
/// search.oneshot(ToolCall::new("search", json!("TODO"))).await?;
/// # Ok(()) }
/// ```
#[derive(Clone, Default)]
pub struct TracingSink {
    contents: bool,
    describe: Option<Arc<Describe>>,
    set_parent: Option<Arc<SetParent>>,
}

/// Returns the description of a tool that is known.
type Describe = dyn Fn(&str) -> Option<String> + Send + Sync;

type SetParent = dyn Fn(&Span, &TraceContext) + Send + Sync;

/// The maximum length of a description in a field.
#[cfg(feature = "toolbox")]
const MAX_DESCRIPTION: usize = 1_024;

// === impl TracingSink ===

impl TracingSink {
    /// Creates a sink whose spans have no contents.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds the arguments and the results of calls, which may be secret.
    ///
    /// Arguments are JSON, the result of a buffered response is text. The span of a call that fails
    /// has its error with the causes, as `otel.status_description`. Each has at most 8 KiB; what
    /// follows is replaced by `…`. An event `tool.partial` has its item, bounded the same.
    /// Arguments of a type other than `serde_json::Value` are not known.
    #[must_use]
    pub fn with_contents(mut self) -> Self {
        self.contents = true;
        self
    }

    /// Sets the function that returns the spec of a tool by its name, such as that of a toolbox.
    ///
    /// A layer inside of a toolbox must not own the toolbox, which owns the layer: pass a map of
    /// its [`specs`](crate::Toolbox::specs) there.
    ///
    /// ```
    /// use toolbooth::events::{EventsLayer, TracingSink};
    /// use toolbooth::{ToolSpec, Toolbox, tool_fn};
    /// use tower::Layer;
    ///
    /// let spec = ToolSpec::new("search").with_description("Finds files by a pattern");
    /// let search = tool_fn("search", async |_: ()| Ok::<_, std::io::Error>("3 matches"));
    /// let toolbox = Toolbox::builder().tool(spec, search).build()?;
    ///
    /// let tools = toolbox.clone();
    /// let sink = TracingSink::new().with_specs(move |name| Some(tools.get(name)?.spec().clone()));
    /// let toolbox = EventsLayer::new(sink).layer(toolbox);
    /// # let _ = toolbox;
    /// # Ok::<_, toolbooth::BoxError>(())
    /// ```
    #[cfg(feature = "toolbox")]
    #[must_use]
    pub fn with_specs<F>(mut self, spec: F) -> Self
    where
        F: Fn(&str) -> Option<crate::ToolSpec> + Send + Sync + 'static,
    {
        self.describe = Some(Arc::new(move |name| {
            let spec = spec(name)?;
            let description = spec.description().unwrap_or_default();
            Some(bounded::text(description, MAX_DESCRIPTION).into_owned())
        }));
        self
    }

    /// Sets the hook that makes a [`TraceContext`] the parent of a new span.
    ///
    /// `tracing` has no parents in other processes, so this needs the bridge to OpenTelemetry. The
    /// hook is called once for each call that has a trace context, attached or from its headers,
    /// right after the span is created. It is not called for a call that another call made, nor
    /// for a pass inside of another span of the call: these nest in the current span. If the
    /// server already has a span with that parent, omit the hook.
    ///
    /// With `tracing-opentelemetry` and `opentelemetry`:
    ///
    /// ```text
    /// let sink = TracingSink::new().with_parent(|span, trace| {
    ///     let parent = SpanContext::new(
    ///         trace.trace_id().into(),
    ///         trace.parent_id().into(),
    ///         TraceFlags::new(trace.flags()),
    ///         true,
    ///         trace.tracestate().parse().unwrap_or_default(),
    ///     );
    ///     let parent = Context::new().with_remote_span_context(parent);
    ///     let _ = OpenTelemetrySpanExt::set_parent(span, parent);
    /// });
    /// ```
    ///
    /// The example `otlp` does this in a whole program.
    #[must_use]
    pub fn with_parent<F>(mut self, set_parent: F) -> Self
    where
        F: Fn(&Span, &TraceContext) + Send + Sync + 'static,
    {
        self.set_parent = Some(Arc::new(set_parent));
        self
    }

    fn new_span(&self, part: &Part) -> Span {
        let call = part.context();
        let tool = bounded::name(call.tool());
        let id = call.id();
        let id = bounded::name(&id);
        let tenant = call.tenant().map(bounded::name);
        let description = self.describe.as_ref().and_then(|describe| describe(&tool));
        let trace = call.extension::<TraceContext>();
        let trace = trace.filter(|_| !part.is_nested());
        let trace_id = trace.map(|trace| format!("{:032x}", trace.trace_id()));
        let parent_id = trace.map(|trace| format!("{:016x}", trace.parent_id()));
        let span = tracing::span!(
            target: names::TARGET,
            Level::INFO,
            "execute_tool",
            { names::OTEL_NAME } = display(format_args!("execute_tool {tool}")),
            { names::OTEL_KIND } = "internal",
            { names::OTEL_STATUS } = Empty,
            { names::OTEL_DESCRIPTION } = Empty,
            { names::OPERATION } = "execute_tool",
            { names::TOOL } = &*tool,
            { names::TOOL_TYPE } = description.as_ref().map(|_| "function"),
            { names::DESCRIPTION } = description.as_deref().filter(|text| !text.is_empty()),
            { names::CALL_ID } = &*id,
            { names::ARGUMENTS } = Empty,
            { names::RESULT } = Empty,
            { names::ERROR_TYPE } = Empty,
            { names::ATTEMPT } = call.attempt(),
            { names::TENANT } = tenant.as_deref(),
            { names::OUTCOME } = Empty,
            { names::DURATION } = Empty,
            { names::WAIT_TOTAL } = Empty,
            { names::WAIT_CONCURRENCY } = Empty,
            { names::WAIT_RATE } = Empty,
            { names::TRACE_ID } = trace_id,
            { names::PARENT_SPAN_ID } = parent_id,
        );
        if let (Some(set_parent), Some(trace), false) =
            (&self.set_parent, trace, span.is_disabled())
        {
            set_parent(&span, trace);
        }
        span
    }
}

impl EventSink for TracingSink {
    /// Handles an event that has no span: of a layer, or of a call whose span is disabled.
    fn on_event(&self, event: &Event) {
        report::report(event, None);
    }

    fn wants_contents(&self) -> bool {
        self.contents
    }

    fn for_call(&self, part: &Part) -> Option<Arc<dyn EventSink>> {
        if LevelFilter::current() < Level::INFO {
            return None;
        }
        let span = self.new_span(part);
        match span.is_disabled() {
            true => None,
            false => Some(Arc::new(CallSpan::new(span, self.contents))),
        }
    }
}

impl fmt::Debug for TracingSink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TracingSink")
            .field("contents", &self.contents)
            .finish_non_exhaustive()
    }
}
