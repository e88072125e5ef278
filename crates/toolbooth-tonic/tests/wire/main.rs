//! tonic's server and its clients over a connection in memory, on the paused clock.

mod client;
mod server;
mod tools;

use std::time::Duration;

use tokio::time::Instant;
use tonic::Code;
use toolbooth::breaker::BreakerState;
use toolbooth::{
    BreakerPolicy, CircuitBreakerLayer, ConcurrencyLimitLayer, Event, EventsLayer, TimeoutLayer,
};
use toolbooth_test::{Recorder, ms};
use toolbooth_tonic::{ChannelLayer, ClientLayer, ServerLayer};
use tower::{Layer, ServiceBuilder};

use tools::{Reply, Running, Tools, call, items_of, message, open, start};

/// A breaker that opens at the second failure.
fn breaker() -> CircuitBreakerLayer {
    let policy = BreakerPolicy::new().with_consecutive_failures(2);
    CircuitBreakerLayer::with_policy(policy.expect("2 is not 0"))
}

/// The name and the type of the error of the last event.
fn terminal(events: &Recorder<Event>) -> (&'static str, Option<String>) {
    let events = events.values();
    let last = events.last().expect("an event");
    let error_type = last.kind.error_type().map(str::to_owned);
    (last.name(), error_type)
}
