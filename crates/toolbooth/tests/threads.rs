//! What threads share, under a model checker: the files themselves, compiled with shuttle's locks and atomics in the place of the
//! standard library's, so that every order in which threads may come to them is one that a test can run.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "the library's files, of which a test uses its share"
)]

/// What stands in the place of the library's module of this name.
mod middleware {
    pub(crate) use toolbooth::ConfigError;

    pub(crate) use crate::keys;
    pub(crate) use crate::per_tool::PerTool;

    pub(crate) mod sync {
        pub(crate) use shuttle::sync::{Arc, Mutex, MutexGuard, atomic};

        pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
            mutex.lock().expect("a thread that panics fails the test")
        }
    }
}

/// The library's files, and what is tested of them.
mod breaker {
    #[path = "../../src/breaker/counting.rs"]
    mod counting;
    #[path = "../../src/breaker/keyed.rs"]
    mod keyed;
    #[path = "../../src/breaker/policy.rs"]
    mod policy;
    #[path = "../../src/breaker/rule.rs"]
    mod rule;
    #[path = "../../src/breaker/shared.rs"]
    mod shared;
    #[path = "../../src/breaker/window.rs"]
    mod window;

    #[path = "../threads/breaker.rs"]
    mod tests;
}

#[path = "../src/middleware/keys.rs"]
mod keys;
#[path = "../src/middleware/per_tool.rs"]
mod per_tool;
