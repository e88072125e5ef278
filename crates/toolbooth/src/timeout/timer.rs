//! The timer of a call that is pending.

use std::cell::Cell;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tokio::task::unconstrained;
use tokio::time::{Sleep, sleep_until};
use toolbooth_core::{Bound, Moment};

pin_project! {
    pub(super) struct Pending {
        #[pin]
        timer: Option<Sleep>,
        // The limit that has struck, while the tool may still finish by itself.
        struck: Option<Bound>,
    }
}

thread_local! {
    /// Of the last call that was pending here: empty, and its memory is used again.
    static SPARE: Cell<Option<Pin<Box<Pending>>>> = const { Cell::new(None) };
}

// === impl Pending ===

impl Pending {
    const fn empty() -> Self {
        Self {
            timer: None,
            struck: None,
        }
    }

    pub(super) fn until(at: Moment) -> Pin<Box<Self>> {
        let spare = SPARE.try_with(Cell::take).ok().flatten();
        let mut pending = spare.unwrap_or_else(|| Box::pin(Self::empty()));
        let timer = Some(sleep_until(at.instant()));
        pending.as_mut().project().timer.set(timer);
        pending
    }

    /// The call is over, or gone.
    pub(super) fn retire(mut pending: Pin<Box<Self>>) {
        pending.set(Self::empty());
        // At the end of a thread it is dropped.
        let _ = SPARE.try_with(|spare| spare.set(Some(pending)));
    }

    pub(super) fn struck(&self) -> Option<Bound> {
        self.struck
    }

    /// The limit has struck, and the time that is left has this end, or none.
    pub(super) fn strike(self: Pin<&mut Self>, struck: Bound, end: Option<Moment>) {
        let mut this = self.project();
        this.timer.set(end.map(|end| sleep_until(end.instant())));
        *this.struck = Some(struck);
    }

    pub(super) fn reset(self: Pin<&mut Self>, at: Moment) {
        if let Some(timer) = self.project().timer.as_pin_mut() {
            timer.reset(at.instant());
        }
    }

    /// A tool that never waits is pending only for having used up the task's budget, and the timer must not be held
    /// back by that very budget.
    pub(super) fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.project().timer.as_pin_mut() {
            Some(timer) => std::pin::pin!(unconstrained(timer)).poll(cx),
            None => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use toolbooth_core::TimeoutScope;

    use super::*;

    fn in_a_second() -> Moment {
        let second = Moment::now().after(Duration::from_secs(1));
        second.expect("not that far away")
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_of_a_call_is_left_for_the_next() {
        let limit = Duration::from_secs(1);
        let bound = Bound::new(in_a_second(), TimeoutScope::Total, limit);
        let mut pending = Pending::until(in_a_second());
        pending.as_mut().strike(bound, Some(in_a_second()));
        let used = std::ptr::from_ref(&*pending);
        Pending::retire(pending);
        let next = Pending::until(in_a_second());
        assert_eq!(std::ptr::from_ref(&*next), used);
        assert_eq!(next.struck(), None);
        let begun = tokio::time::Instant::now();
        let mut next = next;
        std::future::poll_fn(|cx| next.as_mut().poll(cx)).await;
        assert_eq!(begun.elapsed(), limit);
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
                let begun = tokio::time::Instant::now();
                let mut pending = Pending::until(in_a_second());
                std::future::poll_fn(|cx| pending.as_mut().poll(cx)).await;
                assert_eq!(begun.elapsed(), Duration::from_secs(1));
                Pending::retire(pending);
            });
            let kept = SPARE.take().expect("the last call left it");
            assert!(kept.timer.is_none());
            SPARE.set(Some(kept));
        }
    }
}
