//! Limits that several processes share, with a store in memory on a paused clock.

mod away;
mod charges;
mod faulty;
mod keys;
mod permits;
mod replies;
mod simulation;
mod support;
mod tokens;
mod windows;
