//! The time limit that ended an attempt, for the events of the layers inside of it.

use super::Attempt;
use crate::call::bound::Bound;
use crate::error::LayerName;
use crate::outcome::CancelReason;

/// A time limit that expired.
#[derive(Debug, Clone)]
pub(crate) struct Expired {
    depth: u32,
    pub(crate) layer: LayerName,
    pub(crate) bound: Bound,
}

// === impl Attempt ===

impl Attempt {
    /// Cancels everything inside of the layer at `depth`, whose limit expired.
    pub(crate) fn expire(&self, depth: u32, layer: &LayerName, bound: Bound) {
        if self.is_observed() {
            self.record_expired(Expired {
                depth,
                layer: layer.clone(),
                bound,
            });
        }
        self.cancel(depth, CancelReason::Timeout);
    }

    #[cold]
    fn record_expired(&self, expired: Expired) {
        let mut state = self.change();
        let outermost = &mut state.rare().expired;
        if outermost
            .as_ref()
            .is_none_or(|known| expired.depth < known.depth)
        {
            *outermost = Some(expired);
        }
    }

    /// Returns the limit outside of `depth` that expired, if a layer there recorded it.
    pub(crate) fn expired_outside(&self, depth: u32) -> Option<Expired> {
        let own = self.with_rare(|rare| rare.expired.clone()).flatten();
        own.filter(|expired| expired.depth < depth).or_else(|| {
            let link = self.link()?;
            link.attempt.expired_outside(link.depth + 1)
        })
    }
}
