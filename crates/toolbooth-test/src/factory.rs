use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::Value;
use toolbooth_core::{Name, ToolCall};

/// Creates a call of `tool` without arguments, with an id of its own and no settings.
///
/// Every other field can be set alone by the `with_*` methods of [`ToolCall`]. For a call with
/// arguments use [`ToolCall::new`], for ids that do not change from run to run [`CallFactory`].
///
/// ```
/// use toolbooth_test::call;
///
/// let first = call("search").with_tenant("acme");
/// assert_eq!((first.context().tool(), first.context().tenant()), ("search", Some("acme")));
/// assert_ne!(first.context().id(), call("search").context().id());
/// ```
#[must_use]
pub fn call(tool: impl Into<Name>) -> ToolCall {
    ToolCall::new(tool, Value::Null)
}

/// Makes calls whose ids are unique and the same in every run.
///
/// The n-th call of a factory with the seed 7 has the id `7-n`, in hexadecimal digits. All other
/// fields have their defaults, and each can be set alone.
///
/// ```
/// use toolbooth_test::CallFactory;
///
/// let calls = CallFactory::seeded(7);
/// let ids = [calls.call("search"), calls.call("fetch").with_priority(5)]
///     .map(|call| call.context().id());
/// assert_eq!(ids.each_ref().map(|id| id.as_str()), ["7-1", "7-2"]);
/// assert_eq!(CallFactory::seeded(7).call("search").context().id(), ids[0]);
/// assert_ne!(CallFactory::seeded(8).call("search").context().id(), ids[0]);
/// ```
///
/// # Clone
/// Clones share the count: no two of their calls have the same id.
#[derive(Debug, Clone)]
pub struct CallFactory {
    seed: u64,
    made: Arc<AtomicU64>,
}

// === impl CallFactory ===

impl CallFactory {
    /// Creates a factory that has made no call.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self {
            seed,
            made: Arc::default(),
        }
    }

    /// Creates a call of `tool` without arguments.
    #[must_use]
    pub fn call(&self, tool: impl Into<Name>) -> ToolCall {
        self.call_with(tool, Value::Null)
    }

    /// Creates a call of `tool` with arguments, of any type.
    #[must_use]
    pub fn call_with<A>(&self, tool: impl Into<Name>, args: A) -> ToolCall<A> {
        let number = self.made.fetch_add(1, Ordering::Relaxed) + 1;
        ToolCall::new(tool, args).with_id(format!("{:x}-{number:x}", self.seed))
    }

    /// Creates `count` calls of `tool` without arguments.
    #[must_use]
    pub fn calls(&self, tool: impl Into<Name>, count: usize) -> Vec<ToolCall> {
        let tool = tool.into();
        (0..count).map(|_| self.call(tool.clone())).collect()
    }
}
