//! The response of a tool as one JSON document.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use futures_util::Stream;
use serde::Serialize;
use toolbooth::{Collected, Content, ContentStream, ToolError, ToolOutput};

use crate::Problem;

/// What an item counts besides its contents: about what it takes in memory.
const ITEM: usize = 64;

/// A response with the id of its call.
#[derive(Serialize)]
pub(super) struct Reply<'a> {
    pub(super) call_id: &'a str,
    #[serde(flatten)]
    pub(super) collected: &'a Collected,
}

/// The items of a stream up to a limit on their sizes, then an error.
struct Limited {
    stream: ContentStream,
    limit: usize,
    left: usize,
}

/// The error of a streaming response that exceeds the limit.
#[derive(Debug)]
struct TooLarge {
    limit: usize,
}

/// Reads a response to its end. A streaming response has at most `limit` bytes.
pub(super) async fn collect(output: ToolOutput, limit: usize) -> Result<Collected, Problem> {
    if !output.is_stream() {
        return Ok(output.collect().await?);
    }
    let settings = output.to_collected(Vec::new());
    let limited = Limited {
        stream: output.into_stream(),
        limit,
        left: limit,
    };
    match ToolOutput::stream(limited).collect().await {
        Ok(collected) => Ok(settings.with_contents(collected.into_contents())),
        Err(error) => Err(problem(error)),
    }
}

/// Makes the response of a complete result.
pub(super) fn json(call_id: &str, collected: &Collected) -> Result<Response, Problem> {
    let json = serde_json::to_vec(&Reply { call_id, collected });
    let json = json.map_err(ToolError::failed)?;
    let mut response = Response::new(Body::from(json));
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    Ok(response)
}

fn problem(error: ToolError) -> Problem {
    let too_large = match &error {
        ToolError::Tool { source, .. } => source.downcast_ref::<TooLarge>(),
        _ => None,
    };
    let Some(TooLarge { limit }) = too_large else {
        return error.into();
    };
    let detail = format!(
        "the response of the tool has more than {limit} bytes: accept `text/event-stream` to \
         receive it as a stream"
    );
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    Problem::from(error).described(status, "response_too_large", detail)
}

// === impl Limited ===

impl Stream for Limited {
    type Item = Result<Content, ToolError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let item = std::task::ready!(Pin::new(&mut self.stream).poll_next(cx));
        let Some(Ok(content)) = &item else {
            return Poll::Ready(item);
        };
        let size = content.size().saturating_add(ITEM);
        Poll::Ready(match self.left.checked_sub(size) {
            Some(left) => {
                self.left = left;
                item
            }
            None => Some(Err(ToolError::failed(TooLarge { limit: self.limit }))),
        })
    }
}

// === impl TooLarge ===

impl fmt::Display for TooLarge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the response has more than {} bytes", self.limit)
    }
}

impl std::error::Error for TooLarge {}
