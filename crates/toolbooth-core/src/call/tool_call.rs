use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::args::Args;
use super::{CallContext, Canceller, Moment, Name, Updates};

/// A call of a tool: its name, its arguments, and the context that travels with it.
///
/// A new call needs only a name and arguments, and making it cannot fail. A clone is another
/// attempt of the same call, as a retry makes it. It shares the arguments and the identity of the
/// call, and has its own hooks, partial result and outcome.
///
/// ```
/// use std::time::Duration;
/// use serde_json::json;
/// use toolbooth_core::ToolCall;
///
/// let call = ToolCall::new("search", json!({ "pattern": "TODO" }))
///     .with_id("call_8fj2")
///     .with_timeout(Duration::from_secs(5));
/// assert_eq!(call.name(), "search");
/// assert_eq!(call.args()["pattern"], "TODO");
/// assert_eq!(call.clone().context().id(), "call_8fj2");
/// ```
///
/// The context is at most one allocation, together with a name and an id of at most 24 bytes each:
/// each thread keeps the memory of the last usual call that ended on it for the next one. The first
/// [`args`](Self::args) or clone moves the arguments to another allocation, which clones share.
///
/// # JSON
/// A call whose arguments are a [`Value`] has this JSON. Only `name` is required; what is not set
/// is left out, and unknown fields are ignored. Times are in milliseconds.
///
/// | Field | Meaning |
/// |---|---|
/// | `name` | The name of the tool. |
/// | `args` | The arguments, `null` by default. |
/// | `id` | The [id](CallContext::id). Always written, so that both sides log the same one. |
/// | `tenant`, `priority`, `idempotent`, `idempotency_key`, `max_depth` | As set by `with_tenant` and so on. |
/// | `remaining_ms` | The time until the [deadline](CallContext::deadline) from now, when it is written and when it is read. |
/// | `timeout_ms`, `idle_timeout_ms`, `first_item_timeout_ms` | As set by `with_timeout` and so on. |
///
/// Extensions, hooks, cancellation and partial results are not in it. It contains the arguments, so
/// it is as secret as they are. A name, an id or a tenant of more than
/// [`MAX_NAME`](crate::MAX_NAME) bytes is an error, and so are arguments that nest too deep.
///
/// ```
/// use std::time::Duration;
/// use serde_json::json;
/// use toolbooth_core::ToolCall;
///
/// let expected = json!({
///     "name": "search",
///     "args": { "pattern": "TODO" },
///     "id": "call_8fj2",
///     "tenant": "acme",
///     "timeout_ms": 5_000,
/// });
/// let call = ToolCall::new("search", json!({ "pattern": "TODO" }))
///     .with_id("call_8fj2")
///     .with_tenant("acme")
///     .with_timeout(Duration::from_secs(5));
/// assert_eq!(serde_json::to_value(&call).unwrap(), expected);
/// let read: ToolCall = serde_json::from_value(expected).unwrap();
/// assert_eq!((read.name(), read.context().tenant()), ("search", Some("acme")));
/// ```
// In this order, a move of the whole call reads the arguments in the words of 16 bytes in which
// they were written, and does not wait for the store buffer (benchmark line `ready`).
#[repr(C)]
pub struct ToolCall<A = Value> {
    args: Args<A>,
    context: CallContext,
}

// === impl ToolCall ===

impl<A> ToolCall<A> {
    /// Creates a call of the tool `name` with these arguments.
    #[must_use]
    pub fn new(name: impl Into<Name>, args: A) -> Self {
        // First: written in small pieces, and moved below.
        let args = Args::new(args);
        let context = CallContext::new(name.into());
        Self { context, args }
    }

    /// Creates a call that `canceller` cancels.
    #[cfg(feature = "http")]
    pub(crate) fn with_canceller(name: Name, canceller: Canceller, args: A) -> Self {
        let call = Self::new(name, args);
        let attempt = call.context.attempt_state();
        attempt.set_signal(canceller.into_signal());
        call
    }

    pub(super) const fn of(context: CallContext, args: A) -> Self {
        Self {
            context,
            args: Args::new(args),
        }
    }

