//! What a limit decides: pure, with the time as an argument.

use tokio::time::Instant;

/// A limit, as its line sees it.
pub(crate) trait Rule: Send + 'static {
    /// Takes one for a call that comes now and finds nobody waiting, if there is one.
    fn admit(&mut self, now: Instant) -> bool;

    /// Takes one for the first in line, if its time has come.
    fn admit_waiting(&mut self, now: Instant) -> bool;

    /// Gives back one that was taken.
    fn refund(&mut self);

    /// When a call that has so many ahead of it in line will be admitted at the latest; `None`
    /// where that depends on when somebody gives one back.
    fn due(&self, ahead: usize) -> Option<Instant>;
}
