//! A call as a stream of server-sent events.
//!
//! Invariants:
//! 1. The last event is `result` or `error`, and there is one of them.
//! 2. What a tool published before an item, or before its end, comes before it.
//! 3. At most one queue of updates and 16 items wait for the client.

mod event;
mod run;

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::{Stream, StreamExt, stream};
use tokio::time::Instant;
use toolbooth::{Name, ToolCall, UpdateKind, Updates};

use self::run::{End, Next, Running};
use super::Shared;
use crate::{Caller, Problem};

/// The minimum time between two `heartbeat` events.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// Makes nginx pass on each event at once, as other proxies do for `text/event-stream`.
const NO_BUFFERING: (HeaderName, HeaderValue) = (
    HeaderName::from_static("x-accel-buffering"),
    HeaderValue::from_static("no"),
);

/// The events of a running call. Dropping it ends the call.
#[derive(Debug)]
struct Events {
    call_id: Name,
    /// Keeps the call of the request, with which this one ends.
    _caller: Caller,
    updates: Updates,
    running: Option<Running>,
    /// What comes after the updates that are queued.
    next: Option<Next>,
    /// How many updates may come before `next`, so that a busy tool does not delay it forever.
    before: usize,
    capacity: usize,
    heartbeat: Option<Instant>,
}

/// An event, or the error of the call, which is the last event.
#[derive(Debug)]
enum Sent {
    Event(Event),
    Failed(Problem),
}

/// Makes a call, and the response of its events.
///
/// It waits for the first event, for at most one keep-alive interval. So a call that fails before
/// has the status of its error.
pub(super) async fn respond(
    shared: &Shared,
    caller: Caller,
    call: ToolCall,
) -> Result<Response, Problem> {
    let mut events = Events::start(shared, caller, call);
    let keep_alive = shared.settings.keep_alive;
    let first = tokio::time::timeout(keep_alive, poll_fn(|cx| events.poll_sent(cx))).await;
    let first = match first {
        Ok(Some(Sent::Failed(problem))) => return Err(problem),
        Ok(Some(Sent::Event(event))) => Some(event),
        // It is not over yet.
        Ok(None) | Err(_) => None,
    };
    let events = stream::iter(first).chain(events).map(Ok::<_, Infallible>);
    let keep_alive = KeepAlive::new().interval(keep_alive);
    let mut response = Sse::new(events).keep_alive(keep_alive).into_response();
    response.headers_mut().extend([NO_BUFFERING]);
    Ok(response)
}

// === impl Events ===

impl Events {
    fn start(shared: &Shared, caller: Caller, call: ToolCall) -> Self {
        let settings = &shared.settings;
        Self {
            call_id: call.context().id(),
            _caller: caller,
            updates: call.updates_with_capacity(settings.queued_events),
            next: None,
            before: 0,
            capacity: settings.queued_events,
            heartbeat: None,
            running: Some(Running::start(shared.tools.clone(), call, settings.stall)),
        }
    }

    fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<Option<Sent>> {
        loop {
            let Some(running) = &mut self.running else {
                return Poll::Ready(None);
            };
            if self.next.is_none()
                && let Poll::Ready(next) = running.poll_next(cx)
            {
                self.next = Some(next);
                // The queue, and the note that some were dropped.
                self.before = self.capacity.saturating_add(1);
            }
            let update = match self.next {
                None => match self.updates.poll_next_unpin(cx) {
                    // The end follows, and wakes the task.
                    Poll::Ready(None) | Poll::Pending => return Poll::Pending,
                    Poll::Ready(update) => update,
                },
                Some(_) if self.before == 0 => None,
                Some(_) => {
                    self.before -= 1;
                    self.updates.try_recv()
                }
            };
            let sent = match update {
                Some(update) if update.kind == UpdateKind::Heartbeat && !self.beats() => continue,
                Some(update) => event::update(update),
                None => match self.next.take() {
                    Some(Next::Item(content)) => event::item(&content),
                    Some(Next::End(end)) => {
                        self.running = None;
                        self.end(end)
                    }
                    None => continue,
                },
            };
            return Poll::Ready(Some(match sent {
                Ok(event) => Sent::Event(event),
                Err(problem) => {
                    self.running = None;
                    Sent::Failed(problem)
                }
            }));
        }
    }

    fn end(&self, end: End) -> Result<Event, Problem> {
        match end {
            End::Response(collected) => event::result(&self.call_id, &collected),
            End::Failed(error) => Err(error.into()),
            End::Stalled => Err(event::stalled()),
        }
    }

    /// Returns whether a heartbeat is sent now.
    fn beats(&mut self) -> bool {
        let now = Instant::now();
        let beats = self.heartbeat.is_none_or(|last| now >= last + HEARTBEAT);
        if beats {
            self.heartbeat = Some(now);
        }
        beats
    }
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.poll_sent(cx).map(|sent| {
            Some(match sent? {
                Sent::Event(event) => event,
                Sent::Failed(problem) => event::error(&problem),
            })
        })
    }
}
