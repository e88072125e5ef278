//! The invariants of an attempt, by their numbers in `mod.rs`, and how it is cancelled.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use super::*;
use crate::call::{CallContext, LimitId, Registered, ToolCall};
use crate::error::{ErrorKind, OverloadReason, ToolError};
use crate::outcome::{CancelReason, Outcome};
use crate::seam::{End, Part};

#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

fn wakes() -> (Arc<Wakes>, Waker) {
    let wakes = Arc::<Wakes>::default();
    let waker = Waker::from(Arc::clone(&wakes));
    (wakes, waker)
}

fn call() -> ToolCall<()> {
    ToolCall::new("tool", ())
}

fn complete(part: Part) {
    part.end(End::Complete, |_, _| ());
}

fn poll_cancelled(part: &Part) -> Poll<CancelReason> {
    part.poll_cancelled(&mut Context::from_waker(Waker::noop()))
}

fn is_gone(context: &CallContext) -> bool {
    let mut cx = Context::from_waker(Waker::noop());
    pin!(context.cancelled()).poll(&mut cx).is_ready()
}

const EXPLICIT: Option<CancelReason> = Some(CancelReason::Explicit);

// === 1 and 2: depths ===

#[test]
fn outermost_cancellation_and_end_win() {
    let call = call();
    let attempt = call.context().attempt_state();
    let parts = [(); 3].map(|()| Part::enter(call.context()));
    parts[1].cancel(CancelReason::Timeout);
    parts[2].cancel(CancelReason::CallerGone);
    let reasons = [1, 2, 3].map(|depth| attempt.cancelled_outside(depth));
    assert_eq!(reasons, [None, None, Some(CancelReason::Timeout)]);
    parts[0].cancel(CancelReason::CallerGone);
    assert_eq!(attempt.cancelled_outside(2), Some(CancelReason::CallerGone));

    let [outer, middle, inner] = parts;
    inner.end(End::Failed(&mut ToolError::failed("no")), |_, _| ());
    complete(middle);
    assert_eq!(attempt.ended_outside(2), None);
    assert_eq!(attempt.ended_outside(3), Some(Outcome::Completed));
    assert!(!attempt.has_ended());
    complete(outer);
    assert!(attempt.has_ended());
}

#[test]
fn fork_is_cancelled_and_over_with_the_layers_around_it() {
    for (depth, is_around) in [(0, true), (1, true), (2, false)] {
        let call = call();
        let mut parts = vec![Part::enter(call.context()), Part::enter(call.context())];
        let fork = call.clone();
        parts.push(Part::enter(call.context()));
        parts[depth].cancel(CancelReason::Timeout);
        assert_eq!(
            fork.context().is_cancelled(),
            is_around,
            "cancelled at {depth}"
        );
        assert_eq!(is_gone(fork.context()), is_around, "cancelled at {depth}");
    }
    let call = call();
    let [outer, inner] = [(); 2].map(|()| Part::enter(call.context()));
    let fork = call.clone();
    let deeper = Part::enter(call.context());
    complete(deeper);
    assert!(!is_gone(fork.context()));
    complete(inner);
    assert!(is_gone(fork.context()));
    complete(outer);
}

// === 3: one writer at a time, but for tasks ===

#[test]
fn parts_on_both_sides_of_a_task_end_in_any_order() {
    let call = call();
    let attempt = call.context().attempt_state();
    let outer = Part::enter(call.context());
    attempt.enter_task();
    let inner = Part::enter(call.context());
    complete(outer);
    inner.end(End::Failed(&mut ToolError::failed("no")), |_, _| ());
    assert_eq!(attempt.ended_outside(u32::MAX), Some(Outcome::Completed));
}

// === 4: what registers and the end ===

#[test]
fn end_by_the_only_handle_reaches_a_handle_made_in_it() {
    let part = Part::enter(call().context());
    let mut kept = None;
    part.end(End::Complete, |part, _| kept = Some(part.context().clone()));
    let kept = kept.expect("the end ran");
    assert!(is_gone(&kept));
    assert_eq!(kept.on_cleanup(|_| async {}), Registered::RunsNow);
}

#[test]
fn waiters_are_woken_by_the_end_and_by_a_cancellation() {
    for cancels in [true, false] {
        let call = call();
        let [outer, inner] = [(); 2].map(|()| Part::enter(call.context()));
        let mut waits = pin!(call.context().cancelled());
        let (wakes, waker) = wakes();
        let mut cx = Context::from_waker(&waker);
        assert!(waits.as_mut().poll(&mut cx).is_pending());
        match cancels {
            true => inner.cancel(CancelReason::Timeout),
            false => complete(inner),
        }
        assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
        assert!(waits.as_mut().poll(&mut cx).is_ready());
        complete(outer);
    }
}

#[test]
fn last_handle_ends_what_no_layer_ended() {
    let call = call();
    let child = call.context().child("inner", ()).expect("not too deep");
    let flag = call.context().attempt_state().scope(u32::MAX);
    assert_eq!(
        (child.context().is_cancelled(), flag.is_cancelled()),
        (false, false)
    );
    drop(call);
    assert_eq!(child.context().cancel_reason(), Some(CancelReason::Parent));
    assert!(flag.is_cancelled());
}

