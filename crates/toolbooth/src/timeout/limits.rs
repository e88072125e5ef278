//! The limits of a layer and of a call: pure, with the time as an argument.

use std::fmt;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use toolbooth_core::{Bound, Moment, Name, Part, Pulse, TimeoutScope};

use crate::middleware::PerTool;

/// The settings of a layer.
pub(super) struct Settings {
    configured: PerTool<Duration>,
    /// Replaces `configured` from the first `set_limit` on. Until then a call takes no lock.
    changed: OnceLock<RwLock<PerTool<Duration>>>,
    pub(super) idle: PerTool<Duration>,
    pub(super) first_item: PerTool<Duration>,
    pub(super) grace: Duration,
}

/// The limits that one layer enforces on one call.
#[derive(Debug, Default)]
pub(super) struct CallLimits {
    /// The limit on the whole call.
    total: Option<Bound>,
    progress: Option<Box<Progress>>,
}

/// The limits that progress extends, and the grace period.
#[derive(Debug)]
struct Progress {
    /// The last activity; `None` without an idle and a first-item limit.
    pulse: Option<Arc<Pulse>>,
    idle: Option<Duration>,
    first_item: Option<Bound>,
    grace: Duration,
    /// When the call expires because of an outer layer or the caller's deadline.
    outer: Option<Moment>,
    /// The limit that expired, during the grace period.
    expired: Option<Bound>,
}

// === impl Settings ===

impl Settings {
    pub(super) fn new(limits: PerTool<Duration>) -> Self {
        Self {
            configured: limits,
            changed: OnceLock::new(),
            idle: PerTool::none(),
            first_item: PerTool::none(),
            grace: Duration::ZERO,
        }
    }

    pub(super) fn set_limit(&self, limit: Option<Duration>) {
        self.change(|limits| limits.set_default(limit));
    }

    pub(super) fn set_limit_for(&self, tool: Name, limit: Option<Duration>) {
        self.change(|limits| limits.set(tool, limit));
    }

    fn change(&self, change: impl FnOnce(&mut PerTool<Duration>)) {
        let limits = self
            .changed
            .get_or_init(|| RwLock::new(self.configured.clone()));
        change(&mut limits.write().unwrap_or_else(PoisonError::into_inner));
    }

    fn limits(&self) -> PerTool<Duration> {
        match self.changed.get() {
            None => self.configured.clone(),
            Some(limits) => limits
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
        }
    }

    /// Returns this layer's limit on a whole call of `tool`.
    #[inline]
    fn limit(&self, tool: &str) -> Option<Duration> {
        match self.changed.get() {
            None => self.configured.get(tool).copied(),
            Some(limits) => {
                let limits = limits.read().unwrap_or_else(PoisonError::into_inner);
                limits.get(tool).copied()
            }
        }
    }

    /// Returns the limits of a call that starts now. The limit on the whole call is set as a
    /// bound of the layers inside.
    pub(super) fn enter(&self, part: &Part) -> CallLimits {
        let now = part.now();
        let outermost = part.enter_timeout();
        let outer = part.bound();
        let total = self.total(part, now, outermost, outer);
        if let Some(total) = total {
            part.set_bound(total);
        }
        let is_total_only = part.idle_timeout().is_none() && part.first_item_timeout().is_none();
        let progress = match is_total_only && self.is_total_only() {
            true => None,
            false => self.progress(part, now, outermost, outer.map(|outer| outer.at())),
        };
        CallLimits { total, progress }
    }

    /// Returns whether the layer has no limit but that on the whole call, and no grace period.
    #[inline]
    fn is_total_only(&self) -> bool {
        self.idle.is_none() && self.first_item.is_none() && self.grace.is_zero()
    }

    /// Returns the limit on the whole call, if this layer enforces it: its own limit if that comes
    /// first. An earlier limit is enforced by the layer that set it, the caller's deadline by the
    /// outermost timeout.
    fn total(
        &self,
        part: &Part,
        now: Moment,
        outermost: bool,
        outer: Option<Bound>,
    ) -> Option<Bound> {
        let limit = match part.timeout() {
            Some(limit) if outermost => Some(limit),
            _ => self.limit(part.context().tool()),
        };
        let own = limit.and_then(|limit| Bound::after(now, TimeoutScope::Total, limit));
        match (own, outer) {
            (Some(own), Some(outer)) if own.at() < outer.at() => Some(own),
            (_, Some(outer)) => outermost.then_some(outer),
            (own, None) => own,
        }
    }

