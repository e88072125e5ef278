//! What a context offers to layers.

use std::future::Future;
use std::sync::Arc;

use super::CallContext;
use crate::call::Moment;
use crate::call::settings::Bound;
use crate::response::Partial;

/// While it lives, its context answers [`Part::now`](crate::Part::now) without looking at the clock.
#[must_use = "the reading is carried until this is dropped"]
#[derive(Debug)]
pub struct Reading<'a>(Option<&'a CallContext>);

// === impl CallContext ===

impl CallContext {
    /// Makes cleanup wait for `ended` before the first hook runs, within the limit of one hook.
    ///
    /// For tools and layers that end something after the call. It takes none of the
    /// [`MAX_HOOKS`](crate::MAX_HOOKS) entries, so call it once for each attempt.
    pub fn cleanup_waits_for(&self, ended: impl Future<Output = ()> + Send + 'static) {
        self.attempt.register_ours(Box::new(|_| Box::pin(ended)));
    }

    /// Returns the caller's idempotency hint, if set.
    #[must_use]
    pub fn idempotent(&self) -> Option<bool> {
        self.more()?.idempotent
    }

    /// The reading of the clock that an outer layer carried into this synchronous section, or
    /// a new one.
    pub(crate) fn now(&self) -> Moment {
        self.attempt.now()
    }

    pub(crate) fn bound(&self) -> Option<Bound> {
        self.attempt.bound()
    }

    pub(crate) fn kept(&self) -> Option<Arc<Partial>> {
        self.attempt.partials(|partials, _| partials.attach())
    }
}

// === impl Reading ===

impl<'a> Reading<'a> {
    /// Carries a reading to whatever is called meanwhile.
    pub(crate) fn carry(context: &'a CallContext, now: Moment) -> Self {
        context.attempt.carry_reading(Some(now));
        Self(Some(context))
    }

    /// Carries none.
    pub(crate) const fn none() -> Self {
        Self(None)
    }
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        if let Some(context) = self.0 {
            context.attempt.carry_reading(None);
        }
    }
}