/// A call without layers keeps no permit, and its children hold no handle to it.
#[test]
fn grandchild_inherits_through_a_call_without_layers() {
    let call = call();
    let part = Part::enter(call.context());
    let limit = LimitId::unique();
    part.hold(limit);
    let between = call.context().child("between", ()).expect("not too deep");
    let grandchild = between.context().child("inner", ()).expect("not too deep");
    assert!(Part::enter(grandchild.context()).inherits(limit));
    drop(between);
    let reason = grandchild.context().cancel_reason();
    assert_eq!(reason, Some(CancelReason::Parent));
    assert!(!part.release_permit(limit, ()));
    assert!(!Part::enter(grandchild.context()).inherits(limit));
    complete(part);
}

/// What registers after the cancellation or the end finds it.
#[test]
fn late_child_call_is_cancelled_from_the_start() {
    for cancels in [true, false] {
        let call = call();
        let [outer, inner] = [(); 2].map(|()| Part::enter(call.context()));
        match cancels {
            true => outer.cancel(CancelReason::Timeout),
            false => complete(inner),
        }
        let child = call.context().child("inner", ()).expect("not too deep");
        assert_eq!(child.context().cancel_reason(), Some(CancelReason::Parent));
        assert!(
            call.context()
                .attempt_state()
                .scope(u32::MAX)
                .is_cancelled()
        );
        complete(outer);
    }
}

// === held back ===

#[test]
fn attempt_that_got_through_is_not_held_back_by_a_later_one() {
    for first_is_held_back in [true, false] {
        let call = call();
        let outer = Part::enter(call.context());
        let [first, second] = [call.clone(), call.clone()];
        let mut attempts = Vec::new();
        for (attempt, is_held_back) in [(&first, first_is_held_back), (&second, true)] {
            let part = Part::enter(attempt.context());
            if is_held_back {
                part.hold_back();
            }
            assert_eq!(part.is_held_back(), is_held_back);
            attempts.push(part);
        }
        assert_eq!(outer.is_held_back(), first_is_held_back);
    }
}

/// Ends a part with the error, as each layer does that the error passes.
fn fail(part: Part, error: &mut ToolError) {
    part.end(End::Failed(error), |_, _| ());
}

/// Case A3. The layers inside of a retry see the second attempt alone.
#[test]
fn error_has_started_if_any_attempt_below_the_layer_has() {
    for first_is_held_back in [true, false] {
        let call = call();
        let outer = Part::enter(call.context());
        let [first, second] = [call.clone(), call.clone()];
        let part = Part::enter(first.context());
        if first_is_held_back {
            part.hold_back();
        }
        let mut error = ToolError::overloaded(OverloadReason::Closed);
        assert!(!error.started());
        fail(part, &mut error);
        assert_eq!(error.started(), !first_is_held_back);

        let part = Part::enter(second.context());
        part.hold_back();
        let mut error = ToolError::rate_limited(Duration::from_secs(1));
        fail(part, &mut error);
        assert!(!error.started());
        fail(outer, &mut error);
        assert_eq!(error.started(), !first_is_held_back);
    }
}

#[test]
fn layer_that_admits_a_call_after_a_wait_has_started_it() {
    for (is_admitted, started) in [(false, false), (true, true)] {
        let call = call();
        let [outer, inner] = [(); 2].map(|()| Part::enter(call.context()));
        inner.hold_back();
        if is_admitted {
            inner.mark_admitted();
        }
        let mut error = ToolError::cancelled(CancelReason::Explicit);
        assert!(error.started());
        fail(inner, &mut error);
        assert_eq!(error.started(), started);
        fail(outer, &mut error);
        assert_eq!(error.started(), started);
    }
}

#[test]
fn adapter_that_rejects_arguments_has_not_started_its_tool() {
    let call = call();
    let part = Part::enter(call.context());
    call.context().mark_not_started();
    let mut error = ToolError::invalid_arguments("pages", "missing");
    fail(part, &mut error);
    assert!(!error.started());
}

/// The parent tool has run, whatever held its child back.
#[test]
fn error_of_a_rejected_child_has_started_once_the_parent_returns_it() {
    let call = call();
    let part = Part::enter(call.context());
    let child = call.context().child("inner", ()).expect("not too deep");
    let inner = Part::enter(child.context());
    inner.hold_back();
    let mut error = ToolError::overloaded(OverloadReason::Closed);
    fail(inner, &mut error);
    assert!(!error.started());
    fail(part, &mut error);
    assert_eq!((error.kind(), error.started()), (ErrorKind::Tool, true));
}

// === cancellation by a handle ===

#[test]
fn handle_wakes_the_outermost_layer_alone() {
    let call = call();
    let canceller = call.canceller();
    let [outer, inner] = [(); 2].map(|()| Part::enter(call.context()));
    let (wakes, waker) = wakes();
    let mut cx = Context::from_waker(&waker);
    assert!(inner.poll_cancelled(&mut cx).is_pending());
    assert!(outer.poll_cancelled(&mut cx).is_pending());
    canceller.cancel();
    assert_eq!(wakes.0.load(Ordering::SeqCst), 1);
    assert_eq!(poll_cancelled(&outer), Poll::Ready(CancelReason::Explicit));
    assert_eq!(poll_cancelled(&inner), Poll::Pending);
    complete(inner);
    complete(outer);
}

