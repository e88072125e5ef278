use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use toolbooth_core::{LayerName, Name, ToolError};
use tower_layer::Layer;

#[cfg(feature = "policy")]
use super::events::StackEvents;
use super::gate::{DEFAULT_GATE_LIMIT, Denied, Gate, GateRequest};
use super::shared::{Settings, Shared, ToolLayer, Version};
use super::stacks::AddStacks;
use super::tool::ToolService;
use super::{Tool, ToolSpec, Toolbox, ToolboxError, ToolboxFault};
#[cfg(feature = "policy")]
use crate::shared::SharedStore;
use crate::{PerTool, TimeoutLayer};

/// Builds a [`Toolbox`]. Made by [`Toolbox::builder`].
#[must_use = "a builder does nothing until `build`"]
pub struct ToolboxBuilder {
    tools: Vec<(ToolSpec, ToolService)>,
    timeout: Option<PerTool<Duration>>,
    stacks: Option<AddStacks>,
    #[cfg(feature = "policy")]
    events: Vec<Box<dyn crate::EventSink>>,
    #[cfg(feature = "policy")]
    store: Option<(SharedStore, Name)>,
    settings: Settings,
}

// === impl ToolboxBuilder ===

impl ToolboxBuilder {
    pub(super) fn new() -> Self {
        Self {
            tools: Vec::new(),
            timeout: None,
            stacks: None,
            #[cfg(feature = "policy")]
            events: Vec::new(),
            #[cfg(feature = "policy")]
            store: None,
            settings: Settings {
                name: LayerName::new("toolbox"),
                layers: Vec::new(),
                gate: None,
                gate_name: LayerName::new("gate"),
                gate_limit: PerTool::new(DEFAULT_GATE_LIMIT),
                idempotent: PerTool::none(),
                unknown: None,
                #[cfg(feature = "validate")]
                validates: false,
            },
        }
    }

    /// Adds a tool. For layers around this tool alone, pass the stack as `tool`.
    ///
    /// A name suffices as `spec`.
    pub fn tool(mut self, spec: impl Into<ToolSpec>, tool: impl Tool) -> Self {
        self.tools.push((spec.into(), ToolService::new(tool)));
        self
    }

    /// Adds a layer around each tool, also around tools that are inserted later. The first one is
    /// the outermost.
    ///
    /// A limit is shared by all tools, unless it is one for each tool, as of
    /// [`ConcurrencyLimitLayer::per_tool`](crate::ConcurrencyLimitLayer::per_tool). Each layer that
    /// is added here allocates once for a call. A `tower::ServiceBuilder` with several layers is
    /// one layer.
    pub fn layer<L>(mut self, layer: L) -> Self
    where
        L: Layer<ToolService> + Send + Sync + 'static,
        L::Service: Tool,
    {
        self.settings.layers.push(erased(layer));
        self
    }

    /// Limits the time of each call: a [`TimeoutLayer`] around the layers of each tool.
    ///
    /// By default there is no limit. The wait for the gate does not count.
    pub fn with_timeout(mut self, limits: impl Into<PerTool<Duration>>) -> Self {
        self.timeout = Some(limits.into());
        self
    }

    /// Sets whether tools are idempotent, instead of their
    /// [annotations](super::ToolAnnotations::is_idempotent).
    ///
    /// The setting of a call, and that of a retry policy, take precedence.
    pub fn with_idempotent(mut self, idempotent: impl Into<PerTool<bool>>) -> Self {
        self.settings.idempotent = idempotent.into();
        self
    }

    /// Checks the arguments of each call against the input schema of its tool, before the gate.
    ///
    /// By default the tool alone checks its arguments. Arguments that do not match, or nest deeper
    /// than [`MAX_JSON_DEPTH`](crate::MAX_JSON_DEPTH), fail the call with
    /// [`InvalidArguments`](crate::ToolError::InvalidArguments). The error has the path, and quotes
    /// no values. A text of JSON stands for its value, as for [`tool_fn`](crate::tool_fn), but a
    /// [lenient](crate::handler::ToolFn::with_lenient_arguments) tool no longer receives what does
    /// not match its schema.
    ///
    /// With this setting, an input schema that is invalid or refers to another document is a fault
    /// of [`build`](Self::build) and [`Toolbox::insert`]. Without it, a schema need only be an
    /// object or a boolean.
    ///
    /// ```
    /// use serde_json::json;
    /// use toolbooth::{ToolCall, ToolSpec, Toolbox, tool_fn};
    /// use tower::ServiceExt;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let spec = ToolSpec::new("crawl").with_input_schema(json!({
    ///     "type": "object",
    ///     "properties": { "pages": { "type": "integer", "maximum": 100 } },
    /// }));
    /// let toolbox = Toolbox::builder()
    ///     .tool(spec, tool_fn("crawl", async |_: serde_json::Value| Ok::<_, std::io::Error>(())))
    ///     .with_validated_arguments()
    ///     .build()?;
    ///
    /// let error = toolbox.oneshot(ToolCall::new("crawl", json!({ "pages": 101 }))).await;
    /// let error = error.err().ok_or("101 pages are too many")?;
    /// assert_eq!(
    ///     error.public_message(),
    ///     "invalid arguments at `pages`: value is greater than the maximum of 100"
    /// );
    /// # Ok(()) }
    /// ```
    #[cfg(feature = "validate")]
    pub const fn with_validated_arguments(mut self) -> Self {
        self.settings.validates = true;
        self
    }

