//! The public types at the root of the crate.

use std::collections::{BTreeMap, BTreeSet};

use super::{ROOT, rows};

/// What a type implements: the constants of `impl Implements<T>` precede those of the trait.
struct Implements<T>(std::marker::PhantomData<T>);

trait Otherwise {
    const CLONE: bool = false;
    const SEND: bool = false;
    const SYNC: bool = false;
}

impl<T> Otherwise for Implements<T> {}

impl<T: Clone> Implements<T> {
    const CLONE: bool = true;
}

impl<T: Send> Implements<T> {
    const SEND: bool = true;
}

impl<T: Sync> Implements<T> {
    const SYNC: bool = true;
}

/// Lists types with what they implement: `Clone`, `Send`, `Sync`.
macro_rules! types {
    ($($name:ident = $type:ty,)*) => {
        vec![$((
            stringify!($name),
            [
                <Implements<$type>>::CLONE,
                <Implements<$type>>::SEND,
                <Implements<$type>>::SYNC,
            ],
        ),)*]
    };
}

fn types() -> Vec<(&'static str, [bool; 3])> {
    use toolbooth::*;
    struct Unwatched;
    impl Watch for Unwatched {
        fn on_end(self, _: End<'_>) {}
    }
    types![
        BoxError = BoxError,
        BreakerPolicy = BreakerPolicy,
        CallContext = CallContext,
        CallDeadline = CallDeadline,
        CallGroup = CallGroup,
        CallPriority = CallPriority,
        CallTenant = CallTenant,
        CancelFlag = CancelFlag,
        CancelReason = CancelReason,
        Canceller = Canceller,
        CatchPanicLayer = CatchPanicLayer,
        ChannelSink = events::ChannelSink,
        Checkpointed = Checkpointed,
        CircuitBreakerLayer = CircuitBreakerLayer,
        CleanupEnd = CleanupEnd,
        CleanupLayer = CleanupLayer,
        Collected = Collected,
        CommandError = CommandError,
        CommandOutput = CommandOutput,
        CommandStderr = CommandStderr,
        CommandTool = CommandTool,
        ConcurrencyLimitLayer = ConcurrencyLimitLayer,
        ConfigError = ConfigError,
        Content = Content,
        ContentStream = ContentStream,
        DenyReason = DenyReason,
        DrainReport = DrainReport,
        End = End<'static>,
        ErrorKind = ErrorKind,
        ErrorReport = ErrorReport,
        Event = Event,
        EventKind = EventKind,
        EventReceiver = events::EventReceiver,
        EventsLayer = EventsLayer,
        GroupError = GroupError,
        IdempotencyLayer = IdempotencyLayer,
        Item = Item<'static>,
        KeptPermits = KeptPermits,
        LimitChange = LimitChange,
        Message = Message,
        MetricsSink = MetricsSink,
        Name = Name,
        Order = Order,
        Origin = Origin,
        Outcome = Outcome,
        OverloadReason = OverloadReason,
        Partial = Partial,
        PartialResultLayer = PartialResultLayer,
        PerTool = PerTool<u32>,
        Policies = Policies,
        PolicyChange = PolicyChange,
        PolicyError = PolicyError,
        Progress = Progress,
        Quota = Quota,
        RateLimitLayer = RateLimitLayer,
        Registered = Registered,
        Reporter = middleware::Reporter,
        RequestHead = RequestHead<'static>,
        ResponseHead = ResponseHead<'static>,
        RetryBudget = RetryBudget,
        RetryPolicy = RetryPolicy,
        SharedState = SharedState,
        ShutdownLayer = ShutdownLayer,
        Source = Source,
        SpawnLayer = SpawnLayer,
        Spawned = Spawned<u32>,
        StateError = StateError,
        StateLayer = StateLayer,
        TimeoutLayer = TimeoutLayer,
        TimeoutScope = TimeoutScope,
        TooManySpawned = TooManySpawned,
        ToolAnnotations = ToolAnnotations,
        ToolCall = ToolCall,
        ToolError = ToolError,
        ToolName = ToolName,
        ToolOutput = ToolOutput,
        ToolPolicy = ToolPolicy,
        ToolSpec = ToolSpec,
        Toolbox = Toolbox,
        TraceContext = events::TraceContext,
        TracingSink = TracingSink,
        Update = Update,
        UpdateKind = UpdateKind,
        Updates = Updates,
        WatchedBody = WatchedBody<String, Unwatched>,
        WithContents = events::WithContents<events::ChannelSink>,
    ]
}

/// Types in modules that have rows as well.
const IN_MODULES: [&str; 5] = [
    "ChannelSink",
    "EventReceiver",
    "Reporter",
    "TraceContext",
    "WithContents",
];

/// Each type at the root of the crate, the names of `pub use` that are neither functions, constants
/// nor traits, and those of [`IN_MODULES`].
fn public_types() -> BTreeSet<&'static str> {
    const TRAITS: [&str; 6] = [
        "EventSink",
        "IntoToolOutput",
        "ServiceBuilderExt",
        "ToolRequest",
        "ToolResponse",
        "Watch",
    ];
    let uses = ROOT.split("\npub use ").skip(1);
    let names = uses.flat_map(|item| {
        let item = item.split(';').next().unwrap_or_default();
        let (_, names) = item.rsplit_once("::").unwrap_or(("", item));
        names.split(|char: char| !char.is_alphanumeric() && char != '_')
    });
    let is_type = |name: &&str| {
        let mut chars = name.chars();
        let first = chars.next().is_some_and(char::is_uppercase);
        first && chars.any(char::is_lowercase) && !TRAITS.contains(name)
    };
    names.filter(is_type).chain(IN_MODULES).collect()
}

#[test]
fn guide_to_thread_safety_has_a_true_row_for_each_public_type() {
    let guide = include_str!("../../docs/guide/safety.md");
    let of_types = rows(guide).into_iter().filter_map(|row| {
        let name = row[0].strip_prefix("[`")?.split('`').next()?;
        assert!(row.iter().all(|cell| !cell.is_empty()), "{row:?}");
        Some((name, [row[1], row[2], row[3]].map(|cell| cell == "yes")))
    });
    let of_types: Vec<_> = of_types.collect();
    let found: BTreeMap<_, _> = of_types.iter().copied().collect();
    assert_eq!(found.len(), of_types.len(), "a type has two rows");
    let names: BTreeSet<_> = found.keys().copied().collect();
    assert_eq!(names, public_types());
    for (name, implemented) in types() {
        let row = found.get(name).copied();
        assert_eq!(row, Some(implemented), "Clone, Send, Sync of {name}");
    }
    assert_eq!(found.len(), types().len());
}
