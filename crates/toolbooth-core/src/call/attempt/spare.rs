//! The memory of the last attempt that ended on a thread: the next call there uses it again.
//!
//! It saves the allocation, its end, and the last handle's locked instruction (benchmark line
//! `ready`).
//!
//! Invariant: a spare attempt has no other handle, and is a new one without a name.

use std::cell::Cell;

use triomphe::UniqueArc;

use super::serial::serial;
use super::{Attempt, AttemptHandle, Call, Lineage};
use crate::call::name::Name;
use crate::call::settings::Settings;

thread_local! {
    static SPARE: Cell<Option<UniqueArc<Attempt>>> = const { Cell::new(None) };
}

// === impl Attempt ===

impl Attempt {
    /// Creates the first attempt of a call that has no settings yet.
    #[inline]
    pub(in crate::call) fn begin(tool: Name) -> AttemptHandle {
        // Fails while the thread ends.
        let spare = SPARE.try_with(Cell::take);
        let Some(mut attempt) = spare.ok().flatten() else {
            return Self::allocate(tool);
        };
        attempt.settings.tool = tool;
        if let Lineage::First(call) = &mut attempt.lineage {
            call.serial = serial();
        }
        attempt.shareable()
    }

    #[cold]
    fn allocate(tool: Name) -> AttemptHandle {
        AttemptHandle::new(Self::first(Settings::new(tool)))
    }

    /// Drops the handle of an attempt that is over. If it is the last one, a new attempt takes the
    /// place of this one, and is kept for the next call.
    #[inline]
    pub(crate) fn retire(handle: AttemptHandle) {
        if let Ok(mut attempt) = AttemptHandle::try_unique(handle) {
            *attempt = Self::new(
                Settings::new(Name::from_static("")),
                Lineage::First(Call::new(0)),
            );
            // Fails while the thread ends.
            let _ = SPARE.try_with(|spare| spare.set(Some(attempt)));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::Instant;

    use super::*;
    use crate::call::{Bound, CallContext, LimitId, Moment, Registered, ToolCall};
    use crate::error::TimeoutScope;
    use crate::outcome::Outcome;
    use crate::response::{Checkpointed, KeepPolicy};
    use crate::seam::{End, Part};

    fn call() -> ToolCall<()> {
        ToolCall::new("a tool with a name of some length", ())
            .with_id("id")
            .with_tenant("tenant")
            .with_deadline(Instant::now() + Duration::from_secs(60))
            .with_priority(7)
    }

    /// Enters two layers that write all that a call without anything rare has.
    fn enter(context: &CallContext) -> [Part; 2] {
        let parts = [Part::enter(context), Part::enter(context)];
        let [outer, inner] = &parts;
        assert!(outer.enter_timeout());
        outer.set_tool_is_idempotent(true);
        let bound = Bound::after(outer.now(), TimeoutScope::Total, Duration::from_secs(5));
        outer.set_bound(bound.expect("within the clock's range"));
        outer.keep(KeepPolicy::new());
        assert!(inner.count_once(LimitId::unique()));
        context.attempt_state().carry_reading(Some(Moment::now()));
        drop(context.fork());
        parts
    }

    fn end([outer, inner]: [Part; 2]) {
        inner.end(End::Complete, |_, _| ());
        outer.end(End::Complete, |_, _| ());
    }

    /// Makes a call from start to end. Returns where its attempt was.
    fn complete(call: ToolCall<()>, use_it: impl FnOnce(&CallContext)) -> *const Attempt {
        let at = address(call.context());
        let parts = enter(call.context());
        use_it(call.context());
        drop(call);
        end(parts);
        at
    }

    fn address(context: &CallContext) -> *const Attempt {
        AttemptHandle::as_ptr(context.attempt_state())
    }

    fn has_spare() -> bool {
        SPARE.take().is_some()
    }

    /// Returns all fields but the serial number.
    fn fields(attempt: &Attempt) -> String {
        let serial = format!("serial: {}", attempt.serial());
        let fields = format!("{attempt:?}");
        assert!(fields.contains(&serial), "{fields}");
        fields.replace(&serial, "serial")
    }

    /// Asserts that the next call uses the memory of the last attempt and finds nothing of it.
    fn assert_next_call_is_new(last: *const Attempt) {
        let next = ToolCall::new("tool", ());
        assert_eq!(address(next.context()), last);
        let new = Attempt::first(Settings::new("tool".into()));
        assert_eq!(fields(next.context().attempt_state()), fields(&new));
    }

    #[test]
    fn next_call_uses_the_memory_and_finds_nothing_of_the_last_one() {
        let last = complete(call(), |_| ());
        assert_next_call_is_new(last);
    }

    #[test]
    fn each_call_has_a_serial_number_of_its_own() {
        let serials = [(); 3].map(|()| {
            let call = call();
            let serial = call.context().serial();
            complete(call, |_| ());
            serial
        });
        assert!(serials.is_sorted() && serials[0] != serials[1] && serials[1] != serials[2]);
    }

    #[test]
    fn attempt_with_another_handle_is_not_reused() {
        let call = call();
        let context = call.context().clone();
        complete(call, |_| ());
        assert!(!has_spare());
        assert_eq!(context.tool(), "a tool with a name of some length");
    }

    #[test]
    fn nothing_rare_is_left_to_the_next_call() {
        let rare: [fn(&CallContext); 6] = [
            |context| drop(context.updates()),
            |context| drop(context.attempt_state().armed_signal()),
            |context| assert_eq!(context.on_cleanup(|_| async {}), Registered::Held),
            |context| context.progress(1, 2, "half"),
            |context| context.mark_not_started(),
            |context| assert_eq!(context.checkpoint("half"), Checkpointed::Kept),
        ];
        for rare in rare {
            let last = complete(call().with_timeout(Duration::from_secs(1)), rare);
            assert_next_call_is_new(last);
        }
    }

    #[test]
    fn memory_of_a_fork_is_used_for_a_first_attempt() {
        let first = call();
        let fork = first.clone();
        let last = complete(fork, |_| ());
        assert_next_call_is_new(last);
        drop(first);
    }

    #[test]
    fn failed_call_leaves_its_memory() {
        let call = call();
        let [outer, inner] = enter(call.context());
        drop(call);
        inner.end(End::Panicked, |_, _| ());
        outer.end(End::Panicked, |part, end| {
            assert_eq!(end.outcome(), Outcome::Panicked);
            assert_eq!(part.context().tenant(), Some("tenant"));
        });
        assert!(has_spare());
    }
}
