use std::time::Duration;

use tokio::time::sleep;
use toolbooth_core::{Content, ToolCall, ToolError, ToolOutput};

use super::service;
use crate::probe::Probe;

/// Emits `chunk_0`, `chunk_1`, ... through its context, sleeps after each, and answers with all of them at the end.
///
/// So chunk `i` is emitted at `i` times the delay. Where it is told to fail, it does instead of emitting that chunk.
/// For an answer that is itself a stream there is [`GeneratorTool`](crate::GeneratorTool).
///
/// ```
/// use toolbooth::{ErrorKind, PartialResultLayer, ToolCall};
/// use toolbooth_test::{StreamingTool, call_all, ms};
/// use tower::Layer;
///
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let tool = StreamingTool::new(ms(200), 20).with_fail_on_chunk(2);
/// let tool = PartialResultLayer::new().layer(tool);
/// let finished = call_all(tool, [ToolCall::new("crawl", serde_json::json!(null))]).await;
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
    /// So many chunks, with a delay after each.
    #[must_use]
    pub fn new(delay: Duration, chunks: usize) -> Self {
        Self {
            delay,
            chunks,
            fail_on_chunk: None,
            probe: Probe::new(),
        }
    }

    /// Fails where this chunk, counted from 0, would come.
    #[must_use]
    pub const fn with_fail_on_chunk(mut self, chunk: usize) -> Self {
        self.fail_on_chunk = Some(chunk);
        self
    }

    /// The first `count` chunks, to compare with.
    #[must_use]
    pub fn chunks(count: usize) -> Vec<Content> {
        (0..count).map(chunk).collect()
    }

    /// Who is inside.
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
