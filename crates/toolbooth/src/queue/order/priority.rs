//! Priority: the highest class first; within a class first come, first served, or fair between keys.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::Who;
use super::fair::Fair;
use super::slots::{Peers, Slots, Ticket};

/// Those who wait, by priority.
#[derive(Debug)]
pub(in crate::queue) struct Classes {
    /// Only those in which somebody waits.
    classes: BTreeMap<Reverse<i32>, Class>,
    fair: bool,
}

#[derive(Debug)]
struct Class {
    cost: u64,
    members: Members,
}

#[derive(Debug)]
enum Members {
    Fifo(Peers),
    Fair(Box<Fair>),
}

// === impl Classes ===

impl Classes {
    pub(in crate::queue) const fn new(fair: bool) -> Self {
        Self {
            classes: BTreeMap::new(),
            fair,
        }
    }

    pub(super) fn push<T>(&mut self, slots: &mut Slots<T>, ticket: Ticket) {
        let Some(who) = slots.get(ticket) else { return };
        let fair = self.fair;
        let class = self
            .classes
            .entry(Reverse(who.priority))
            .or_insert_with(|| Class::new(fair));
        class.cost = class.cost.saturating_add(who.cost);
        match &mut class.members {
            Members::Fifo(members) => members.push(slots, ticket),
            Members::Fair(members) => members.push(slots, ticket),
        }
    }

    /// Whose turn it is, and what that takes.
    pub(super) fn first<T>(&self, slots: &Slots<T>) -> Option<(Ticket, u64)> {
        let (_, class) = self.classes.first_key_value()?;
        let (ticket, first) = match &class.members {
            Members::Fifo(members) => members.first(slots),
            Members::Fair(members) => members.first(slots),
        }?;
        Some((ticket, first.cost))
    }

    pub(super) fn remove<T>(&mut self, slots: &mut Slots<T>, ticket: Ticket, served: bool) {
        let Some(who) = slots.get(ticket) else { return };
        let (priority, cost) = (Reverse(who.priority), who.cost);
        let Some(class) = self.classes.get_mut(&priority) else {
            return;
        };
        class.cost = class.cost.saturating_sub(cost);
        let empty = match &mut class.members {
            Members::Fifo(members) => {
                members.remove(slots, ticket);
                members.is_empty()
            }
            Members::Fair(members) => {
                members.remove(slots, ticket, served);
                members.is_empty()
            }
        };
        if empty {
            self.classes.remove(&priority);
        }
    }

    /// All of the classes above, and of its own class, or else of its own key.
    pub(super) fn ahead(&self, who: &Who) -> u64 {
        let own = Reverse(who.priority);
        let above = self.classes.range(..own).map(|(_, class)| class.cost);
        let peers = self.classes.get(&own).map(|class| match &class.members {
            Members::Fifo(_) => class.cost,
            Members::Fair(members) => members.ahead(who),
        });
        above.chain(peers).fold(0, u64::saturating_add)
    }
}

// === impl Class ===

impl Class {
    fn new(fair: bool) -> Self {
        Self {
            cost: 0,
            members: match fair {
                true => Members::Fair(Box::new(Fair::new())),
                false => Members::Fifo(Peers::new()),
            },
        }
    }
}
