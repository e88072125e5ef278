//! What a limit decides: pure, with the time as an argument.

use std::fmt;
use std::time::Duration;

use toolbooth_core::Moment;

/// A limit, as its line sees it. Its state is atomic, so that a call that need not wait takes no lock.
///
/// What is taken and given back is ordered with the line's count of those who wait (`SeqCst`, see [`Line`](super::Line)).
/// A `cost` is how much of the limit a call takes: permits, or tokens.
pub(crate) trait Rule: Send + Sync + 'static {
    /// What the limit is set to.
    type Setting: Copy + fmt::Debug + Send + Sync;

    /// Whether those who wait are admitted by the clock, and not by somebody who gives back.
    const TIMED: bool;

    /// A limit of which nothing is taken.
    fn of(setting: Self::Setting) -> Self;

    /// Changes the limit. One change at a time.
    fn set(&self, setting: Self::Setting);

    /// About how long a call takes, if anybody knows.
    fn set_service_time(&self, about: Option<Duration>);

    /// From when on it is as it was when it was made, if nobody takes of it or has it meanwhile.
    fn idle_from(&self) -> Moment;

    /// Takes for a call that comes now and finds nobody waiting, if there is enough.
    fn admit(&self, cost: u64, now: impl FnOnce() -> Moment) -> bool;

    /// Takes for the first in line, if its time has come.
    fn admit_waiting(&self, cost: u64, now: Moment) -> bool;

    /// Gives back what was taken.
    fn refund(&self, cost: u64);

    /// The most that one call can take.
    fn capacity(&self) -> u64;

    /// When a call that has so much ahead of it in line will be admitted at the earliest, if nobody gives up; `None`
    /// where nothing is known of that.
    fn due(&self, ahead: u64, cost: u64, now: Moment) -> Option<Moment>;
}
