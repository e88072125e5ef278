//! How far a call says it is.

use std::sync::Arc;

use super::CallContext;
use crate::response::Content;

/// How far a call has come, in the tool's own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    done: u64,
    total: Option<u64>,
    message: Message,
}

/// What a tool says of its progress, if it says anything: made of a `&str`, of a `String`, or of `None`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Message(Option<Arc<str>>);

// === impl CallContext ===

impl CallContext {
    /// Says that the call is alive: idle limits around the tool begin anew.
    ///
    /// It stores the time and takes no lock; where no idle limit stands around, it does nothing. After the end of
    /// the call it does nothing, either.
    pub fn heartbeat(&self) {
        self.attempt_state().beat(false);
    }

    /// Says how far the call has come; a [`heartbeat`](Self::heartbeat), too. `total` is `None` where nobody knows it.
    ///
    /// The last report of all attempts of the call is kept, for [`last_progress`](Self::last_progress) and for
    /// [`Partial::progress`](crate::Partial::progress). What is done never grows less: where a retry begins anew,
    /// it stays what it was until the retry is further.
    ///
    /// ```
    /// use toolbooth_core::ToolCall;
    ///
    /// let call = ToolCall::new("index", serde_json::json!(null));
    /// let context = call.context();
    /// context.progress(3, 10, "reading src/lib.rs");
    /// context.progress(4, 10, format!("{} files to go", 6));
    /// context.progress(1, None, None);
    /// let progress = context.last_progress().unwrap();
    /// assert_eq!((progress.done(), progress.total(), progress.message()), (4, None, None));
    /// ```
    pub fn progress(&self, done: u64, total: impl Into<Option<u64>>, message: impl Into<Message>) {
        let attempt = self.attempt_state();
        attempt.beat(false);
        attempt.report(Progress {
            done,
            total: total.into(),
            message: message.into(),
        });
    }

    /// The last report of how far the call has come; `None` where there was none.
    #[must_use]
    pub fn last_progress(&self) -> Option<Progress> {
        self.attempt_state()
            .partials(|partials, _| partials.last_progress().cloned())
    }

    /// Publishes one piece of the result, in order, in case the call is cut short; a
    /// [`heartbeat`](Self::heartbeat), too. Never waits.
    ///
    /// It is kept where a partial-result layer stands around the tool, within that layer's bounds.
    pub fn emit(&self, content: impl Into<Content>) {
        let attempt = self.attempt_state();
        attempt.beat(true);
        if attempt.keeps() {
            let content = content.into();
            attempt.record(|partials, attempt, policy| partials.append(attempt, policy, content));
        }
    }

    /// Publishes the state of the result as a whole, in case the call is cut short: the last one wins; a
    /// [`heartbeat`](Self::heartbeat), too. Never waits.
    pub fn snapshot(&self, content: impl Into<Content>) {
        let attempt = self.attempt_state();
        attempt.beat(true);
        if attempt.keeps() {
            let content = content.into();
            attempt.record(|partials, attempt, policy| partials.snapshot(attempt, policy, content));
        }
    }
}

// === impl Progress ===

impl Progress {
    /// How much is done, in units of the tool's own.
    #[must_use]
    pub const fn done(&self) -> u64 {
        self.done
    }

    /// How much there is to do, where that is known.
    #[must_use]
    pub const fn total(&self) -> Option<u64> {
        self.total
    }

    /// What the tool said.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        self.message.0.as_deref()
    }

    /// This report behind an earlier one.
    pub(crate) fn after(mut self, earlier: Option<&Self>) -> Self {
        if let Some(earlier) = earlier {
            self.done = self.done.max(earlier.done);
        }
        self
    }
}

// === impl Message ===

impl From<&str> for Message {
    fn from(text: &str) -> Self {
        Self(Some(text.into()))
    }
}

impl From<String> for Message {
    fn from(text: String) -> Self {
        Self(Some(text.into()))
    }
}

impl From<Option<&str>> for Message {
    fn from(text: Option<&str>) -> Self {
        Self(text.map(Arc::from))
    }
}
