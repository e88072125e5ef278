use toolbooth_core::{End, Part};

use super::permits::{AcquirePermit, Permit};
use crate::middleware::{LayerFuture, LayerWatch};

/// The future of [`ConcurrencyLimit`](super::ConcurrencyLimit).
pub type ResponseFuture<S, R> = LayerFuture<S, R, ResponseWatch, AcquirePermit>;

/// Owns the permit until the last byte of the response is delivered.
#[derive(Debug)]
pub struct ResponseWatch {
    permit: Option<Permit>,
}

// === impl ResponseWatch ===

impl ResponseWatch {
    pub(super) const fn new(permit: Option<Permit>) -> Self {
        Self { permit }
    }
}

impl LayerWatch for ResponseWatch {
    #[inline(always)]
    fn on_end(self, part: &Part, _: &End<'_>) {
        if let Some(permit) = self.permit {
            permit.release(part);
        }
    }
}
