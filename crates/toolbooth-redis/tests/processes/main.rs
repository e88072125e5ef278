//! Limits of real processes on a real server, which each test starts by itself.
//!
//! `tests/shared/run` runs these tests on Redis and on Valkey. It sets the environment variable
//! `TOOLBOOTH_TEST_SERVER` to the path of the program. The processes are this program once more,
//! see `worker`. Half of the clocks are changed by `faketime`.

#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "the time of real processes is not that of a runtime"
)]

mod away;
mod clocks;
mod failover;
mod namespace;
mod network;
mod permits;
mod proxy;
mod rate;
#[path = "../servers/server.rs"]
mod server;
mod simulation;
#[cfg(feature = "tls")]
mod tls;
mod witness;
mod worker;
