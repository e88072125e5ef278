//! The call, the response and the seams of toolbooth: what authors of tools, layers and adapters
//! depend on.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc(test(attr(deny(warnings))))]

mod call;
mod error;
mod event;
mod outcome;
mod response;
mod seam;
mod sync;
mod text;

pub use call::{
    AdjustCost, Bound, CallContext, Canceller, CleanupEnd, DEFAULT_HOOK_LIMIT, DEFAULT_MAX_DEPTH,
    HookCounter, Hooks, KeptPermits, LimitId, MAX_HOOKS, MAX_NAME, Message, Moment, Name, Progress,
    Pulse, Registered, Reporter, RunHooks, ToolCall, TraceContext, Update, UpdateKind, Updates,
};
pub use call::{CancelFlag, MAX_SPAWNED, Spawned, TooManySpawned};
pub use error::{
    BoxError, DenyReason, ErrorKind, ErrorReport, LayerName, Origin, OverloadReason, Source,
    TimeoutScope, ToolError,
};
pub use event::{Event, EventKind, EventSink, LimitChange};
pub use outcome::{CancelReason, Outcome};
pub use response::{
    Checkpointed, Collected, Content, ContentStream, IntoToolOutput, KeepPolicy, MAX_CHECKPOINT,
    MAX_JSON_DEPTH, Partial, ToolOutput, nests_too_deep,
};
#[cfg(feature = "http")]
pub use seam::{CallDeadline, CallPriority, CallTenant, RequestHead, ToolName, WatchedBody};
pub use seam::{
    End, Item, Part, Reading, ResponseHead, TaskScope, ToolRequest, ToolResponse, Watch, checked,
};
pub use text::start_of;
