//! Reads the bodies of requests within bounds.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes};
use http::{Request, StatusCode};
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use pin_project_lite::pin_project;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::task::task_tracker::TaskTrackerToken;
use toolbooth::BoxError;

/// The bytes of requests that a client has in flight: bodies that are read, and the arguments of
/// calls that wait or run.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    kibibytes: Arc<Semaphore>,
    max_body: usize,
}

/// A part of a budget. Dropping it returns the bytes.
#[derive(Debug)]
pub(crate) struct Share(
    #[expect(dead_code, reason = "its drop returns the bytes")] OwnedSemaphorePermit,
);

pin_project! {
    /// A response that holds the share of its request.
    #[derive(Debug)]
    pub(crate) struct Sharing {
        #[pin]
        body: Body,
        share: Share,
        open: Option<TaskTrackerToken>,
    }
}

/// The bytes of the requests of one client at once, at least one body of the largest size.
const BUDGET: usize = 64 << 20;
/// The time in which a body is complete.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

// === impl Budget ===

impl Budget {
    pub(crate) fn new(max_body: usize) -> Self {
        let kibibytes = BUDGET.max(max_body).div_ceil(1_024) + 1;
        Self {
            kibibytes: Arc::new(Semaphore::new(kibibytes.min(Semaphore::MAX_PERMITS))),
            max_body,
        }
    }

    /// Reads the body of a request. It is complete within 30 s, and at most as long as allowed.
    pub(crate) async fn read<B>(
        &self,
        request: Request<B>,
    ) -> Result<(Request<Body>, Share), (StatusCode, &'static str)>
    where
        B: HttpBody<Data = Bytes, Error: Into<BoxError>>,
    {
        let (parts, body) = request.into_parts();
        let hint = body.size_hint();
        let too_large = (StatusCode::PAYLOAD_TOO_LARGE, "the body is too large");
        let max_body = u64::try_from(self.max_body).unwrap_or(u64::MAX);
        if hint.lower() > max_body {
            return Err(too_large);
        }
        let share = self.share(hint.upper().unwrap_or(max_body))?;
        let read = Limited::new(body, self.max_body).collect();
        let bytes = match tokio::time::timeout(READ_TIMEOUT, read).await {
            Ok(Ok(collected)) => collected.to_bytes(),
            Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(too_large),
            Ok(Err(_)) => return Err((StatusCode::BAD_REQUEST, "the body is not complete")),
            Err(_) => return Err((StatusCode::REQUEST_TIMEOUT, "the body took too long")),
        };
        Ok((Request::from_parts(parts, Body::from(bytes)), share))
    }

    fn share(&self, bytes: u64) -> Result<Share, (StatusCode, &'static str)> {
        let kibibytes = u32::try_from(bytes.div_ceil(1_024)).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.kibibytes).try_acquire_many_owned(kibibytes.max(1));
        let reason = "the requests in flight of this client have too many bytes";
        permit
            .map(Share)
            .or(Err((StatusCode::SERVICE_UNAVAILABLE, reason)))
    }
}

// === impl Share ===

impl Share {
    /// Holds the share, and what counts the response as open, until the response has ended.
    pub(crate) const fn until_end_of(self, body: Body, open: Option<TaskTrackerToken>) -> Sharing {
        Sharing {
            body,
            share: self,
            open,
        }
    }
}

// === impl Sharing ===

impl HttpBody for Sharing {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{Full, StreamBody};
    use tokio::time::Instant;

    use super::*;

    type Frames = Vec<Result<Frame<Bytes>, std::io::Error>>;

    fn status<T>(read: Result<T, (StatusCode, &'static str)>) -> u16 {
        read.err().map_or(200, |(status, _)| status.as_u16())
    }

    /// A byte each second is activity, and does not extend the time.
    #[tokio::test(start_paused = true)]
    async fn body_that_is_slow_or_stalls_is_408_after_30_s() {
        let budget = Budget::new(1_000);
        let start = Instant::now();
        let slow = futures_util::stream::unfold((), async |()| {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Some((
                Ok::<_, std::io::Error>(Frame::data(Bytes::from_static(b" "))),
                (),
            ))
        });
        let slow = Box::pin(StreamBody::new(slow));
        assert_eq!(status(budget.read(Request::new(slow)).await), 408);
        assert_eq!(start.elapsed(), READ_TIMEOUT);
    }

    #[tokio::test]
    async fn body_above_the_limit_is_413_and_one_that_breaks_is_400() {
        let budget = Budget::new(1_000);
        let full = |bytes: usize| Request::new(Full::new(Bytes::from(vec![b' '; bytes])));
        assert_eq!(status(budget.read(full(1_000)).await), 200);
        assert_eq!(status(budget.read(full(1_001)).await), 413);
        let frames =
            |frames: Frames| Request::new(StreamBody::new(futures_util::stream::iter(frames)));
        let part = || Ok(Frame::data(Bytes::from(vec![b' '; 600])));
        assert_eq!(status(budget.read(frames(vec![part(), part()])).await), 413);
        let broken = Err(std::io::ErrorKind::ConnectionReset.into());
        assert_eq!(status(budget.read(frames(vec![part(), broken])).await), 400);
    }

    #[tokio::test]
    async fn requests_in_flight_have_a_bound_and_return_their_bytes_with_the_response() {
        let budget = Budget::new(BUDGET / 2);
        let request = || Request::new(Full::new(Bytes::from(vec![b' '; BUDGET / 2])));
        let (_, first) = budget.read(request()).await.expect("there is room");
        let (_, second) = budget.read(request()).await.expect("there is room");
        assert_eq!(status(budget.read(request()).await), 503);
        let response = first.until_end_of(Body::empty(), None);
        assert_eq!(status(budget.read(request()).await), 503);
        drop(response);
        let (_, third) = budget.read(request()).await.expect("there is room");
        drop((second, third));
    }
}
