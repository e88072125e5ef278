//! The panics of tasks, which a runtime catches.

use std::cell::Cell;
use std::panic;
use std::sync::Once;

thread_local! {
    static COUNTED: Cell<usize> = const { Cell::new(0) };
}

/// Counts panics from now on.
pub(crate) fn count() {
    static BEGUN: Once = Once::new();
    BEGUN.call_once(|| {
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            COUNTED.set(COUNTED.get() + 1);
            print(info);
        }));
    });
}

/// Returns the number of panics on this thread, on which all tasks of a test run.
pub(crate) fn counted() -> usize {
    COUNTED.get()
}
