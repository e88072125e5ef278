//! Fair between keys: self-clocked fair queueing (S. J. Golestani, "A self-clocked fair queueing scheme for broadband
//! applications", IEEE INFOCOM 1994).
//!
//! The first of each key bears a tag: the tag of the last of its key that was served, and by how much its own cost, divided by
//! the share of its key, adds to it. The lowest tag is served, and is the clock: a key that comes anew starts from there. So a key
//! that did not wait saved nothing up and owes nothing, nothing is remembered of one that does not, and
//! a key that has as many as it likes in line takes turns with all others.

use std::collections::{BTreeMap, HashMap};

use toolbooth_core::Name;

use super::Who;
use super::slots::{Peers, Slot, Slots, Ticket};

/// Of a unit of cost, for shares that divide it.
const SCALE: u32 = 32;

/// Those who wait in one class, by key.
#[derive(Debug)]
pub(super) struct Fair {
    clock: u128,
    /// Only those of which somebody waits.
    flows: HashMap<Name, Flow>,
    /// The first of each flow, by its tag, and of equals who came first.
    heads: BTreeMap<(u128, u64), (Ticket, Name)>,
}

#[derive(Debug)]
struct Flow {
    share: u32,
    cost: u64,
    /// From where its first one's tag counts.
    base: u128,
    /// Its first one's.
    tag: u128,
    waiting: Peers,
}

// === impl Fair ===

impl Fair {
    pub(super) fn new() -> Self {
        Self {
            clock: 0,
            flows: HashMap::new(),
            heads: BTreeMap::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.flows.is_empty()
    }

    pub(super) fn push<T>(&mut self, slots: &mut Slots<T>, ticket: Ticket) {
        let Some(who) = slots.get(ticket) else { return };
        let (arrival, cost) = (who.arrival, who.cost);
        let (key, share) = key(who.flow.as_deref());
        let clock = self.clock;
        let flow = self.flows.entry(key.clone()).or_insert_with(|| Flow {
            share: 1,
            cost: 0,
            base: clock,
            tag: clock,
            waiting: Peers::new(),
        });
        flow.share = share;
        flow.cost = flow.cost.saturating_add(cost);
        if flow.waiting.is_empty() {
            flow.tag = flow.tag_for(cost);
            self.heads.insert((flow.tag, arrival), (ticket, key));
        }
        flow.waiting.push(slots, ticket);
    }

    pub(super) fn first<'a, T>(&self, slots: &'a Slots<T>) -> Option<(Ticket, &'a Slot<T>)> {
        let (_, (ticket, _)) = self.heads.first_key_value()?;
        Some((*ticket, slots.get(*ticket)?))
    }

    pub(super) fn remove<T>(&mut self, slots: &mut Slots<T>, ticket: Ticket, served: bool) {
        let Some(who) = slots.get(ticket) else { return };
        let (arrival, cost) = (who.arrival, who.cost);
        let (key, _) = key(who.flow.as_deref());
        let Some(flow) = self.flows.get_mut(&key) else {
            return;
        };
        flow.cost = flow.cost.saturating_sub(cost);
        flow.waiting.remove(slots, ticket);
        if self.heads.remove(&(flow.tag, arrival)).is_none() {
            return;
        }
        if served {
            flow.base = flow.tag;
            self.clock = self.clock.max(flow.tag);
        }
        match flow.waiting.first(slots) {
            Some((next, first)) => {
                flow.tag = flow.tag_for(first.cost);
                self.heads.insert((flow.tag, first.arrival), (next, key));
            }
            None => {
                self.flows.remove(&key);
            }
        }
    }

    /// All of its own key: of the others nobody knows.
    pub(super) fn ahead(&self, who: &Who) -> u64 {
        let (key, _) = key(who.flow.as_deref());
        self.flows.get(&key).map_or(0, |flow| flow.cost)
    }
}

// === impl Flow ===

impl Flow {
    fn tag_for(&self, cost: u64) -> u128 {
        self.base
            .saturating_add((u128::from(cost) << SCALE) / u128::from(self.share.max(1)))
    }
}

/// Who waits since before keys were looked at, shares with all others of whom that is true.
fn key(flow: Option<&(Name, u32)>) -> (Name, u32) {
    match flow {
        Some((key, share)) => (key.clone(), *share),
        None => (Name::from_static(""), 1),
    }
}
