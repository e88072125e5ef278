//! A bound on the lines of a log that clients cause.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Permits one line in each interval, and counts the others.
#[derive(Debug)]
pub(crate) struct LogLimit {
    interval: Duration,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: Option<Instant>,
    suppressed: u64,
}

// === impl LogLimit ===

impl LogLimit {
    pub(crate) fn new(interval: Duration) -> Self {
        Self {
            interval,
            state: Mutex::default(),
        }
    }

    /// Returns how many lines were suppressed since the last one, if there may be one now.
    pub(crate) fn permit(&self) -> Option<u64> {
        let now = Instant::now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.last.is_some_and(|last| now < last + self.interval) {
            state.suppressed = state.suppressed.saturating_add(1);
            return None;
        }
        state.last = Some(now);
        Some(std::mem::take(&mut state.suppressed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn one_line_in_an_interval_counts_the_others() {
        let limit = LogLimit::new(Duration::from_secs(1));
        assert_eq!(
            (limit.permit(), limit.permit(), limit.permit()),
            (Some(0), None, None)
        );
        tokio::time::advance(Duration::from_millis(999)).await;
        assert_eq!(limit.permit(), None);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!((limit.permit(), limit.permit()), (Some(3), None));
    }
}
