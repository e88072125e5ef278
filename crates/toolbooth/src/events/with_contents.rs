use std::fmt;
use std::sync::Arc;

use toolbooth_core::{Event, EventSink, Part};

/// A sink to which an events layer delivers contents, too: the arguments of calls, items, and
/// buffered responses.
///
/// They may be secret, and are shared with the call, not copied, where their type allows it. Only
/// arguments that are a `serde_json::Value` are known: see
/// [`ToolRequest::arguments`](crate::ToolRequest::arguments). For spans there is
/// [`TracingSink::with_contents`](super::TracingSink::with_contents).
///
/// ```
/// use serde_json::json;
/// use toolbooth::events::{EventsLayer, WithContents, channel};
/// use toolbooth::{EventKind, ToolCall, tool_fn};
/// use tower::{ServiceBuilder, ServiceExt};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let (sink, mut events) = channel(1_000);
/// let tool = ServiceBuilder::new()
///     .layer(EventsLayer::new(WithContents::new(sink)))
///     .service(tool_fn("search", async |_: String| Ok::<_, std::io::Error>("3 matches")));
/// tool.oneshot(ToolCall::new("search", json!("TODO"))).await?;
///
/// let invoked = events.recv().await.ok_or("the call was made")?;
/// let EventKind::Invoked { arguments: Some(arguments), .. } = invoked.kind else {
///     return Err("no arguments".into());
/// };
/// assert_eq!(*arguments, json!("TODO"));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct WithContents<S>(S);

// === impl WithContents ===

impl<S: EventSink> WithContents<S> {
    /// Creates a sink that passes each event to `sink`.
    #[must_use]
    pub const fn new(sink: S) -> Self {
        Self(sink)
    }
}

impl<S: EventSink> EventSink for WithContents<S> {
    fn on_event(&self, event: &Event) {
        self.0.on_event(event);
    }

    fn wants_contents(&self) -> bool {
        true
    }

    fn identity(&self) -> Option<usize> {
        self.0.identity()
    }

    fn for_call(&self, part: &Part) -> Option<Arc<dyn EventSink>> {
        self.0.for_call(part)
    }

    fn span(&self) -> Option<tracing::Span> {
        self.0.span()
    }
}

impl<S> fmt::Debug for WithContents<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WithContents").finish_non_exhaustive()
    }
}
