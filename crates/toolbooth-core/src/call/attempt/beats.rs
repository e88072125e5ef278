//! The signs of life of an attempt, and how far its call is.

use std::sync::Arc;

use super::Attempt;
use crate::call::pulse::{Pulse, Pulses};
use crate::call::{Moment, Progress};
use crate::sync::lock;

impl Attempt {
    /// From here on, `pulse` hears what this attempt and its forks beat.
    pub(crate) fn listen(&self, pulse: Arc<Pulse>) {
        self.rare().pulses.push(pulse, true);
    }

    /// A fork is inside of the layers that listen by now.
    pub(super) fn listen_as(&self, forked: &Self) {
        if let Some(pulses) = forked.pulses() {
            for (pulse, items) in pulses.iter() {
                self.rare().pulses.push(Arc::clone(pulse), items);
            }
        }
    }

    /// A call that `parent` makes is a sign of life of that one; its result is not.
    pub(in crate::call) fn listen_as_child(&self, parent: &Self) {
        if let Some(pulses) = parent.pulses() {
            for (pulse, _) in pulses.iter() {
                self.rare().pulses.push(Arc::clone(pulse), false);
            }
        }
    }

    /// A sign of life; an item of the result, or none. Nothing where nobody listens or the attempt is over.
    pub(in crate::call) fn beat(&self, item: bool) {
        if let Some(pulses) = self.pulses() {
            if !self.is_closed() {
                pulses.beat(Moment::now(), item);
            }
        }
    }

    fn pulses(&self) -> Option<&Pulses> {
        let pulses = &self.rare.get()?.pulses;
        pulses.iter().next().map(|_| pulses)
    }

    /// Keeps a report of progress, unless the attempt is over.
    pub(in crate::call) fn report(&self, progress: Progress) {
        let mut partials = lock(&self.call().shared().partials);
        if self.closed_outside(u32::MAX).is_none() {
            let displaced = partials.report(progress, self.keeps());
            drop(partials);
            drop(displaced);
        }
    }
}
