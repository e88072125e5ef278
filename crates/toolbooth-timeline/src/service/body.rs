//! The bodies of responses, among them the stream of updates.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::State;
use crate::Recorder;

/// The body of a response of the [`TimelineService`](super::TimelineService).
pub struct TimelineBody(Kind);

enum Kind {
    Full(Bytes),
    Events(Box<Events>),
}

/// The updates of one client. Nothing is buffered: what changed is read with each frame.
struct Events {
    recorder: Recorder,
    service: Weak<State>,
    tick: Interval,
    /// What the client has received; `None` before the first frame.
    version: Option<u64>,
    /// Whether there is more to deliver at once.
    is_behind: bool,
    /// How many ticks had nothing to report.
    quiet: u32,
    /// One of the clients that are served at once.
    _permit: OwnedSemaphorePermit,
}

/// The time between two updates.
const TICK: Duration = Duration::from_millis(250);
/// A comment follows after this many ticks without an update, so that both ends notice a lost
/// connection.
const QUIET_TICKS: u32 = 40;
/// The most calls of a frame.
const MAX_CALLS: usize = 500;

// === impl TimelineBody ===

impl TimelineBody {
    pub(super) const fn empty() -> Self {
        Self(Kind::Full(Bytes::new()))
    }

    pub(super) fn full(text: String) -> Self {
        Self(Kind::Full(text.into()))
    }

    pub(super) fn events(
        recorder: &Recorder,
        service: &Arc<State>,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self(Kind::Events(Box::new(Events {
            recorder: recorder.clone(),
            service: Arc::downgrade(service),
            tick,
            version: None,
            is_behind: false,
            quiet: 0,
            _permit: permit,
        })))
    }
}

impl Body for TimelineBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let data = match &mut self.0 {
            Kind::Full(bytes) if bytes.is_empty() => None,
            Kind::Full(bytes) => Some(std::mem::take(bytes)),
            Kind::Events(events) => ready!(events.poll_next(cx)).map(Bytes::from),
        };
        Poll::Ready(data.map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.0, Kind::Full(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Kind::Events(_) => SizeHint::default(),
        }
    }
}

impl fmt::Debug for TimelineBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Full(bytes) => f.debug_tuple("Full").field(&bytes.len()).finish(),
            Kind::Events(events) => f.debug_tuple("Events").field(&events.version).finish(),
        }
    }
}

// === impl Events ===

impl Events {
    /// Returns the next frame as text, or `None` after the service was closed or dropped.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<String>> {
        loop {
            if !self.is_behind {
                ready!(self.tick.poll_tick(cx));
            }
            if self.service.upgrade().is_none_or(|state| state.is_closed()) {
                return Poll::Ready(None);
            }
            if let Some(frame) = self.next() {
                return Poll::Ready(Some(frame));
            }
        }
    }

    fn next(&mut self) -> Option<String> {
        let mut timeline = self.recorder.changes(self.version.unwrap_or(0), MAX_CALLS);
        self.is_behind = timeline.calls.len() == MAX_CALLS;
        let is_first = self.version.replace(timeline.version).is_none();
        if !is_first {
            // The client has them.
            timeline.stacks.clear();
        }
        if is_first || !timeline.calls.is_empty() {
            self.quiet = 0;
            // The first frame replaces what a page has from a connection before.
            let name = if is_first { "event: reset\n" } else { "" };
            return Some(format!("{name}data: {}\n\n", timeline.to_json()));
        }
        self.quiet += 1;
        if self.quiet < QUIET_TICKS {
            return None;
        }
        self.quiet = 0;
        Some(":\n\n".to_owned())
    }
}
