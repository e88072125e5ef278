use std::future::ready;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready as done};
use std::time::Duration;

use futures_core::Stream;
use tokio::time::{Sleep, sleep};
use toolbooth_core::{Content, ToolCall, ToolError, ToolOutput};

use super::service;
use crate::probe::{Inside, Probe};

/// Returns a streaming response: `item_0` at once, and another item after each interval.
///
/// The call counts as running until the stream is dropped.
///
/// ```
/// use futures_util::StreamExt;
/// use toolbooth_test::{GeneratorTool, Stopwatch, call, ms};
/// use tower::ServiceExt;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), toolbooth::ToolError> {
/// let tool = GeneratorTool::new(ms(500), 20);
/// let watch = Stopwatch::start();
/// let output = tool.clone().oneshot(call("generate")).await?;
/// let items: Vec<_> = output.into_stream().take(5).collect().await;
/// assert_eq!((items.len(), watch.elapsed()), (5, ms(2_000)));
/// assert_eq!((tool.probe().running(), tool.probe().finished()), (0, 1));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct GeneratorTool {
    interval: Duration,
    items: usize,
    probe: Probe,
}

struct Items {
    interval: Duration,
    left: std::ops::Range<usize>,
    pause: Option<Pin<Box<Sleep>>>,
    _inside: Inside,
}

// === impl GeneratorTool ===

impl GeneratorTool {
    /// Creates a tool that streams `items` items with an interval between them.
    #[must_use]
    pub fn new(interval: Duration, items: usize) -> Self {
        Self {
            interval,
            items,
            probe: Probe::new(),
        }
    }

    /// Returns the first `count` items, to compare with.
    #[must_use]
    pub fn items(count: usize) -> Vec<Content> {
        (0..count).map(item).collect()
    }

    /// Counts the streams of this tool.
    #[must_use]
    pub const fn probe(&self) -> &Probe {
        &self.probe
    }

    fn run(self, _: ToolCall) -> impl Future<Output = Result<ToolOutput, ToolError>> + Send {
        ready(Ok(ToolOutput::stream(Items {
            interval: self.interval,
            left: 0..self.items,
            pause: None,
            _inside: self.probe.enter(),
        })))
    }
}

fn item(number: usize) -> Content {
    Content::from(format!("item_{number}"))
}

impl Stream for Items {
    type Item = Result<Content, io::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.left.is_empty() {
            return Poll::Ready(None);
        }
        if let Some(pause) = &mut self.pause {
            done!(pause.as_mut().poll(cx));
        }
        // The interval starts when the item before is fetched.
        self.pause = Some(Box::pin(sleep(self.interval)));
        Poll::Ready(self.left.next().map(|number| Ok(item(number))))
    }
}

service!(GeneratorTool);
