use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::HttpBody;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use pin_project_lite::pin_project;
use toolbooth::{BoxError, ToolError};

use crate::Problem;

pin_project! {
    /// The body of a response through a [`FinalEventLayer`](super::FinalEventLayer).
    ///
    /// # Cancel safety
    /// Dropping it drops the inner body, which ends the call.
    #[derive(Debug)]
    #[must_use = "dropping it ends the call"]
    pub struct FinalEventBody<B> {
        #[pin]
        body: B,
        state: State,
    }
}

/// Where the body is.
#[derive(Debug, Clone, Copy)]
enum State {
    /// It has no events, and is passed as it is.
    Passed,
    /// Its last frames end with this number of line ends, of which two end an event.
    Events(u8),
    /// The error event was the last frame.
    Ended,
}

// === impl FinalEventBody ===

impl<B> FinalEventBody<B> {
    pub(super) const fn new(body: B, has_events: bool) -> Self {
        let state = match has_events {
            // Before the first event.
            true => State::Events(2),
            false => State::Passed,
        };
        Self { body, state }
    }
}

impl<B> HttpBody for FinalEventBody<B>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BoxError> + 'static,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = self.project();
        if matches!(this.state, State::Ended) {
            return Poll::Ready(None);
        }
        let frame = ready!(this.body.poll_frame(cx));
        Poll::Ready(match (frame, &mut *this.state) {
            (Some(Ok(frame)), State::Events(line_ends)) => {
                if let Some(data) = frame.data_ref() {
                    *line_ends = line_ends_of(data, *line_ends);
                }
                Some(Ok(frame))
            }
            (Some(Err(error)), State::Events(2..)) => {
                *this.state = State::Ended;
                Some(Ok(Frame::data(event(error.into()))))
            }
            (frame, _) => frame.map(|frame| frame.map_err(Into::into)),
        })
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.state, State::Ended) || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        match self.state {
            State::Passed => self.body.size_hint(),
            // The last event is not known.
            State::Events(_) => SizeHint::default(),
            State::Ended => SizeHint::with_exact(0),
        }
    }
}

/// Returns the number of line ends at the end of all data so far, up to 2.
fn line_ends_of(data: &[u8], before: u8) -> u8 {
    match data {
        [] => before,
        [b'\n'] => (before + 1).min(2),
        [.., b'\n', b'\n'] => 2,
        [.., b'\n'] => 1,
        _ => 0,
    }
}

/// Returns the event of an error, which axum may have boxed.
fn event(error: BoxError) -> Bytes {
    let error = match error.downcast::<axum::Error>() {
        Ok(error) => error.into_inner(),
        Err(error) => error,
    };
    let json = Problem::from(ToolError::from(error)).to_json();
    // The JSON has no line ends of its own.
    [&b"event: error\ndata: "[..], &json, b"\n\n"]
        .concat()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_of_an_event_is_found_across_frames() {
        for (frames, expected) in [
            (&[&b"data: 1\n\n"[..]][..], 2),
            (&[b"data: 1\n", b"\n"], 2),
            (&[b"data: 1", b"\n", b"", b"\n"], 2),
            (&[b"data: 1\n\n", b"\n"], 2),
            (&[b"data: 1\n\n", b"data: 2\n"], 1),
            (&[b"data: 1\n\n", b"da"], 0),
            (&[], 2),
        ] {
            let found = frames.iter().fold(2, |ends, data| line_ends_of(data, ends));
            assert_eq!(found, expected, "{frames:?}");
        }
    }
}
