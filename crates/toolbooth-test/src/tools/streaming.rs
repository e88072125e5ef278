use std::time::Duration;

use tokio::time::sleep;
use toolbooth_core::{Content, ToolCall, ToolError, ToolOutput};

use super::service;
use crate::probe::Probe;

/// Emits `chunk_0`, `chunk_1`, ... through its context, then returns all of them as its response.
///
/// It sleeps after each chunk: chunk `i` is emitted at `i` times the delay. For a streaming
/// response use [`GeneratorTool`](crate::GeneratorTool).
///
/// ```
/// use toolbooth::{ErrorKind, PartialResultLayer};
/// use toolbooth_test::{StreamingTool, call, call_all, ms};
/// use tower::Layer;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let tool = StreamingTool::new(ms(200), 20).with_fail_on_chunk(2);
/// let tool = PartialResultLayer::new().layer(tool);
/// let finished = call_all(tool, [call("crawl")]).await;
/// assert_eq!(finished[0].at, ms(400));
/// let error = finished[0].result.as_ref().err().ok_or("it fails on chunk 2")?;
/// assert_eq!(error.kind(), ErrorKind::Tool);
/// assert_eq!(error.partial().ok_or("two chunks")?.contents(), StreamingTool::chunks(2));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct StreamingTool {
    delay: Duration,
    chunks: usize,
    fail_on_chunk: Option<usize>,
    probe: Probe,
}

// === impl StreamingTool ===

impl StreamingTool {
    /// Creates a tool that emits `chunks` chunks, with a delay after each.
    #[must_use]
    pub fn new(delay: Duration, chunks: usize) -> Self {
        Self {
            delay,
            chunks,
            fail_on_chunk: None,
            probe: Probe::new(),
        }
    }

    /// Makes each call fail instead of emitting this chunk, counted from 0.
    #[must_use]
    pub const fn with_fail_on_chunk(mut self, chunk: usize) -> Self {
        self.fail_on_chunk = Some(chunk);
        self
    }

    /// Returns the first `count` chunks, to compare with.
    #[must_use]
    pub fn chunks(count: usize) -> Vec<Content> {
        (0..count).map(chunk).collect()
    }

    /// Counts the calls inside this tool.
    #[must_use]
    pub const fn probe(&self) -> &Probe {
        &self.probe
    }

    async fn run(self, call: ToolCall) -> Result<ToolOutput, ToolError> {
        let _inside = self.probe.enter();
        for next in 0..self.chunks {
            if self.fail_on_chunk == Some(next) {
                return Err(ToolError::failed(format!("failed on chunk {next}")));
            }
            call.context().emit(chunk(next));
            sleep(self.delay).await;
        }
        Ok(ToolOutput::contents(Self::chunks(self.chunks)))
    }
}

fn chunk(number: usize) -> Content {
    Content::from(format!("chunk_{number}"))
}

service!(StreamingTool);
