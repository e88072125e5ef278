use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use toolbooth_core::{Content, ContentStream, Name, ToolError};

use super::{Fault, InjectedFault};
use crate::recorder::Recorder;

/// A stream that fails after a number of items.
pub(super) struct Broken {
    inner: Option<ContentStream>,
    /// The tool, and how many items are delivered before the failure.
    tool: Name,
    after: usize,
    delivered: usize,
    injected: Recorder<(Name, Fault)>,
}

// === impl Broken ===

impl Broken {
    pub(super) fn new(
        inner: ContentStream,
        after: usize,
        tool: Name,
        injected: Recorder<(Name, Fault)>,
    ) -> Self {
        Self {
            inner: Some(inner),
            tool,
            after,
            delivered: 0,
            injected,
        }
    }
}

impl Stream for Broken {
    type Item = Result<Content, ToolError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let Some(inner) = &mut self.inner else {
            return Poll::Ready(None);
        };
        let item = ready!(Pin::new(inner).poll_next(cx));
        if item.is_some() && self.delivered == self.after {
            // As after a lost connection, the tool's stream is dropped.
            self.inner = None;
            let fault = (self.tool.clone(), Fault::BrokenStream(self.after));
            self.injected.record(fault);
            return Poll::Ready(Some(Err(ToolError::failed(InjectedFault))));
        }
        self.delivered += 1;
        Poll::Ready(item)
    }
}
