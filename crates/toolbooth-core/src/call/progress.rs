//! Progress reports, emitted items and snapshots.

use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{CallContext, UpdateKind};
use crate::event::EventKind;
use crate::response::{Content, Emitted};

/// A progress report of a call.
///
/// Its JSON has the fields `done`, `total` and `message`; the last two are left out if not set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    done: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
    #[serde(default, skip_serializing_if = "Message::is_none")]
    message: Message,
}

/// The optional message of a progress report, made of a `&str`, a `String` or `None`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Message(Option<Arc<str>>);

// === impl CallContext ===

impl CallContext {
    /// Signals activity, which restarts the idle limits of outer layers.
    ///
    /// It stores the time, under a lock that is held for a moment. Without an idle limit, and
    /// after the end of the call, it does nothing.
    pub fn heartbeat(&self) {
        let attempt = self.attempt_state();
        attempt.beat(false);
        attempt.report_activity(|| EventKind::Heartbeat);
        if attempt.is_read() {
            attempt.send_update(UpdateKind::Heartbeat);
        }
    }

    /// Reports the progress of the call. `total` is `None` if it is not known.
    ///
    /// A report is also a [`heartbeat`](Self::heartbeat). The last report of all attempts is stored
    /// for [`last_progress`](Self::last_progress) and
    /// [`Partial::progress`](crate::Partial::progress). `done` never decreases: in a new attempt it
    /// stays at the maximum so far.
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
        let progress = Progress {
            done,
            total: total.into(),
            message: message.into(),
        };
        attempt.report_activity(|| EventKind::Progress(progress.clone()));
        attempt.report(progress);
    }

    /// Returns the last progress report, if there was one.
    #[must_use]
    pub fn last_progress(&self) -> Option<Progress> {
        self.attempt_state()
            .partials(|partials, _| partials.last_progress().cloned())
    }

    /// Publishes an item for the partial result and for readers of [updates](Self::updates), in
    /// order. Does not wait.
    ///
    /// It is also a [`heartbeat`](Self::heartbeat). An outer partial-result layer keeps the item
    /// within its bounds. Without such a layer, and without readers, the item is dropped.
    pub fn emit(&self, content: impl Into<Content>) {
        let attempt = self.attempt_state();
        attempt.beat(true);
        if attempt.publishes() {
            let content = attempt.announce(content.into(), UpdateKind::Item);
            attempt.record(|partials, attempt, policy| partials.append(attempt, policy, content));
        }
    }

    /// Adds an item to the partial result alone: readers of [updates](Self::updates) and event
    /// sinks do not receive it. For what they receive in another form, such as the messages of
    /// [progress](Self::progress). Does not wait.
    ///
    /// It is no activity. Otherwise as [`emit`](Self::emit).
    pub fn keep_item(&self, content: impl Into<Content>) {
        let attempt = self.attempt_state();
        if attempt.keeps() {
            let content = Emitted::Own(content.into());
            attempt.record(|partials, attempt, policy| partials.append(attempt, policy, content));
        }
    }

    /// Publishes a snapshot of the whole result for the partial result and for readers of
    /// [updates](Self::updates). Does not wait.
    ///
    /// It replaces the last snapshot. It is also a [`heartbeat`](Self::heartbeat).
    pub fn snapshot(&self, content: impl Into<Content>) {
        let attempt = self.attempt_state();
        attempt.beat(true);
        if attempt.publishes() {
            let content = attempt.announce(content.into(), UpdateKind::Snapshot);
            attempt.record(|partials, attempt, policy| partials.snapshot(attempt, policy, content));
        }
    }
}

// === impl Progress ===

impl Progress {
    /// Returns how much is done, in a unit chosen by the tool.
    #[must_use]
    pub const fn done(&self) -> u64 {
        self.done
    }

    /// Returns how much there is to do, if known.
    #[must_use]
    pub const fn total(&self) -> Option<u64> {
        self.total
    }

    /// Returns the message, if the report has one.
    #[must_use]
    pub fn message(&self) -> Option<&str> {
        self.message.0.as_deref()
    }

    /// Returns this report as the successor of an earlier one, so that `done` does not decrease.
    pub(crate) fn after(mut self, earlier: Option<&Self>) -> Self {
        if let Some(earlier) = earlier {
            self.done = self.done.max(earlier.done);
        }
        self
    }
}

// === impl Message ===

impl Message {
    const fn is_none(&self) -> bool {
        self.0.is_none()
    }
}

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

impl Serialize for Message {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_deref().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Message {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?;
        Ok(Self(text.map(Arc::from)))
    }
}
