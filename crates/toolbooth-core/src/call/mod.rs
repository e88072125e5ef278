//! The call: its settings, and what travels with it.

mod args;
mod attempt;
mod blocking;
mod bound;
mod canceller;
mod child;
mod cleanup;
mod clock;
mod context;
mod limit_id;
mod name;
mod progress;
mod pulse;
mod running_hooks;
mod settings;
mod spawned;
mod tool_call;

pub use attempt::AdjustCost;
pub use blocking::CancelFlag;
pub use bound::Bound;
pub use canceller::Canceller;
pub use child::DEFAULT_MAX_DEPTH;
pub use cleanup::{CleanupEnd, MAX_HOOKS, Registered};
pub use cleanup::{DEFAULT_HOOK_LIMIT, HookCounter, Hooks, RunHooks};
pub use clock::Moment;
pub use context::CallContext;
pub use limit_id::LimitId;
pub use name::Name;
pub use progress::{Message, Progress};
pub use pulse::Pulse;
pub(crate) use settings::RareSettings;
pub use spawned::{MAX_SPAWNED, Spawned, TooManySpawned};
pub use tool_call::ToolCall;
