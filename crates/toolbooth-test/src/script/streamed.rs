use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use tokio::time::{Sleep, sleep};
use toolbooth_core::{CallContext, Content, ToolError};

use super::Step;
use crate::scripted::scripted_panic;

/// The streaming response of a script: runs the steps after [`Step::Stream`].
pub(super) struct Streamed {
    context: CallContext,
    steps: VecDeque<Step>,
    pause: Option<Pin<Box<Sleep>>>,
}

// === impl Streamed ===

impl Streamed {
    pub(super) fn new(context: CallContext, steps: impl Iterator<Item = Step>) -> Self {
        Self {
            context,
            steps: steps.collect(),
            pause: None,
        }
    }

    /// Ends the stream with this item.
    fn last(&mut self, item: Result<Content, ToolError>) -> Poll<Option<<Self as Stream>::Item>> {
        self.steps.clear();
        Poll::Ready(Some(item))
    }
}

impl Stream for Streamed {
    type Item = Result<Content, ToolError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            let Some(step) = self.steps.pop_front() else {
                return Poll::Ready(None);
            };
            match step {
                Step::Delay(delay) => self.pause = Some(Box::pin(sleep(delay))),
                Step::Emit(item) => return Poll::Ready(Some(Ok(item))),
                Step::Snapshot(content) => self.context.snapshot(content),
                Step::Heartbeat => self.context.heartbeat(),
                // The response streams already: the items that follow are emitted.
                Step::Stream => {}
                Step::Respond(item) => return self.last(Ok(item)),
                Step::Fail(error) => return self.last(Err(error)),
                Step::Hang => {
                    self.steps.push_front(Step::Hang);
                    return Poll::Pending;
                }
                Step::Panic(message) => scripted_panic(message),
            }
        }
    }
}
