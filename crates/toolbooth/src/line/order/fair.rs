//! Fair between keys: self-clocked fair queueing (S. J. Golestani, "A self-clocked fair queueing scheme for broadband
//! applications", IEEE INFOCOM 1994).
//!
//! The first of each key bears a tag: the tag of the last of its key that was served, and by how much its own cost, divided by
//! the share of its key, adds to it. The lowest tag is served, and is the clock: a key that comes anew starts from there. So a key
//! that did not wait saved nothing up and owes nothing, nothing is remembered of one that does not, and
//! a key that has as many as it likes in line takes turns with all others.

use std::collections::{BTreeMap, HashMap};

use toolbooth_core::Name;

use super::{Ticket, Who};

/// Of a unit of cost, for shares that divide it.
const SCALE: u32 = 32;

/// Those who wait in one class, by key.
#[derive(Debug)]
pub(super) struct Fair {
    clock: u128,
    /// Only those of which somebody waits.
    flows: HashMap<Name, Flow>,
    /// The first of each flow, by its tag.
    heads: BTreeMap<(u128, Ticket), Name>,
}

#[derive(Debug)]
struct Flow {
    share: u32,
    cost: u64,
    /// From where its first one's tag counts.
    base: u128,
    /// Its first one's.
    tag: u128,
    waiting: BTreeMap<Ticket, u64>,
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

    pub(super) fn push(&mut self, ticket: Ticket, who: &Who) {
        let (key, share) = key(who);
        let clock = self.clock;
        let flow = self.flows.entry(key.clone()).or_insert_with(|| Flow {
            share: 1,
            cost: 0,
            base: clock,
            tag: clock,
            waiting: BTreeMap::new(),
        });
        flow.share = share;
        flow.cost = flow.cost.saturating_add(who.cost);
        flow.waiting.insert(ticket, who.cost);
        if flow.waiting.len() == 1 {
            flow.tag = flow.tag_for(who.cost);
            self.heads.insert((flow.tag, ticket), key);
        }
    }

    pub(super) fn first(&self) -> Option<(Ticket, u64)> {
        let ((_, ticket), key) = self.heads.first_key_value()?;
        let cost = self.flows.get(key)?.waiting.get(ticket)?;
        Some((*ticket, *cost))
    }

    pub(super) fn remove(&mut self, ticket: Ticket, who: &Who, served: bool) {
        let (key, _) = key(who);
        let Some(flow) = self.flows.get_mut(&key) else {
            return;
        };
        flow.cost = flow.cost.saturating_sub(who.cost);
        flow.waiting.remove(&ticket);
        if self.heads.remove(&(flow.tag, ticket)).is_none() {
            return;
        }
        if served {
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

    /// All of its own key: of the others nobody knows.
    pub(super) fn ahead(&self, who: &Who) -> u64 {
        let (key, _) = key(who);
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
fn key(who: &Who) -> (Name, u32) {
    match &who.flow {
        Some((key, share)) => (key.clone(), *share),
        None => (Name::from_static(""), 1),
    }
}
