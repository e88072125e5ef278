//! Reads a response to its end, since a result of MCP is not a stream.

use futures_util::StreamExt as _;
use toolbooth::{Collected, Content, ToolError, ToolOutput};

use super::progress::Reporter;

/// The maximum number of items of a streaming response.
pub(super) const MAX_ITEMS: usize = 1_024;

/// The maximum size of a streaming response in bytes, as [`Content::size`] counts.
pub(super) const MAX_BYTES: usize = 4 << 20;

/// The end of a call without a response.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) error: ToolError,
    /// The items of a streaming response that came before.
    pub(super) received: Vec<Content>,
    /// What a model reads of the response, in addition to the error.
    pub(super) note: Option<String>,
}

/// The error of a streaming response that is too long.
#[derive(Debug, thiserror::Error)]
#[error("the response has more than {MAX_ITEMS} items or {MAX_BYTES} bytes")]
struct TooLong;

/// Waits for a response, and reads it. Items are reported as progress.
pub(super) async fn collect(
    response: impl Future<Output = Result<ToolOutput, ToolError>>,
    reporter: &mut Reporter,
) -> Result<Collected, Failed> {
    let output = reporter.during(response).await?;
    if !output.is_stream() {
        return Ok(output.collect().await?);
    }
    let empty = output.to_collected(Vec::new());
    let mut stream = output.into_stream();
    let (mut received, mut size) = (Vec::new(), 0_usize);
    while let Some(item) = reporter.during(stream.next()).await {
        let content = match item {
            Ok(content) => content,
            Err(error) => {
                return Err(Failed {
                    received,
                    ..Failed::from(error)
                });
            }
        };
        size = size.saturating_add(content.size());
        if received.len() == MAX_ITEMS || size > MAX_BYTES {
            return Err(Failed {
                error: ToolError::failed(TooLong),
                received,
                note: Some("The rest of its response is too long for a result.".to_owned()),
            });
        }
        reporter.item(&content);
        received.push(content);
    }
    Ok(empty.with_contents(received))
}

// === impl Failed ===

impl From<ToolError> for Failed {
    fn from(error: ToolError) -> Self {
        Self {
            error,
            received: Vec::new(),
            note: None,
        }
    }
}
