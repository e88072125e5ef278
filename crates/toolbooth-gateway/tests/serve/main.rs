//! `toolbooth run` as a user starts it: the real program, real sockets, real signals.
//!
//! The tests wait for events: a line of the log, the end of a process, a response. A wait without a
//! result fails after a minute.

mod admin;
mod hostile;
mod origins;
mod reload;
mod shutdown;
mod stdio;
mod support;
mod tenants;
mod upstreams;