    /// Adds a gate, which decides about each call before its tool: by a mode, or by asking a
    /// person.
    ///
    /// With several gates, all have to allow the call. They decide in the order in which they
    /// are added, until one denies it.
    ///
    /// The wait for the decision is inside of the call's future. It comes before the layers of the
    /// tool: the call holds no permit, has taken no token, and its timeout has not begun. The
    /// caller's deadline applies. A retry outside of the toolbox passes the gate with each attempt,
    /// a retry inside passes it once.
    ///
    /// A call without the approval fails with [`ToolError::Denied`](crate::ToolError::Denied), also
    /// if the gate panics or does not decide within
    /// [`with_gate_limit`](Self::with_gate_limit). Its tool is not called.
    ///
    /// ```
    /// use serde_json::json;
    /// use toolbooth::toolbox::{Denied, GateRequest};
    /// use toolbooth::{ToolAnnotations, ToolCall, ToolSpec, Toolbox, tool_fn};
    /// use tower::ServiceExt;
    ///
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// async fn read_only(call: GateRequest) -> Result<(), Denied> {
    ///     match call.spec().annotations().is_read_only() {
    ///         true => Ok(()),
    ///         false => Err(Denied::new("only tools that change nothing are allowed")),
    ///     }
    /// }
    ///
    /// let reads = ToolAnnotations::new().with_read_only(true);
    /// let toolbox = Toolbox::builder()
    ///     .tool(
    ///         ToolSpec::new("read").with_annotations(reads),
    ///         tool_fn("read", async |_: ()| Ok::<_, std::io::Error>("text")),
    ///     )
    ///     .tool("delete", tool_fn("delete", async |_: ()| Ok::<_, std::io::Error>("gone")))
    ///     .gate(read_only)
    ///     .build()?;
    ///
    /// let call = |name| toolbox.clone().oneshot(ToolCall::new(name, json!({})));
    /// assert!(call("read").await.is_ok());
    /// let denied = call("delete").await.err().ok_or("it changes something")?;
    /// assert_eq!(
    ///     denied.public_message(),
    ///     "the call was denied: only tools that change nothing are allowed"
    /// );
    /// assert!(!denied.started());
    /// # Ok(()) }
    /// ```
    pub fn gate<F, Fut>(mut self, decide: F) -> Self
    where
        F: Fn(GateRequest) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Denied>> + Send + 'static,
    {
        let gate = Gate::new(decide);
        self.settings.gate = Some(match self.settings.gate.take() {
            Some(earlier) => earlier.and_then(gate),
            None => gate,
        });
        self
    }

    /// Sets the maximum time for a decision, of all gates together: 10 minutes by default. `None`
    /// is no limit.
    pub fn with_gate_limit(mut self, limit: impl Into<PerTool<Duration>>) -> Self {
        self.settings.gate_limit = limit.into();
        self
    }

    /// Sets the name that the errors of the toolbox and of its gate carry: `toolbox` and `gate` by
    /// default.
    pub fn with_name(mut self, name: impl Into<Name>) -> Self {
        let name = name.into();
        self.settings.gate_name = self.settings.gate_name.renamed(name.clone());
        self.settings.name = self.settings.name.renamed(name);
        self
    }

    /// Delivers changes of breakers and limits that [policies](Self::policies) build to `sink`,
    /// beside other sinks: [`BreakerChanged`](crate::EventKind::BreakerChanged) and
    /// [`LimitChanged`](crate::EventKind::LimitChanged), without the id of a call.
    ///
    /// The events have the name of their layer, such as `breaker of search`. Policies that
    /// [`Toolbox::apply`] installs later have the same sinks. Of these, a sink receives the new
    /// numbers of limits that were there before, once calls find the new policies. Timeouts and
    /// retries are new for each version, and make no events: `apply` returns what changed.
    ///
    /// The sink is called within the call that causes the event, or at the end of a change of the
    /// toolbox that runs meanwhile. No lock is held: it may use the toolbox. At most 10,000 events
    /// wait for a sink; further ones are dropped, and traced.
    ///
    /// [`EventsLayer`](crate::EventsLayer) around the toolbox delivers the events of calls.
    ///
    /// ```
    /// use toolbooth::events::channel;
    /// use toolbooth::policy::Policies;
    /// use toolbooth::{EventKind, Toolbox, tool_fn};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let (sink, mut events) = channel(1_000);
    /// let toolbox = Toolbox::builder()
    ///     .tool("search", tool_fn("search", async |_: ()| Ok::<_, std::io::Error>("a result")))
    ///     .policies(Policies::from_toml("tools.search.concurrency = 4")?)
    ///     .with_events(sink)
    ///     .build()?;
    ///
    /// toolbox.apply(Policies::from_toml("tools.search.concurrency = 8")?)?;
    /// let event = events.try_recv().ok_or("the limit changed")?;
    /// let EventKind::LimitChanged { layer, .. } = event.kind else { return Err("another".into()) };
    /// assert_eq!(layer.as_str(), "concurrency of search");
    /// # Ok(()) }
    /// ```
    #[cfg(feature = "policy")]
    pub fn with_events(mut self, sink: impl crate::EventSink) -> Self {
        self.events.push(Box::new(sink));
        self
    }

