//! What a limit decides: pure, with the time as an argument.

use toolbooth_core::Moment;

/// A limit, as its line sees it. Its state is atomic, so that a call that need not wait takes no lock.
///
/// What is taken and given back is ordered with the line's count of those who wait (`SeqCst`, see [`Line`](super::Line)).
pub(crate) trait Rule: Send + Sync + 'static {
    /// Takes one for a call that comes now and finds nobody waiting, if there is one.
    fn admit(&self, now: impl FnOnce() -> Moment) -> bool;

    /// Takes one for the first in line, if its time has come.
    fn admit_waiting(&self, now: Moment) -> bool;

    /// Gives back one that was taken.
    fn refund(&self);

    /// When a call that has so many ahead of it in line will be admitted at the latest; `None`
    /// where that depends on when somebody gives one back.
    fn due(&self, ahead: usize) -> Option<Moment>;
}
