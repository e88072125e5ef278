//! The permits of one limit. Times are microseconds of the store's clock.

use std::collections::BTreeMap;
use std::time::Duration;

use toolbooth::shared::{Holder, PermitsUpdated, SetLimit, UpdatePermits};

use super::bucket::REMEMBERED;

/// The permits of one limit, with the holders that have or wait for them.
#[derive(Debug, Clone)]
pub(super) struct Permits {
    limit: Option<u64>,
    /// The limit that a process was last configured with.
    configured: Option<u64>,
    fence: u64,
    arrivals: u64,
    holders: BTreeMap<Holder, Entry>,
    /// When the limit is forgotten.
    expires: u64,
}

#[derive(Debug, Clone, Default)]
struct Entry {
    number: u64,
    held: u64,
    expires: u64,
    waiting: Option<Place>,
}

/// The place of a holder that waits.
#[derive(Debug, Clone, Copy)]
struct Place {
    arrival: u64,
    least: u64,
    /// When it was notified to ask.
    notified: Option<u64>,
}

// === impl Permits ===

impl Permits {
    /// Begins above all fencing numbers that were granted before: these were fewer than one in a
    /// microsecond.
    pub(super) const fn new(now: u64) -> Self {
        Self {
            limit: None,
            configured: None,
            fence: now,
            arrivals: 0,
            holders: BTreeMap::new(),
            expires: 0,
        }
    }

    pub(super) fn is_expired(&self, now: u64) -> bool {
        self.expires <= now
    }

    pub(super) fn held(&self, now: u64) -> u64 {
        let holders = self.holders.values().filter(|entry| entry.expires > now);
        holders.map(|entry| entry.held).sum()
    }

    pub(super) fn held_by(&self, process: &str, now: u64) -> u64 {
        let holders = self.holders.iter();
        let holders = holders.filter(|(holder, _)| &*holder.process == process);
        let valid = holders.filter(|(_, entry)| entry.expires > now);
        valid.map(|(_, entry)| entry.held).sum()
    }

    /// Executes a command. Returns the reply, and the holder to notify.
    pub(super) fn update(
        &mut self,
        request: &UpdatePermits,
        now: u64,
    ) -> (PermitsUpdated, Option<Holder>) {
        self.holders.retain(|_, entry| entry.expires > now);
        let lifetime = micros(request.lifetime);
        let entry = self.holders.entry(request.holder.clone()).or_default();
        if request.number <= entry.number {
            let notified = self.notify_next(now);
            return (self.reply(0, None), notified);
        }
        entry.number = request.number;
        entry.held = request.held;
        entry.expires = now + lifetime;
        // Further ahead than needed, so that most commands need not.
        if self.expires < now + 2 * lifetime {
            self.expires = now + 3 * lifetime;
        }
        let replaces = match request.set {
            SetLimit::IfUnknown => false,
            SetLimit::IfConfigured => self.configured != Some(request.permits),
            SetLimit::Always => true,
        };
        if replaces || self.limit.is_none() {
            self.limit = Some(request.permits);
        }
        if request.set == SetLimit::IfConfigured || self.configured.is_none() {
            self.configured = Some(request.permits);
        }
        if request.set == SetLimit::Always {
            self.expires = self.expires.max(now + REMEMBERED);
        }
        let granted = self.ask(request, now);
        let notified = self.notify_next(now);
        let retry_after = (request.least > 0 && granted < request.most)
            .then(|| self.next_end(&request.holder, now, micros(request.turn)));
        (self.reply(granted, retry_after.flatten()), notified)
    }

    fn reply(&self, granted: u64, retry_after: Option<u64>) -> PermitsUpdated {
        PermitsUpdated {
            granted,
            fence: self.fence,
            permits: self.limit.unwrap_or(0),
            retry_after: retry_after.map(Duration::from_micros),
        }
    }

    /// Enqueues or removes a holder, and grants what it can have.
    fn ask(&mut self, request: &UpdatePermits, now: u64) -> u64 {
        if request.least == 0 {
            self.set_place(&request.holder, None);
            return 0;
        }
        let place = self.place(&request.holder);
        let arrival = match place {
            Some(place) => place.arrival,
            None => self.arrive(),
        };
        // It has used its notification. If it gets nothing now, it is notified again.
        let place = Place {
            arrival,
            least: request.least,
            notified: None,
        };
        self.set_place(&request.holder, Some(place));
        self.skip_silent(&request.holder, now, micros(request.turn));
        let free = self.free();
        if self.first() != Some(&request.holder) || free < request.least {
            return 0;
        }
        let granted = request.most.min(free);
        self.fence += granted;
        if let Some(entry) = self.holders.get_mut(&request.holder) {
            entry.held += granted;
        }
        let again = (granted < request.most).then(|| Place {
            arrival: self.arrive(),
            least: 1,
            notified: None,
        });
        self.set_place(&request.holder, again);
        granted
    }

    /// Removes the first ones that were notified to ask and did not in their turn.
    fn skip_silent(&mut self, asking: &Holder, now: u64, turn: u64) {
        while let Some(first) = self.first().filter(|first| *first != asking).cloned() {
            let notified = self.place(&first).and_then(|place| place.notified);
            match notified.is_some_and(|notified| notified + turn <= now) {
                true => self.set_place(&first, None),
                false => return,
            }
        }
    }

    /// Returns the first holder that waits, if it can start and was not notified yet.
    fn notify_next(&mut self, now: u64) -> Option<Holder> {
        let first = self.first()?.clone();
        let free = self.free();
        let place = self.holders.get_mut(&first)?.waiting.as_mut()?;
        let tells = place.notified.is_none() && place.least <= free;
        tells.then(|| {
            place.notified = Some(now);
            first
        })
    }

    /// Returns the time until a lease or a turn of another holder ends.
    fn next_end(&self, asking: &Holder, now: u64, turn: u64) -> Option<u64> {
        let others = self.holders.iter().filter(|(holder, _)| *holder != asking);
        let ends = others.flat_map(|(_, entry)| {
            let counts = entry.held > 0 || entry.waiting.is_some();
            let lease = counts.then_some(entry.expires);
            let notified = entry.waiting.and_then(|place| place.notified);
            [lease, notified.map(|notified| notified + turn)]
        });
        ends.flatten().min().map(|end| end.saturating_sub(now))
    }

    fn free(&self) -> u64 {
        let held = self.holders.values().map(|entry| entry.held).sum();
        self.limit.unwrap_or(0).saturating_sub(held)
    }

    fn first(&self) -> Option<&Holder> {
        let waiting = self.holders.iter();
        let waiting = waiting.filter_map(|(holder, entry)| Some((entry.waiting?.arrival, holder)));
        waiting.min().map(|(_, holder)| holder)
    }

    fn place(&self, holder: &Holder) -> Option<Place> {
        self.holders.get(holder)?.waiting
    }

    fn set_place(&mut self, holder: &Holder, place: Option<Place>) {
        if let Some(entry) = self.holders.get_mut(holder) {
            entry.waiting = place;
        }
    }

    fn arrive(&mut self) -> u64 {
        self.arrivals += 1;
        self.arrivals
    }
}

pub(super) fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