    /// Keeps the rates and concurrency limits of policies in a store that several processes share,
    /// under names that begin with `name`. By default they are of this process alone.
    ///
    /// Processes with the same name share the limit of a tool or group: see
    /// [`shared`](crate::shared). Of several rates of one tool or group the first is shared; the
    /// others hold in each process.
    #[cfg(feature = "policy")]
    pub fn with_store(mut self, store: &SharedStore, name: impl Into<Name>) -> Self {
        self.store = Some((store.clone(), name.into()));
        self
    }

    /// Sets the error of calls of tools that are not there, such as those of a server that is away.
    ///
    /// By default, and where `error` returns `None`, it is
    /// [`UnknownTool`](crate::ToolError::UnknownTool) with the nearest names.
    ///
    /// ```
    /// use std::time::Duration;
    /// use toolbooth::{ErrorKind, ToolError, Toolbox};
    ///
    /// # fn main() -> Result<(), toolbooth::toolbox::ToolboxError> {
    /// let toolbox = Toolbox::builder()
    ///     .with_unknown_tool(|name| {
    ///         let is_of_server = name.starts_with("time_");
    ///         let error = ToolError::circuit_open(Duration::from_secs(3));
    ///         is_of_server.then(|| error.with_reason("the server `time` is away"))
    ///     })
    ///     .build()?;
    /// let kind = |name| toolbox.resolve(name).map_err(|error| error.kind()).err();
    /// assert_eq!(kind("time_now"), Some(ErrorKind::CircuitOpen));
    /// assert_eq!(kind("now"), Some(ErrorKind::UnknownTool));
    /// # Ok(()) }
    /// ```
    pub fn with_unknown_tool<F>(mut self, error: F) -> Self
    where
        F: Fn(&str) -> Option<ToolError> + Send + Sync + 'static,
    {
        self.settings.unknown = Some(Box::new(error));
        self
    }

    /// Sets what adds layers that can change.
    #[cfg(feature = "policy")]
    pub(crate) fn with_stacks(
        mut self,
        add: impl FnOnce(&mut Version) -> Result<(), String> + Send + 'static,
    ) -> Self {
        self.stacks = Some(Box::new(add));
        self
    }

    /// Builds the toolbox.
    ///
    /// # Errors
    /// All of these that are found: a name that is used twice, an invalid name or schema, and a
    /// setting for a tool that is not there.
    pub fn build(mut self) -> Result<Toolbox, ToolboxError> {
        let mut faults = Vec::new();
        if let Some(timeout) = &self.timeout {
            let layer = TimeoutLayer::new(timeout.clone());
            self.settings.layers.insert(0, erased(layer));
        }
        let mut version = Version::default();
        #[cfg(feature = "policy")]
        {
            version.set_events(StackEvents::new(self.events));
            version.set_store(self.store);
        }
        for (spec, tool) in self.tools {
            let entry = self.settings.entry_of(spec, tool);
            if let Err(fault) = entry.and_then(|entry| version.insert(entry)) {
                faults.push(fault);
            }
        }
        let settings = &self.settings;
        faults.extend(unknown(&version, "`with_timeout`", self.timeout.as_ref()));
        faults.extend(unknown(
            &version,
            "`with_gate_limit`",
            Some(&settings.gate_limit),
        ));
        faults.extend(unknown(
            &version,
            "`with_idempotent`",
            Some(&settings.idempotent),
        ));
        if let Some(add) = self.stacks {
            let added = add(&mut version);
            faults.extend(added.err().map(|message| ToolboxFault::Policies {
                message: message.into(),
            }));
        }
        ToolboxError::of(faults)?;
        let shared = Arc::new(Shared::new(self.settings, version));
        Ok(Toolbox { shared })
    }
}

/// Returns the faults of the names of a setting that no tool has, sorted by name.
fn unknown<T>(
    version: &Version,
    setting: &'static str,
    values: Option<&PerTool<T>>,
) -> Vec<ToolboxFault> {
    let names = values.into_iter().flat_map(PerTool::tools);
    let mut unknown: Vec<&Name> = names.filter(|name| version.get(name).is_none()).collect();
    unknown.sort_unstable();
    let faults = unknown.into_iter();
    faults.map(|name| version.fault(setting, name)).collect()
}

fn erased<L>(layer: L) -> ToolLayer
where
    L: Layer<ToolService> + Send + Sync + 'static,
    L::Service: Tool,
{
    Box::new(move |tool| ToolService::new(layer.layer(tool)))
}

/// Shows the number of tools and of layers.
impl fmt::Debug for ToolboxBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToolboxBuilder")
            .field("tools", &self.tools.len())
            .field("layers", &self.settings.layers.len())
            .finish_non_exhaustive()
    }
}
