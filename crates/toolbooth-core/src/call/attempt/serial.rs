use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

/// Returns a number unique in this process. Each thread takes blocks of 1,000: a counter shared by
/// all threads is a contended cache line, which costs more than the rest of a call.
pub(super) fn serial() -> u64 {
    const BLOCK: u64 = 1_000;
    static BLOCKS: AtomicU64 = AtomicU64::new(0);
    thread_local! {
        static NEXT: Cell<u64> = const { Cell::new(0) };
    }
    let next = NEXT.get();
    let next = match next % BLOCK {
        0 => BLOCKS.fetch_add(1, Ordering::Relaxed) * BLOCK + 1,
        _ => next,
    };
    NEXT.set(next + 1);
    next
}
