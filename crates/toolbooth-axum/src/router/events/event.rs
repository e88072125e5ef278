//! The events of a call in the format of server-sent events.

use axum::http::StatusCode;
use axum::response::sse::Event;
use serde::Serialize;
use serde_json::json;
use toolbooth::{Collected, Content, ToolError, Update, UpdateKind};

use super::super::collect::Reply;
use crate::Problem;

/// The data of an event with the number of the attempt, if it is not the first.
#[derive(Serialize)]
struct OfAttempt<T> {
    #[serde(flatten)]
    data: T,
    #[serde(skip_serializing_if = "Option::is_none")]
    attempt: Option<u32>,
}

/// Returns the event of an update.
pub(super) fn update(update: Update) -> Result<Event, Problem> {
    let attempt = (update.attempt > 1).then_some(update.attempt);
    match update.kind {
        UpdateKind::Item(content) => of_attempt("partial", &*content, attempt),
        UpdateKind::Snapshot(content) => of_attempt("snapshot", &*content, attempt),
        UpdateKind::Progress(progress) => of_attempt("progress", progress, attempt),
        UpdateKind::Lagged(missed) => of_attempt("lagged", json!({ "missed": missed }), attempt),
        // A kind that is unknown here is activity at least.
        _ => of_attempt("heartbeat", json!({}), attempt),
    }
}

/// Returns the event of an item of a streaming response.
pub(super) fn item(content: &Content) -> Result<Event, Problem> {
    event("item", content)
}

/// Returns the last event of a call that completed.
pub(super) fn result(call_id: &str, collected: &Collected) -> Result<Event, Problem> {
    event("result", Reply { call_id, collected })
}

/// Returns the last event of a call that failed.
pub(super) fn error(problem: &Problem) -> Event {
    let json = String::from_utf8_lossy(&problem.to_json()).into_owned();
    Event::default().event("error").data(json)
}

/// Returns the problem of a client that does not read.
pub(super) fn stalled() -> Problem {
    let error = ToolError::cancelled(toolbooth::CancelReason::CallerGone);
    let status = StatusCode::from_u16(499).unwrap_or(StatusCode::REQUEST_TIMEOUT);
    let detail = "the client did not read the response in time";
    Problem::from(error).described(status, "slow_client", detail.to_owned())
}

fn of_attempt(name: &str, data: impl Serialize, attempt: Option<u32>) -> Result<Event, Problem> {
    event(name, OfAttempt { data, attempt })
}

fn event(name: &str, data: impl Serialize) -> Result<Event, Problem> {
    let event = Event::default().event(name).json_data(data);
    event.map_err(|error| ToolError::failed(error).into())
}
