//! Which limits hold for a call, and which of them strikes next. The clock is given, and nobody waits here.

use std::sync::Arc;
use std::time::Duration;

use toolbooth_core::{Bound, Moment, Part, Pulse, TimeoutScope};

use crate::middleware::PerTool;

/// The settings of a layer.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    pub(super) total: PerTool<Duration>,
    /// What few layers have, and the others do not carry about.
    more: Option<Box<More>>,
}

#[derive(Debug, Clone)]
pub(super) struct More {
    pub(super) idle: PerTool<Duration>,
    pub(super) first_item: PerTool<Duration>,
    pub(super) grace: Duration,
}

/// The limits that a layer enforces on a call.
#[derive(Debug, Default)]
pub(super) struct Limited {
    /// On the whole call.
    bound: Option<Bound>,
    moving: Option<Box<Moving>>,
}

/// Limits that move with each sign of life, and the time that the call has behind a limit.
#[derive(Debug)]
struct Moving {
    /// Where there is an idle limit or one on the first item.
    pulse: Option<Arc<Pulse>>,
    idle: Option<Duration>,
    first_item: Option<Bound>,
    grace: Duration,
    /// When a limit further out or the caller's deadline cuts the call.
    around: Option<Moment>,
}

// === impl Limits ===

impl Limits {
    pub(super) const fn new(total: PerTool<Duration>) -> Self {
        Self { total, more: None }
    }

    pub(super) fn more(&mut self) -> &mut More {
        self.more.get_or_insert_with(|| {
            Box::new(More {
                idle: PerTool::none(),
                first_item: PerTool::none(),
                grace: Duration::ZERO,
            })
        })
    }

    /// The limits of a call that begins `now`; what is further in is told of the one on the whole.
    pub(super) fn of(&self, part: &Part) -> Limited {
        let now = part.now();
        let outermost = part.enter_timeout();
        let around = part.bound();
        let bound = self.bound(part, now, outermost, around);
        if let Some(bound) = bound {
            part.set_bound(bound);
        }
        Limited {
            bound,
            moving: self.moving(part, now, outermost, around.map(|around| around.at())),
        }
    }

    /// The limit on the whole call: this layer's own where that comes first. What comes first otherwise is enforced
    /// by the layer that set it; the caller's deadline by the outermost timeout.
    fn bound(
        &self,
        part: &Part,
        now: Moment,
        outermost: bool,
        around: Option<Bound>,
    ) -> Option<Bound> {
        let own = match part.timeout() {
            Some(limit) if outermost => Bound::after(now, TimeoutScope::Total, limit),
            _ => self.own(part, now),
        };
        match (own, around) {
            (Some(own), Some(around)) if own.at() < around.at() => Some(own),
            (_, Some(around)) => outermost.then_some(around),
            (own, None) => own,
        }
    }

    /// This layer's limit on the whole call.
    #[inline(always)]
    fn own(&self, part: &Part, now: Moment) -> Option<Bound> {
        let limit = *self.total.get(part.context().tool())?;
        Bound::after(now, TimeoutScope::Total, limit)
    }

    fn moving(
        &self,
        part: &Part,
        now: Moment,
        outermost: bool,
        around: Option<Moment>,
    ) -> Option<Box<Moving>> {
        let (own_idle, own_first_item) = match outermost {
            true => (part.idle_timeout(), part.first_item_timeout()),
            false => (None, None),
        };
        if self.more.is_none() && own_idle.is_none() && own_first_item.is_none() {
            return None;
        }
        let more = self.more.as_deref();
        let of_tool = |limits: &PerTool<Duration>| limits.get(part.context().tool()).copied();
        let idle = own_idle.or_else(|| of_tool(&more?.idle));
        // One that the clock cannot say is none.
        let idle = idle.filter(|idle| now.after(*idle).is_some());
        let first_item = own_first_item.or_else(|| of_tool(&more?.first_item));
        let first_item =
            first_item.and_then(|limit| Bound::after(now, TimeoutScope::FirstItem, limit));
        let grace = more.map_or(Duration::ZERO, |more| more.grace);
        let moves = idle.is_some() || first_item.is_some();
        (moves || !grace.is_zero()).then(|| {
            Box::new(Moving {
                pulse: moves.then(|| part.pulse(now)),
                idle,
                first_item,
                grace,
                around,
            })
        })
    }
}

// === impl Limited ===

impl Limited {
    /// The limit that strikes next if nothing stirs.
    pub(super) fn next(&self) -> Option<Bound> {
        let Some(moving) = &self.moving else {
            return self.bound;
        };
        let cap = self.cap(moving);
        let next = moving.next();
        // Of equals the one on the whole call strikes, which may be another layer's.
        let next = next.filter(|next| cap.is_none_or(|cap| next.at() < cap));
        next.or(self.bound)
    }

    /// When to look again: nothing strikes before.
    pub(super) fn look_at(&self, now: impl FnOnce() -> Moment) -> Option<Moment> {
        let next = self.next().map(|next| next.at());
        let moving = self.moving.as_ref();
        let sooner = moving.and_then(|moving| moving.sooner(now));
        next.into_iter().chain(sooner).min()
    }

    /// The limit that strikes `now`.
    pub(super) fn struck(&self, now: impl FnOnce() -> Moment) -> Option<Bound> {
        let next = self.next()?;
        (next.at() <= now()).then_some(next)
    }

    /// A piece of a streamed answer passes.
    pub(super) fn item(&self, now: impl FnOnce() -> Moment) {
        if let Some(pulse) = self
            .moving
            .as_ref()
            .and_then(|moving| moving.pulse.as_ref())
        {
            pulse.item(now());
        }
    }

    /// The time behind a limit that the call has to finish by itself, if it has any: until when, where that has an end.
    pub(super) fn grace(&self, struck: Bound) -> Option<Option<Moment>> {
        let moving = self.moving.as_ref()?;
        let end = struck.at().after(moving.grace);
        let end = end.into_iter().chain(moving.around).min();
        end.is_none_or(|end| end > struck.at()).then_some(end)
    }

    fn cap(&self, moving: &Moving) -> Option<Moment> {
        let own = self.bound.map(|bound| bound.at());
        own.into_iter().chain(moving.around).min()
    }
}

// === impl Moving ===

impl Moving {
    /// Until the first item its limit holds, where there is one, and from then on the idle limit.
    fn next(&self) -> Option<Bound> {
        let pulse = self.pulse.as_ref()?;
        match self.first_item {
            Some(first_item) if !pulse.has_item() => Some(first_item),
            _ => {
                let limit = self.idle?;
                Bound::after(pulse.last(), TimeoutScope::Idle, limit)
            }
        }
    }

    /// While the first item is awaited, the idle limit may strike as early as this if the item comes right now; but
    /// timers tick in milliseconds.
    fn sooner(&self, now: impl FnOnce() -> Moment) -> Option<Moment> {
        let pulse = self.pulse.as_ref()?;
        match self.first_item {
            Some(_) if !pulse.has_item() => now().after(self.idle?.max(Duration::from_millis(1))),
            _ => None,
        }
    }
}