    /// Sets the id of the call, such as the one that a model assigned.
    ///
    /// Use this and the other settings before the context is shared. If the context is shared, a
    /// setting makes another attempt of the call.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<Name>) -> Self {
        let id = id.into();
        self.context.configure(|settings| settings.id = Some(id));
        self
    }

    /// Sets the timeout of the call, instead of the limit of its outermost timeout layer.
    ///
    /// [`Duration::MAX`] is no limit. Without a timeout layer it has no effect.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.context
            .configure(|settings| settings.rare_mut().timeout = Some(timeout));
        self
    }

    /// Sets the idle limit of the call, instead of that of its outermost timeout layer.
    ///
    /// It limits the time without activity: a [`heartbeat`](CallContext::heartbeat), a report of
    /// [`progress`](CallContext::progress), an [emitted](CallContext::emit) item, a
    /// [`snapshot`](CallContext::snapshot), or an item of a streaming response.
    /// [`Duration::MAX`] is no limit. Without a timeout layer it has no effect.
    #[must_use]
    pub fn with_idle_timeout(mut self, timeout: Duration) -> Self {
        self.context
            .configure(|settings| settings.rare_mut().idle_timeout = Some(timeout));
        self
    }

    /// Sets the limit on the time until the first item of the result, instead of that of the
    /// outermost timeout layer.
    ///
    /// [`Duration::MAX`] is no limit. Without a timeout layer it has no effect.
    #[must_use]
    pub fn with_first_item_timeout(mut self, timeout: Duration) -> Self {
        self.context
            .configure(|settings| settings.rare_mut().first_item_timeout = Some(timeout));
        self
    }

    /// Sets the instant after which the response is useless. It caps all other limits.
    ///
    /// A timeout layer ends the call at the deadline. Without one, only queues obey it.
    #[must_use]
    pub fn with_deadline(mut self, deadline: Instant) -> Self {
        self.context
            .configure(|settings| settings.set_deadline(Moment::from(deadline)));
        self
    }

    /// Sets the priority, by default 0. Calls of a higher priority leave a queue first.
    #[must_use]
    pub fn with_priority(mut self, priority: i32) -> Self {
        self.context
            .configure(|settings| settings.priority = priority);
        self
    }

    /// Sets the tenant on whose behalf the call is made.
    #[must_use]
    pub fn with_tenant(mut self, tenant: impl Into<Name>) -> Self {
        let tenant = tenant.into();
        self.context
            .configure(|settings| settings.tenant = Some(tenant));
        self
    }

    /// Sets whether running the call twice has the same effect as running it once.
    ///
    /// By default the settings of the retry policy apply, and otherwise the request's
    /// [own](crate::ToolRequest::idempotent). A tool that had started is not called again unless
    /// one of them is true, or its error [is retryable](crate::ToolError::is_retryable). With
    /// `true` any failure of the tool may be retried; with `false` only a call that did not run.
    #[must_use]
    pub fn with_idempotent(mut self, idempotent: bool) -> Self {
        self.context
            .configure(|settings| settings.idempotent = Some(idempotent));
        self
    }

    /// Sets the key by which an idempotency layer recognizes a repeated call: calls of one tool and
    /// tenant with the same key run once. Child calls do not inherit it.
    ///
    /// Without such a layer it has no effect. It does not state that the tool is
    /// [idempotent](Self::with_idempotent).
    #[must_use]
    pub fn with_idempotency_key(mut self, key: impl Into<Name>) -> Self {
        let key = key.into();
        self.context
            .configure(|settings| settings.rare_mut().idempotency_key = Some(key));
        self
    }

    /// Sets the maximum depth of calls nested below this one with [`CallContext::child`].
    ///
    /// By default 5; 0 allows none. Child calls inherit it.
    #[must_use]
    pub fn with_max_depth(mut self, calls: u32) -> Self {
        self.context
            .configure(|settings| settings.rare_mut().max_depth = Some(calls));
        self
    }

    /// Adds a value, one of each type, which layers and tools read with [`CallContext::extension`].
    #[must_use]
    pub fn with_extension<T: Send + Sync + 'static>(mut self, value: T) -> Self {
        self.context
            .configure(|settings| settings.insert_extension(value));
        self
    }

    /// Returns the name of the tool.
    #[must_use]
    pub fn name(&self) -> &str {
        self.context.tool()
    }

    /// Returns the arguments.
    #[must_use]
    pub fn args(&self) -> &A {
        self.args.get()
    }

    /// Returns a handle that shares the arguments.
    #[must_use]
    pub fn shared_args(&self) -> Arc<A> {
        Arc::clone(self.args.shared())
    }

    /// Returns the context, which travels with the call.
    #[must_use]
    pub const fn context(&self) -> &CallContext {
        &self.context
    }

    /// Returns the handle that cancels the call from elsewhere. Take it before the call is made:
    /// see [`Canceller`].
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        self.context.canceller()
    }

    /// Returns what the call publishes while it runs, as a stream. Take it before the call is made:
    /// see [`CallContext::updates`].
    pub fn updates(&self) -> Updates {
        self.context.updates()
    }

    /// Returns the same as [`updates`](Self::updates), with a queue of `capacity` updates, at least
    /// 1.
    pub fn updates_with_capacity(&self, capacity: usize) -> Updates {
        self.context.updates_with_capacity(capacity)
    }

    /// Splits the call into context and arguments. The arguments are cloned only if a clone of the
    /// call shares them.
    #[must_use]
    pub fn into_parts(self) -> (CallContext, A)
    where
        A: Clone,
    {
        (self.context, self.args.into_inner())
    }

    /// Converts the arguments, for example into a type.
    #[must_use]
    pub fn map_args<B>(self, map: impl FnOnce(A) -> B) -> ToolCall<B>
    where
        A: Clone,
    {
        ToolCall {
            context: self.context,
            args: Args::new(map(self.args.into_inner())),
        }
    }
}

impl<A> Clone for ToolCall<A> {
    fn clone(&self) -> Self {
        Self {
            context: self.context.fork(),
            args: self.args.clone(),
        }
    }
}

/// Does not print the arguments: they may be secret, and long.
impl<A> fmt::Debug for ToolCall<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToolCall")
            .field("context", &self.context)
            .finish_non_exhaustive()
    }
}
