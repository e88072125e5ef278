//! The timeout on the paused clock: which limit strikes, when exactly, and in what order things go.

mod support;

#[path = "timeout/limits.rs"]
mod limits;
#[path = "timeout/moving.rs"]
mod moving;
#[path = "timeout/streams.rs"]
mod streams;
#[path = "timeout/strike.rs"]
mod strike;

use support::laws::every_layer;
use support::{
    Count, Probe, Reply, call, error, mock, ms, next, pass, text, texts, ticking, told, tracked,
};
use toolbooth::{TimeoutLayer, TimeoutScope, ToolError};

every_layer!(TimeoutLayer::new(ms(1_000)));

/// The limit that struck: its scope, its length, the time that had passed.
fn limit(error: &ToolError) -> (TimeoutScope, u128, u128) {
    match error {
        ToolError::Timeout {
            scope,
            limit,
            elapsed,
            ..
        } => (*scope, limit.as_millis(), elapsed.as_millis()),
        other => unreachable!("{other:?}"),
    }
}
