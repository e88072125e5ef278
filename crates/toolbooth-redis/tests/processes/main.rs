//! Limits of real processes on a real server, which each test starts by itself.
//!
//! `tests/shared/run` runs these tests on Redis and on Valkey. It sets the environment variable
//! `TOOLBOOTH_TEST_SERVER` to the path of the program, and does not skip the ignored tests. The
//! processes are this program once more, see `worker`.

mod permits;
mod rate;
#[expect(dead_code, reason = "the tests of the store use more of it")]
#[path = "../servers/server.rs"]
mod server;
mod witness;
mod worker;
