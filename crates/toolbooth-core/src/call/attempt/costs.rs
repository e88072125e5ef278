//! The costs of an attempt that its tool can adjust.

use std::fmt;
use std::sync::Arc;

use super::{Attempt, Link};
use crate::call::Name;

/// What a limit charged an attempt, as a handle for the actual cost.
pub trait AdjustCost: fmt::Debug + Send + Sync {
    /// Charges `actual` in place of what was charged so far.
    fn adjust_cost(&self, actual: u64);
}

/// A cost of the limit of this name, charged by the layer at a depth.
#[derive(Debug)]
pub(super) struct Cost {
    limit: Name,
    depth: u32,
    handle: Arc<dyn AdjustCost>,
}

// === impl Attempt ===

impl Attempt {
    /// Registers a cost that the layer at `depth` charged.
    pub(crate) fn register_cost(&self, limit: Name, depth: u32, handle: Arc<dyn AdjustCost>) {
        let cost = Cost {
            limit,
            depth,
            handle,
        };
        self.change().rare().costs.push(cost);
    }

    /// Adjusts the cost of the limits of this name that the attempt is inside of. Returns false if
    /// there is none.
    pub(in crate::call) fn adjust_cost(&self, limit: &str, actual: u64) -> bool {
        self.adjust_cost_outside(limit, u32::MAX, actual)
    }

    fn adjust_cost_outside(&self, limit: &str, depth: u32, actual: u64) -> bool {
        let handles = self.with_rare(|rare| {
            let costs = rare.costs.iter();
            let costs = costs.filter(|cost| cost.limit == *limit && cost.depth < depth);
            costs.map(|cost| Arc::clone(&cost.handle)).collect()
        });
        let handles: Vec<_> = handles.unwrap_or_default();
        let around = self.link().is_some_and(|Link { attempt, depth }| {
            let inside = depth.saturating_add(1);
            attempt.adjust_cost_outside(limit, inside, actual)
        });
        // Wakes tasks, so not under the lock.
        for handle in &handles {
            handle.adjust_cost(actual);
        }
        around || !handles.is_empty()
    }
}
