//! What bounds the record of a call.

use std::time::Duration;

/// The most phases of a call.
pub(super) const MAX_PHASES: usize = 64;
/// The most idle phases of a call, so that others find room.
pub(super) const MAX_IDLE: usize = 32;
/// The most marks of a call.
pub(super) const MAX_MARKS: usize = 32;
/// What a content counts at least, so that many short ones are bounded as well.
pub(super) const MIN_CONTENT: usize = 64;
/// A gap between two signs of activity is a phase from this length on.
pub(super) const MIN_IDLE: Duration = Duration::from_millis(100);
