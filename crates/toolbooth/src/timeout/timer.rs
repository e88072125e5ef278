//! The timer of a call that is pending, in memory that a thread keeps for the next one.

use std::cell::Cell;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tokio::task::unconstrained;
use tokio::time::{Sleep, sleep_until};
use toolbooth_core::{Bound, Moment};

/// The timer of a call, from when it is first pending: a call that need not wait has none, and no room for it.
pub(super) struct Timer(Option<Pin<Box<Set>>>);

pin_project! {
    struct Set {
        #[pin]
        sleep: Option<Sleep>,
        // The limit that has struck, while the tool may still finish by itself.
        struck: Option<Bound>,
    }
}

thread_local! {
    /// Of the last call that was pending here: empty, and its memory is used again.
    static SPARE: Cell<Option<Pin<Box<Set>>>> = const { Cell::new(None) };
}

// === impl Timer ===

impl Timer {
    pub(super) const fn none() -> Self {
        Self(None)
    }

    pub(super) const fn is_set(&self) -> bool {
        self.0.is_some()
    }

    /// Wakes at this moment, and no more at the one before.
    pub(super) fn set(&mut self, at: Moment) {
        let set = self.0.get_or_insert_with(|| {
            let spare = SPARE.try_with(Cell::take).ok().flatten();
            spare.unwrap_or_else(|| Box::pin(Set::empty()))
        });
        let mut sleep = set.as_mut().project().sleep;
        match sleep.as_mut().as_pin_mut() {
            Some(sleep) => sleep.reset(at.instant()),
            None => sleep.set(Some(sleep_until(at.instant()))),
        }
    }

    pub(super) fn struck(&self) -> Option<Bound> {
        self.0.as_ref()?.struck
    }

    /// The limit has struck, and the time that is left has this end, or none.
    pub(super) fn strike(&mut self, struck: Bound, end: Option<Moment>) {
        if let Some(set) = &mut self.0 {
            let mut set = set.as_mut().project();
            set.sleep.set(end.map(|end| sleep_until(end.instant())));
            *set.struck = Some(struck);
        }
    }

    /// A tool that never waits is pending only for having used up the task's budget, and the timer must not be held
    /// back by that very budget.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let set = self.0.as_mut().map(|set| set.as_mut().project());
        match set.and_then(|set| set.sleep.as_pin_mut()) {
            Some(sleep) => pin!(unconstrained(sleep)).poll(cx),
            None => Poll::Pending,
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if let Some(mut set) = self.0.take() {
            set.set(Set::empty());
            // At the end of a thread it is dropped.
            let _ = SPARE.try_with(|spare| spare.set(Some(set)));
        }
    }
}

// === impl Set ===

impl Set {
    const fn empty() -> Self {
        Self {
            sleep: None,
            struck: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use tokio::time::Instant;
    use toolbooth_core::TimeoutScope;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn in_a_second() -> Moment {
        let second = Moment::now().after(SECOND);
        second.expect("not that far away")
    }

    fn memory(timer: &Timer) -> *const Set {
        let set = timer.0.as_deref().expect("it is set");
        std::ptr::from_ref(set)
    }

    /// How long it takes to wake.
    async fn wakes(timer: &mut Timer) -> Duration {
        let begun = Instant::now();
        poll_fn(|cx| timer.poll(cx)).await;
        begun.elapsed()
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_of_a_call_is_left_for_the_next() {
        let [mut first, mut next] = [Timer::none(), Timer::none()];
        first.set(in_a_second());
        let bound = Bound::new(in_a_second(), TimeoutScope::Total, SECOND);
        first.strike(bound, Some(in_a_second()));
        let used = memory(&first);
        drop(first);
        next.set(in_a_second());
        assert_eq!((memory(&next), next.struck()), (used, None));
        assert_eq!(wakes(&mut next).await, SECOND);
    }

    /// What a thread keeps is room, and no timer of a runtime that may be gone.
    #[test]
    fn the_next_call_may_be_on_another_runtime() {
        for _ in 0..2 {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .start_paused(true)
                .build()
                .expect("a runtime can be built");
            runtime.block_on(async {
                let mut timer = Timer::none();
                timer.set(in_a_second());
                assert_eq!(wakes(&mut timer).await, SECOND);
            });
            let kept = SPARE.take().expect("the last call left it");
            assert!(kept.sleep.is_none());
            SPARE.set(Some(kept));
        }
    }
}
