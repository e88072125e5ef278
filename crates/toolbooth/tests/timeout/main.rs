//! `TimeoutLayer` on the paused clock: which limit expires, when, and what happens in which order.

#[path = "../support/mod.rs"]
mod support;

mod events;
mod expiry;
mod idle;
mod limits;
mod live;
mod streams;

use std::time::Duration;

use support::laws::every_layer;
use support::{
    Outcomes, Readiness, ScriptedTool, call, error, error_of, mock, ms, next, pass, respond, rest,
    runtime_without_time, stream_of, takes, text, text_of, texts, ticking, timeout,
};
use tokio::time::{Instant, advance};
use tokio_test::{assert_pending, assert_ready, task};
use toolbooth::{
    BoxError, Content, ErrorKind, Event, EventKind, EventsLayer, Outcome, PartialResultLayer,
    TimeoutLayer, TimeoutScope, ToolCall, ToolOutput,
};
use toolbooth_test::Recorder;
use tower::{Layer, Service, ServiceBuilder, ServiceExt};

every_layer!(TimeoutLayer::new(ms(1_000)));

const TOTAL: TimeoutScope = TimeoutScope::Total;
const DEADLINE: TimeoutScope = TimeoutScope::Deadline;
const IDLE: TimeoutScope = TimeoutScope::Idle;
