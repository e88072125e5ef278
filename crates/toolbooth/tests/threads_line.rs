//! The waiting line under a model checker: the library's files, compiled with shuttle's locks and atomics in the place of the
//! standard library's, so that every order in which threads may come to them is one that a test can run.

#![allow(
    dead_code,
    unreachable_pub,
    reason = "the library's files, of which a test uses its share"
)]

/// What stands in the place of the library's module of this name.
mod shell {
    pub(crate) mod sync {
        pub(crate) use shuttle::sync::{Arc, Mutex, MutexGuard, atomic};

        pub(crate) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
            mutex.lock().expect("a thread that panics fails the test")
        }
    }

    /// No key is looked at here.
    pub(crate) mod keys {
        pub(crate) const MAX_KEY: usize = 1_024;

        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum KeyRefusal {
            TooLong(usize),
        }

        impl KeyRefusal {
            pub(crate) fn error(self) -> toolbooth_core::ToolError {
                toolbooth_core::ToolError::invalid_arguments("key", format!("{self:?}"))
            }
        }
    }
}

#[path = "../src/rate/gcra.rs"]
mod gcra;
#[path = "threads_line/mod.rs"]
mod line;
#[path = "../src/concurrency/permits.rs"]
mod permits;
