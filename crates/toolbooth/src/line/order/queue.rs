use std::collections::BTreeMap;
use std::time::Duration;

use toolbooth_core::{Moment, Name};

use super::Classes;

/// A place in line, from the first on.
pub(in crate::line) type Ticket = u64;

/// What an order knows of one who waits.
#[derive(Debug, Clone)]
pub(in crate::line) struct Who {
    /// When it lined up.
    pub(in crate::line) since: Moment,
    /// How much of the limit it takes.
    pub(in crate::line) cost: u64,
    /// Higher goes first, where the order looks at it.
    pub(in crate::line) priority: i32,
    /// With whom it shares, and how much they get; where the order looks at it.
    pub(in crate::line) flow: Option<(Name, u32)>,
}

/// Those who wait, each with what it is to be told by.
#[derive(Debug)]
pub(in crate::line) struct Queue<T> {
    waiting: BTreeMap<Ticket, Waiting<T>>,
    next: Ticket,
    cost: u64,
    aging: Option<Duration>,
    /// `None`: first come, first served.
    classes: Option<Classes>,
}

#[derive(Debug)]
struct Waiting<T> {
    who: Who,
    told_by: T,
}

// === impl Who ===

impl Who {
    /// One of whom nothing is asked.
    pub(in crate::line) const fn first_come(since: Moment, cost: u64) -> Self {
        Self {
            since,
            cost,
            priority: 0,
            flow: None,
        }
    }
}

// === impl Queue ===

impl<T> Queue<T> {
    /// First come, first served.
    pub(in crate::line) const fn new() -> Self {
        Self {
            waiting: BTreeMap::new(),
            next: 0,
            cost: 0,
            aging: None,
            classes: None,
        }
    }

    /// Another order, for those who wait already, too; what their calls say of themselves was looked at, or not, when they came.
    pub(in crate::line) fn reorder(&mut self, classes: Option<Classes>, aging: Option<Duration>) {
        self.aging = aging;
        self.classes = classes;
        if let Some(classes) = &mut self.classes {
            for (ticket, waiting) in &self.waiting {
                classes.push(*ticket, &waiting.who);
            }
        }
    }

    pub(in crate::line) fn len(&self) -> usize {
        self.waiting.len()
    }

    /// How much all who wait take.
    pub(in crate::line) const fn cost(&self) -> u64 {
        self.cost
    }

    pub(in crate::line) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(in crate::line) fn push(&mut self, who: Who, told_by: T) -> Ticket {
        let ticket = self.next;
        self.next += 1;
        self.cost = self.cost.saturating_add(who.cost);
        if let Some(classes) = &mut self.classes {
            classes.push(ticket, &who);
        }
        self.waiting.insert(ticket, Waiting { who, told_by });
        ticket
    }

    /// Whose turn it is, and what that takes.
    pub(in crate::line) fn first(&self, now: Moment) -> Option<(Ticket, u64)> {
        if let Some(classes) = &self.classes {
            let aged = |(_, waiting): &(&Ticket, &Waiting<T>)| {
                let aged_at = self.aged_at(&waiting.who);
                aged_at.is_some_and(|aged_at| aged_at <= now)
            };
            if self.aging.is_none() || self.waiting.first_key_value().filter(aged).is_none() {
                return classes.first();
            }
        }
        let (oldest, waiting) = self.waiting.first_key_value()?;
        Some((*oldest, waiting.who.cost))
    }

    /// Whether all take one: then nobody is let in but for somebody who gave one back.
    pub(in crate::line) fn is_uniform(&self) -> bool {
        u64::try_from(self.waiting.len()) == Ok(self.cost)
    }

    /// Whether who is first depends on the time.
    pub(in crate::line) const fn ages(&self) -> bool {
        self.aging.is_some() && self.classes.is_some()
    }

    /// When somebody else's turn comes though nobody is served, comes or leaves: who waits longest has waited long enough.
    pub(in crate::line) fn turns_at(&self) -> Option<Moment> {
        self.classes.as_ref()?;
        let (_, waiting) = self.waiting.first_key_value()?;
        self.aged_at(&waiting.who)
    }

    /// How much those take who, for all that is known, precede a newcomer, if none of them leaves.
    pub(in crate::line) fn ahead(&self, who: &Who) -> u64 {
        match &self.classes {
            None => self.cost,
            Some(classes) => classes.ahead(who),
        }
    }

    /// Takes out one who is served.
    pub(in crate::line) fn serve(&mut self, ticket: Ticket) -> Option<T> {
        self.remove(ticket, true)
    }

    /// Takes out one who gives up.
    pub(in crate::line) fn leave(&mut self, ticket: Ticket) -> Option<T> {
        self.remove(ticket, false)
    }

    pub(in crate::line) fn get_mut(&mut self, ticket: Ticket) -> Option<&mut T> {
        Some(&mut self.waiting.get_mut(&ticket)?.told_by)
    }

    /// By what all who wait are told, in the order in which they came.
    pub(in crate::line) fn iter(&self) -> impl Iterator<Item = &T> {
        self.waiting.values().map(|waiting| &waiting.told_by)
    }

    /// Takes out all who want more than `most`.
    pub(in crate::line) fn expel(&mut self, most: u64) -> Vec<T> {
        let heavy = |(ticket, waiting): (&Ticket, &Waiting<T>)| {
            (waiting.who.cost > most).then_some(*ticket)
        };
        let heavy: Vec<Ticket> = self.waiting.iter().filter_map(heavy).collect();
        heavy
            .into_iter()
            .filter_map(|ticket| self.leave(ticket))
            .collect()
    }

    fn aged_at(&self, who: &Who) -> Option<Moment> {
        who.since.after(self.aging?)
    }

    fn remove(&mut self, ticket: Ticket, served: bool) -> Option<T> {
        let Waiting { who, told_by } = self.waiting.remove(&ticket)?;
        self.cost = self.cost.saturating_sub(who.cost);
        if let Some(classes) = &mut self.classes {
            classes.remove(ticket, &who, served);
        }
        Some(told_by)
    }
}
