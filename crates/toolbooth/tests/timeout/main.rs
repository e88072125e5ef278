//! The timeout on the paused clock: which limit strikes, when exactly, and in what order things go.

#[path = "../support/mod.rs"]
mod support;

mod limits;
mod moving;
mod streams;
mod strike;

use support::laws::every_layer;
use support::{
    Outcomes, Probe, Response, ScriptedTool, call, error, mock, ms, next, pass, streaming, text,
    texts, ticking,
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
