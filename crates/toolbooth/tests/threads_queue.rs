//! The waiting line under a model checker: the library's files, compiled with shuttle's locks and atomics in the place of the
//! standard library's, so that every order in which threads may come to them is one that a test can run.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "the library's files, of which a test uses its share"
)]

/// What stands in the place of the library's module of this name.
mod middleware {
    pub(crate) mod sync {
        pub(crate) use shuttle::sync::{Arc, Mutex, MutexGuard, atomic};

        pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
            mutex.lock().expect("a thread that panics fails the test")
        }
    }

    pub(crate) use toolbooth::ConfigError;
    use toolbooth_core::Part;

    pub(crate) use crate::keys;
    pub(crate) use crate::per_tool::PerTool;

    /// No user's function panics here.
    pub(crate) fn ask<T>(part: Part, user: impl FnOnce(&Part) -> T) -> (Part, T) {
        let said = user(&part);
        (part, said)
    }
}

#[path = "../src/rate/gcra.rs"]
mod gcra;
#[path = "../src/middleware/keys.rs"]
mod keys;
#[path = "../src/middleware/per_tool.rs"]
mod per_tool;
#[path = "../src/concurrency/permits.rs"]
mod permits;
#[path = "threads_queue/mod.rs"]
mod queue;
