//! One attempt for each thread that is over and of which nobody has a handle: the next call uses its memory again.
//!
//! Invariant: a spare attempt holds nothing but short names, of its tool and its call, and no other handle of it, weak ones included, is left.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::{Attempt, Call, OPEN, serial};
use crate::call::Name;
use crate::call::settings::Settings;

thread_local! {
    static SPARE: Cell<Option<Arc<Attempt>>> = const { Cell::new(None) };
}

impl Attempt {
    /// The first attempt of a call.
    #[inline]
    pub(in crate::call) fn begin(tool: Name) -> Arc<Self> {
        let Some(mut spare) = SPARE.try_with(Cell::take).ok().flatten() else {
            return Arc::new(Self::first(Settings::new(tool)));
        };
        // Mostly the same tool is called again. To write another name, or to take away an id, takes a locked instruction.
        if !spare.settings.say_only(&tool) {
            let settings = Settings::new(tool);
            match Arc::get_mut(&mut spare) {
                Some(attempt) => attempt.settings = settings,
                None => return Arc::new(Self::first(settings)),
            }
        }
        spare.renew();
        spare
    }

    /// This handle of an attempt that is over is the last one. Weak ones may have been overlooked while somebody took a handle from one for
    /// a moment: but whoever makes a weak handle makes it for something rare or shared, and such an attempt is not kept.
    #[inline]
    pub(in crate::call) fn retire(attempt: Arc<Self>) {
        let is_empty = attempt.is_plain() && attempt.call.shared.get().is_none();
        if is_empty && attempt.settings.are_short() {
            // At the end of a thread it is dropped.
            let _ = SPARE.try_with(|spare| spare.set(Some(attempt)));
        }
    }

