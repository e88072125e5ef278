use std::mem;
use std::sync::Arc as StdArc;

use toolbooth_core::{AdjustCost, Moment};

use super::rates::Rates;
use crate::middleware::sync::{Arc, Mutex, lock};
use crate::queue::LimitQueue;

/// The tokens that a call was charged, until the actual cost is known.
#[derive(Debug)]
pub(super) struct AdjustableCost {
    queue: Arc<LimitQueue<Rates>>,
    charged: Moment,
    cost: Mutex<u64>,
}

// === impl AdjustableCost ===

impl AdjustableCost {
    pub(super) const fn new(queue: Arc<LimitQueue<Rates>>, cost: u64, charged: Moment) -> Self {
        Self {
            queue,
            charged,
            cost: Mutex::new(cost),
        }
    }

    /// Returns the handle that the context of the call owns.
    pub(super) fn shared(self) -> StdArc<dyn AdjustCost> {
        StdArc::new(self)
    }
}

impl AdjustCost for AdjustableCost {
    fn adjust_cost(&self, actual: u64) {
        let before = mem::replace(&mut *lock(&self.cost), actual);
        match actual.checked_sub(before) {
            Some(0) => {}
            Some(more) => self.queue.delay(|rates| rates.charge(more, Moment::now())),
            None => self.queue.refund(before - actual, self.charged),
        }
    }
}