    #[inline(never)]
    fn progress(
        &self,
        part: &Part,
        now: Moment,
        outermost: bool,
        outer: Option<Moment>,
    ) -> Option<Box<Progress>> {
        let (own_idle, own_first_item) = match outermost {
            true => (part.idle_timeout(), part.first_item_timeout()),
            false => (None, None),
        };
        let tool = part.context().tool();
        let idle = own_idle.or_else(|| self.idle.get(tool).copied());
        // A limit that overflows the clock is none.
        let idle = idle.filter(|idle| now.after(*idle).is_some());
        let first_item = own_first_item.or_else(|| self.first_item.get(tool).copied());
        let first_item =
            first_item.and_then(|limit| Bound::after(now, TimeoutScope::FirstItem, limit));
        let has_pulse = idle.is_some() || first_item.is_some();
        (has_pulse || !self.grace.is_zero()).then(|| {
            Box::new(Progress {
                pulse: has_pulse.then(|| part.pulse(now)),
                idle,
                first_item,
                grace: self.grace,
                outer,
                expired: None,
            })
        })
    }
}

/// A copy with the limits as they are now, whose limits change independently.
impl Clone for Settings {
    fn clone(&self) -> Self {
        let configured = match self.changed.get() {
            None => self.configured.clone(),
            Some(limits) => limits
                .read()
                .unwrap_or_else(PoisonError::into_inner)
                .clone(),
        };
        Self {
            configured,
            changed: OnceLock::new(),
            idle: self.idle.clone(),
            first_item: self.first_item.clone(),
            grace: self.grace,
        }
    }
}

/// Shows the limits as they are now.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("total", &self.limits())
            .field("idle", &self.idle)
            .field("first_item", &self.first_item)
            .field("grace", &self.grace)
            .finish()
    }
}

// === impl CallLimits ===

impl CallLimits {
    /// Returns the limit that expires next without further progress.
    fn next(&self) -> Option<Bound> {
        let Some(progress) = &self.progress else {
            return self.total;
        };
        let total = self.total.map(|total| total.at());
        let cap = total.into_iter().chain(progress.outer).min();
        let next = progress.next();
        // In a tie the limit on the whole call expires, which may be an outer layer's.
        let next = next.filter(|next| cap.is_none_or(|cap| next.at() < cap));
        next.or(self.total)
    }

    /// Returns when to call [`expired`](Self::expired) again: no limit expires before.
    pub(super) fn next_check(&self, now: impl FnOnce() -> Moment) -> Option<Moment> {
        let next = self.next().map(|next| next.at());
        let sooner = self.progress.as_ref();
        let sooner = sooner.and_then(|progress| progress.earliest_idle(now));
        next.into_iter().chain(sooner).min()
    }

    /// Returns the limit that has expired.
    pub(super) fn expired(&self, now: impl FnOnce() -> Moment) -> Option<Bound> {
        let next = self.next()?;
        (next.at() <= now()).then_some(next)
    }

    /// Returns whether the limit on the whole call is of this kind and length.
    pub(super) fn is_total(&self, scope: TimeoutScope, limit: Duration) -> bool {
        let total = self.total.map(|total| (total.scope(), total.limit()));
        total == Some((scope, limit))
    }

    /// Records an item of a streaming response.
    pub(super) fn record_item(&self, now: impl FnOnce() -> Moment) {
        let progress = self.progress.as_ref();
        if let Some(pulse) = progress.and_then(|progress| progress.pulse.as_ref()) {
            pulse.item(now());
        }
    }

    /// Starts the grace period after `expired`, if there is one. Returns its end; the inner `None`
    /// is a period without an end.
    pub(super) fn start_grace(&mut self, expired: Bound) -> Option<Option<Moment>> {
        let progress = self.progress.as_mut()?;
        let end = expired.at().after(progress.grace);
        let end = end.into_iter().chain(progress.outer).min();
        if end.is_some_and(|end| end <= expired.at()) {
            return None;
        }
        progress.expired = Some(expired);
        Some(end)
    }

    /// Returns the limit that expired, during the grace period.
    pub(super) fn in_grace(&self) -> Option<Bound> {
        self.progress.as_ref()?.expired
    }
}

// === impl Progress ===

impl Progress {
    /// Returns the first-item limit until the first item, and then the idle limit.
    fn next(&self) -> Option<Bound> {
        let pulse = self.pulse.as_ref()?;
        match self.first_item {
            Some(first_item) if !pulse.has_item() => Some(first_item),
            _ => Bound::after(pulse.last(), TimeoutScope::Idle, self.idle?),
        }
    }

    /// Before the first item: returns the earliest moment at which the idle limit can expire, if
    /// the item arrives now. At least 1 ms from now, the resolution of timers.
    fn earliest_idle(&self, now: impl FnOnce() -> Moment) -> Option<Moment> {
        let pulse = self.pulse.as_ref()?;
        match self.first_item {
            Some(_) if !pulse.has_item() => now().after(self.idle?.max(Duration::from_millis(1))),
            _ => None,
        }
    }
}
