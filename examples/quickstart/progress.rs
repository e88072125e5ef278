//! Prints the progress of the calls: a spinner on a terminal, otherwise a line now and then.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicUsize, Ordering};

use indicatif::{ProgressBar, ProgressDrawTarget};
use toolbooth::{ConcurrencyLimitLayer, RateLimitLayer};

pub(crate) struct Progress {
    bar: Option<ProgressBar>,
    total: usize,
    shown: AtomicUsize,
}

/// Without a terminal, each n-th update is printed.
const PRINT_EACH: usize = 10;

// === impl Progress ===

impl Progress {
    pub(crate) fn new(total: usize) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            bar.set_draw_target(ProgressDrawTarget::stderr());
            bar
        });
        Self {
            bar,
            total,
            shown: AtomicUsize::new(0),
        }
    }

    pub(crate) fn show(
        &self,
        done: usize,
        at_once: &ConcurrencyLimitLayer,
        api_rate: &RateLimitLayer,
    ) {
        let total = self.total;
        // A call that waits for a token of the API already has its permit.
        let api = api_rate.queued();
        let running = at_once.in_flight().saturating_sub(api);
        let queued = at_once.queued();
        let text = format!(
            "{done}/{total} done, {running} running, {queued} queued, {api} queued for the API"
        );
        let shown = self.shown.fetch_add(1, Ordering::Relaxed);
        match &self.bar {
            Some(bar) => {
                bar.set_message(text);
                bar.tick();
            }
            None if shown % PRINT_EACH == 1 => eprintln!("{text}"),
            None => {}
        }
    }

    pub(crate) fn finish(&self) {
        match &self.bar {
            Some(bar) => bar.finish_and_clear(),
            None => eprintln!("{0}/{0} done", self.total),
        }
    }
}