    /// As if it were made anew, but for its settings.
    #[inline]
    fn renew(&self) {
        let Self {
            settings: _,
            call:
                Call {
                    serial: number_of_call,
                    started,
                    attempts,
                    forked,
                    shared: _,
                },
            origin: _,
            inside: _,
            number,
            depth,
            timed,
            held,
            ended,
            closed,
            cancelled,
            reading,
            bound_at,
            bound_term,
            keep,
            keeper,
            lines,
            rare: _,
        } = self;
        number_of_call.store(serial(), Relaxed);
        started.set(None);
        attempts.store(0, Relaxed);
        forked.store(false, Relaxed);
        number.store(0, Relaxed);
        depth.store(0, Relaxed);
        timed.store(false, Relaxed);
        held.reset();
        ended.store(0, Relaxed);
        closed.store(OPEN, Relaxed);
        cancelled.store(OPEN, Relaxed);
        reading.set(None);
        bound_at.set(None);
        bound_term.store(0, Relaxed);
        keep.reset();
        keeper.store(0, Relaxed);
        lines.reset();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::call::settings::Bound;
    use crate::call::{CallContext, Moment, Name, Registered, ToolCall};
    use crate::error::{TimeoutScope, ToolError};
    use crate::outcome::CancelReason;
    use crate::response::{Checkpointed, KeepPolicy};
    use crate::seam::{End, Part};

    fn memory(context: &CallContext) -> *const Attempt {
        Arc::as_ptr(context.attempt_state())
    }

    /// Calls a tool through two layers that use all that a plain call has.
    fn parts(context: &CallContext) -> [Part; 2] {
        let [outer, inner] = [Part::enter(context), Part::enter(context)];
        assert!(outer.enter_timeout());
        drop(context.fork());
        let limit = Duration::from_secs(5);
        let bound = Bound::after(Moment::now(), TimeoutScope::Total, limit);
        outer.set_bound(bound.expect("not that far away"));
        outer.keep(KeepPolicy::new());
        inner.hold(&Arc::new(()));
        inner.hold_back();
        context.attempt_state().carry_reading(Some(Moment::now()));
        [outer, inner]
    }

    fn end_with(end: fn(&mut ToolError) -> End<'_>, [outer, inner]: [Part; 2]) {
        let error = &mut ToolError::failed("not found");
        inner.end(end(error), |_, _| ());
        outer.end(end(error), |_, _| ());
    }

    fn end(parts: [Part; 2]) {
        end_with(|_| End::Complete, parts);
    }

    /// All there is of it, but for the number that no other call has.
    fn shown(attempt: &Attempt) -> String {
        let serial = format!("serial: {}", attempt.serial());
        let shown = format!("{attempt:?}");
        assert!(shown.contains(&serial), "{shown}");
        shown.replace(&serial, "serial")
    }

    #[test]
    fn nothing_of_a_call_is_left_for_the_next() {
        let ends: [fn(&mut ToolError) -> End<'_>; 4] = [
            |_| End::Complete,
            |error| End::Failed(error),
            |_| End::Panicked,
            |_| End::Dropped(CancelReason::CallerGone),
        ];
        for end in ends {
            let plain = || ToolCall::new("tool", ());
            let known = || plain().with_id("call_8fj2");
            let made: [(ToolCall<()>, &str); 3] = [
                (plain(), "tool"),
                (plain(), "a tool with another name"),
                (known(), "tool"),
            ];
            for (first, name) in made {
                let (used, id) = (memory(first.context()), first.context().id());
                let parts = parts(first.context());
                drop(first);
                end_with(end, parts);
                let next = ToolCall::new(name, ());
                assert_eq!(memory(next.context()), used);
                assert_ne!(next.context().id(), id);
                let anew = Attempt::first(Settings::new(Name::from(name)));
                assert_eq!(shown(next.context().attempt_state()), shown(&anew));
            }
        }
    }

    /// What a layer does at the end may hand the call's context on: it is over for whoever gets it.
    #[tokio::test]
    async fn a_handle_that_the_end_itself_made_sees_the_end() {
        let part = Part::enter(ToolCall::new("tool", ()).context());
        let mut kept = None;
        part.end(End::Complete, |part, _| kept = Some(part.context().clone()));
        let kept = kept.expect("the end came");
        assert_eq!(kept.checkpoint("late"), Checkpointed::Over);
        kept.cancelled().await;
        assert_ne!(memory(ToolCall::new("other", ()).context()), memory(&kept));
    }

    /// With the counts of its handles: what each call that waits takes, too.
    #[test]
    #[cfg(target_pointer_width = "64")]
    fn a_context_is_240_bytes() {
        assert_eq!(size_of::<Attempt>() + 2 * size_of::<usize>(), 240);
    }

    #[test]
    fn long_names_are_not_kept() {
        let long = "n".repeat(1 << 20);
        for call in [
            ToolCall::new(long.as_str(), ()),
            ToolCall::new("tool", ()).with_id(long.as_str()),
        ] {
            let parts = parts(call.context());
            drop(call);
            end(parts);
            assert!(SPARE.take().is_none());
        }
    }

    #[test]
    fn a_call_of_which_somebody_has_a_handle_is_left_to_them() {
        let call = ToolCall::new("tool", ());
        let kept = call.context().clone();
        let parts = parts(&kept);
        drop(call);
        end(parts);
        assert_ne!(memory(ToolCall::new("other", ()).context()), memory(&kept));
        assert_eq!(kept.tool(), "tool");
    }

    #[test]
    fn a_call_with_anything_rare_is_not_used_again() {
        let rare: [fn(&CallContext); 4] = [
            |context| drop(context.canceller()),
            |context| drop(context.child("other", ())),
            |context| assert!(matches!(context.on_cleanup(|_| async {}), Registered::Held)),
            |context| context.progress(1, 2, "half"),
        ];
        for rare in rare {
            let call = ToolCall::new("tool", ());
            let parts = parts(call.context());
            rare(call.context());
            drop(call);
            end(parts);
            assert!(SPARE.take().is_none());
        }
    }
}
