//! Keeps `tracing` from disabling a call site for threads that record.

use std::sync::LazyLock;

use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Dispatch, Event, Metadata, Subscriber};

/// A subscriber that records nothing, and that decides about each span and each event anew.
struct Undecided;

/// Creates a dispatcher that lives as long as this process.
///
/// While there is one dispatcher only, the current thread's decides whether a new call site
/// is enabled. On a thread without one, it is disabled for all threads. With this one beside that
/// of a test there are two, and both decide.
pub(crate) fn keep_call_sites() {
    static DISPATCH: LazyLock<Dispatch> = LazyLock::new(|| Dispatch::new(Undecided));
    LazyLock::force(&DISPATCH);
}

// === impl Undecided ===

impl Subscriber for Undecided {
    fn register_callsite(&self, _: &'static Metadata<'static>) -> Interest {
        Interest::sometimes()
    }

    fn enabled(&self, _: &Metadata<'_>) -> bool {
        false
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, _: &Event<'_>) {}

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}
