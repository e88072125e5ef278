//! Priority classes, and fairness between keys within a class.
//!
//! The highest class goes first. Within a class the flows of several keys share by self-clocked
//! fair queueing (S. J. Golestani, "A self-clocked fair queueing scheme for broadband
//! applications", IEEE INFOCOM 1994). Without fairness a class has one flow.
//!
//! The first waiter of each flow has a tag: the tag of the flow's last granted waiter, plus its own
//! cost divided by the flow's share. The lowest tag is granted and becomes the clock of the class.
//! A new flow starts at the clock. So an absent key saves nothing up, owes nothing and needs no
//! memory, and a key with many waiters takes turns with all others.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use toolbooth_core::Name;

use super::waiters::{Claim, Ticket};

/// The scale of a tag: fraction bits for shares that divide a cost.
const TAG_FRACTION_BITS: u32 = 32;

/// All waiters by priority and key. Holds only classes and flows with waiters.
#[derive(Debug)]
pub(super) struct Classes {
    classes: BTreeMap<Reverse<i32>, Class>,
    fair: bool,
}

#[derive(Debug, Default)]
struct Class {
    cost: u64,
    clock: u128,
    flows: BTreeMap<Name, Flow>,
    /// The key of each flow by the tag and the ticket of its first waiter.
    heads: BTreeMap<(u128, Ticket), Name>,
}

#[derive(Debug)]
struct Flow {
    share: u32,
    cost: u64,
    /// The tag of the last granted waiter, or the clock when the flow began.
    base: u128,
    /// The tag of the first waiter.
    tag: u128,
    /// The cost of each waiter.
    waiting: BTreeMap<Ticket, u64>,
}

// === impl Classes ===

impl Classes {
    pub(super) const fn new(fair: bool) -> Self {
        Self {
            classes: BTreeMap::new(),
            fair,
        }
    }

    pub(super) fn push(&mut self, ticket: Ticket, claim: &Claim) {
        let (key, share) = self.flow_of(claim);
        let class = self.classes.entry(Reverse(claim.priority)).or_default();
        class.push(ticket, claim.cost, key, share);
    }

    /// Returns the next waiter and its cost.
    pub(super) fn first(&self) -> Option<(Ticket, u64)> {
        let (_, class) = self.classes.first_key_value()?;
        let ((_, ticket), key) = class.heads.first_key_value()?;
        let cost = class.flows.get(key)?.waiting.get(ticket)?;
        Some((*ticket, *cost))
    }

    pub(super) fn remove(&mut self, ticket: Ticket, claim: &Claim, granted: bool) {
        let (key, _) = self.flow_of(claim);
        let priority = Reverse(claim.priority);
        if let Some(class) = self.classes.get_mut(&priority) {
            class.remove(ticket, key, granted);
            if class.flows.is_empty() {
                self.classes.remove(&priority);
            }
        }
    }

    /// Returns the cost of all higher classes and of the claim's own flow.
    pub(super) fn ahead(&self, claim: &Claim) -> u64 {
        let own = Reverse(claim.priority);
        let above = self.classes.range(..own).map(|(_, class)| class.cost);
        let (key, _) = self.flow_of(claim);
        let flow = self.classes.get(&own).and_then(|own| own.flows.get(&key));
        let peers = flow.map(|flow| flow.cost);
        above.chain(peers).fold(0, u64::saturating_add)
    }

    /// Waiters whose claim has no flow share one.
    fn flow_of(&self, claim: &Claim) -> (Name, u32) {
        match &claim.flow {
            Some(flow) if self.fair => (**flow).clone(),
            _ => (Name::from_static(""), 1),
        }
    }
}

// === impl Class ===

impl Class {
    fn push(&mut self, ticket: Ticket, cost: u64, key: Name, share: u32) {
        self.cost = self.cost.saturating_add(cost);
        let flow = self.flows.entry(key.clone()).or_insert(Flow {
            share,
            cost: 0,
            base: self.clock,
            tag: self.clock,
            waiting: BTreeMap::new(),
        });
        flow.share = share;
        flow.cost = flow.cost.saturating_add(cost);
        if flow.waiting.is_empty() {
            flow.tag = flow.tag_for(cost);
            self.heads.insert((flow.tag, ticket), key);
        }
        flow.waiting.insert(ticket, cost);
    }

    fn remove(&mut self, ticket: Ticket, key: Name, granted: bool) {
        let Some(flow) = self.flows.get_mut(&key) else {
            return;
        };
        let Some(cost) = flow.waiting.remove(&ticket) else {
            return;
        };
        self.cost = self.cost.saturating_sub(cost);
        flow.cost = flow.cost.saturating_sub(cost);
        if self.heads.remove(&(flow.tag, ticket)).is_none() {
            return;
        }
        if granted {
            flow.base = flow.tag;
            self.clock = self.clock.max(flow.tag);
        }
        match flow.waiting.first_key_value() {
            Some((next, cost)) => {
                flow.tag = flow.tag_for(*cost);
                self.heads.insert((flow.tag, *next), key);
            }
            None => {
                self.flows.remove(&key);
            }
        }
    }
}

// === impl Flow ===

impl Flow {
    fn tag_for(&self, cost: u64) -> u128 {
        let scaled = u128::from(cost) << TAG_FRACTION_BITS;
        self.base
            .saturating_add(scaled / u128::from(self.share.max(1)))
    }
}