/// A context that waited before the handle was taken, and a child call made before.
#[test]
fn handle_reaches_what_was_there_before_it() {
    let call = call();
    let context = call.context().clone();
    let mut waits = pin!(context.cancelled());
    let mut cx = Context::from_waker(Waker::noop());
    assert!(waits.as_mut().poll(&mut cx).is_pending());
    let child = context.child("inner", ()).expect("not too deep");
    call.canceller().cancel();
    assert!(waits.as_mut().poll(&mut cx).is_ready());
    assert_eq!(context.cancel_reason(), EXPLICIT);
    assert_eq!(child.context().cancel_reason(), Some(CancelReason::Parent));
    let part = Part::enter(child.context());
    assert_eq!(poll_cancelled(&part), Poll::Ready(CancelReason::Parent));
    complete(part);
}

#[test]
fn handle_taken_inside_of_layers_ends_at_the_next_layer() {
    let call = call();
    let outer = Part::enter(call.context());
    let canceller = call.canceller();
    let (fork, inner) = (call.clone(), Part::enter(call.context()));
    let of_fork = Part::enter(fork.context());
    canceller.cancel();
    let polls = [&outer, &inner, &of_fork].map(poll_cancelled);
    let explicit = Poll::Ready(CancelReason::Explicit);
    assert_eq!(polls, [Poll::Pending, explicit, explicit]);
    assert_eq!(outer.cancelled_before_start(), None);
    [of_fork, inner, outer].into_iter().for_each(complete);
}

#[test]
fn handle_does_nothing_after_the_end_and_a_reason_that_was_read_stays() {
    let ends: [fn(&mut ToolError) -> End<'_>; 3] = [
        |_| End::Dropped(CancelReason::CallerGone),
        |error| End::Failed(error),
        |_| End::Complete,
    ];
    for end in ends {
        for before in [true, false] {
            let call = call();
            let canceller = call.canceller();
            let part = Part::enter(call.context());
            if before {
                canceller.cancel();
            }
            let error = &mut ToolError::failed("stopped");
            part.end(end(error), |_, _| ());
            let reason = call.context().cancel_reason();
            canceller.cancel();
            assert_eq!(call.context().cancel_reason(), reason);
            assert_eq!(reason == EXPLICIT, before);
        }
    }
}

#[test]
#[expect(clippy::redundant_clone, reason = "a clone is another attempt")]
fn fork_made_before_the_handle_goes_on() {
    let call = call();
    let earlier = call.clone();
    let canceller = call.canceller();
    let later = call.clone();
    let configured = call.clone().with_id("call_8fj2");
    canceller.cancel();
    let reasons = [&earlier, &later, &configured].map(|call| call.context().cancel_reason());
    assert_eq!(reasons, [None, EXPLICIT, EXPLICIT]);
}

#[test]
fn dropped_part_keeps_the_reason_from_outside() {
    let call = call();
    let canceller = call.canceller();
    let [outer, inner] = [(); 2].map(|()| Part::enter(call.context()));
    canceller.cancel();
    let reasons = [inner.cancel_dropped(), outer.cancel_dropped()];
    assert_eq!(reasons, [CancelReason::Explicit; 2]);
    complete(inner);
    complete(outer);
}

#[test]
fn waiters_and_children_alone_need_no_poll_by_a_layer() {
    let call = call();
    let part = Part::enter(call.context());
    assert!(!is_gone(call.context()));
    drop(call.context().child("inner", ()));
    assert_eq!(poll_cancelled(&part), Poll::Pending);
    assert!(
        call.context()
            .attempt_state()
            .with_rare(|rare| rare.wait.is_none())
            .unwrap()
    );
    complete(part);
}

// === memory ===

/// With the counts of its handles: every running call has it.
#[test]
#[cfg(target_pointer_width = "64")]
fn context_is_at_most_336_bytes() {
    let size = size_of::<Attempt>() + 2 * size_of::<usize>();
    assert!(size <= 336, "{size} bytes");
}

#[test]
fn plain_call_makes_no_state() {
    let call = call().with_id("call_8fj2").with_tenant("acme");
    let [outer, inner] = [(); 2].map(|()| Part::enter(call.context()));
    let limits = [(); 4].map(|()| LimitId::unique());
    assert!(limits[..2].iter().all(|limit| outer.count_once(*limit)));
    limits[2..].iter().for_each(|limit| inner.hold(*limit));
    inner.keep(crate::response::KeepPolicy::new());
    assert_eq!(poll_cancelled(&outer), Poll::Pending);
    assert!(
        limits[2..]
            .iter()
            .all(|limit| !inner.release_permit(*limit, ()))
    );
    complete(inner);
    let attempt = call.context().attempt_state();
    assert!(!attempt.has_state() && attempt.signal.get().is_none());
    complete(outer);
}
