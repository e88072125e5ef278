//! `EventsLayer`: its sinks, and what they deliver of one call.

#[path = "../support/mod.rs"]
mod support;

mod contents;
mod recorded;
mod span_contents;
mod span_ends;
mod span_follows;
mod span_parents;
mod spans;
