//! The store on a real server, which each test starts by itself.
//!
//! `tests/shared/run` runs these tests on Redis and on Valkey. It sets the environment variable
//! `TOOLBOOTH_TEST_SERVER` to the path of the program. Other runs leave the target out.

mod connection;
mod keys;
mod limits;
mod permits;
mod server;
mod support;
mod tokens;
