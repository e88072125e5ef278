use std::time::Duration;

use toolbooth_core::{Moment, Name};

use super::Classes;
use super::slots::{All, Slots, Standing, Ticket};

/// What an order knows of one who waits.
#[derive(Debug, Clone)]
pub(in crate::queue) struct Who {
    /// When it lined up.
    pub(in crate::queue) since: Moment,
    /// How much of the limit it takes.
    pub(in crate::queue) cost: u64,
    /// Higher goes first, where the order looks at it.
    pub(in crate::queue) priority: i32,
    /// With whom it shares, and how much they get; where the order looks at it.
    pub(in crate::queue) flow: Option<Box<(Name, u32)>>,
}

/// Those who wait, each with what it is to be told by.
#[derive(Debug)]
pub(in crate::queue) struct Queue<T> {
    slots: Slots<T>,
    /// All, where the order asks for who waits longest. Elsewhere there is none to keep: whoever leaves it writes to both of its
    /// neighbours, which are far from each other in memory where they are not served one after the other.
    waiting: Option<All>,
    len: usize,
    cost: u64,
    aging: Option<Duration>,
    /// `None`: first come, first served.
    classes: Option<Classes>,
}

// === impl Who ===

impl Who {
    /// One of whom nothing is asked.
    pub(in crate::queue) const fn first_come(since: Moment, cost: u64) -> Self {
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
    pub(in crate::queue) const fn new() -> Self {
        Self {
            slots: Slots::new(),
            waiting: Some(All::new()),
            len: 0,
            cost: 0,
            aging: None,
            classes: None,
        }
    }

    /// Another order, for those who wait already, too; what their calls say of themselves was looked at, or not, when they came.
    pub(in crate::queue) fn reorder(&mut self, classes: Option<Classes>, aging: Option<Duration>) {
        let waiting = self.slots.waiting();
        self.waiting = (classes.is_none() || aging.is_some()).then(All::new);
        self.aging = aging;
        self.classes = classes;
        for ticket in waiting {
            self.line_up(ticket);
        }
    }

    /// How many wait.
    pub(in crate::queue) const fn len(&self) -> usize {
        self.len
    }

    /// How much all who wait take.
    pub(in crate::queue) const fn cost(&self) -> u64 {
        self.cost
    }

    /// Whether nobody waits.
    pub(in crate::queue) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Lines up. The ticket is [given back](Self::leave) by its holder, and by nobody else.
    pub(in crate::queue) fn push(&mut self, who: Who, told_by: T) -> Ticket {
        self.len += 1;
        self.cost = self.cost.saturating_add(who.cost);
        let ticket = self.slots.take(who, told_by);
        self.line_up(ticket);
        ticket
    }

    fn line_up(&mut self, ticket: Ticket) {
        if let Some(waiting) = &mut self.waiting {
            waiting.push(&mut self.slots, ticket);
        }
        if let Some(classes) = &mut self.classes {
            classes.push(&mut self.slots, ticket);
        }
    }

    /// Whose turn it is, and what that takes.
    pub(in crate::queue) fn first(&self, now: Moment) -> Option<(Ticket, u64)> {
        if let Some(classes) = &self.classes {
            let aged = |aged_at: Moment| aged_at <= now;
            if self.turns_at().filter(|aged_at| aged(*aged_at)).is_none() {
                return classes.first(&self.slots);
            }
        }
        let (oldest, waiting) = self.waiting?.first(&self.slots)?;
        Some((oldest, waiting.cost))
    }

    /// Whether all take one: then nobody is let in but for somebody who gave one back.
    pub(in crate::queue) fn is_uniform(&self) -> bool {
        u64::try_from(self.len) == Ok(self.cost)
    }

    /// Whether who is first depends on the time.
    pub(in crate::queue) const fn ages(&self) -> bool {
        self.aging.is_some() && self.classes.is_some()
    }

    /// When somebody else's turn comes though nobody is served, comes or leaves: who waits longest has waited long enough.
    pub(in crate::queue) fn turns_at(&self) -> Option<Moment> {
        self.classes.as_ref()?;
        let aging = self.aging?;
        let (_, oldest) = self.waiting?.first(&self.slots)?;
        oldest.since.after(aging)
    }

    /// How much those take who, for all that is known, precede a newcomer, if none of them leaves.
    pub(in crate::queue) fn ahead(&self, who: &Who) -> u64 {
        match &self.classes {
            None => self.cost,
            Some(classes) => classes.ahead(who),
        }
    }

    /// How it stands with the holder of a ticket.
    pub(in crate::queue) fn standing(&self, ticket: Ticket) -> Standing {
        self.slots.standing(ticket)
    }

    /// It is its turn.
    pub(in crate::queue) fn serve(&mut self, ticket: Ticket) -> Option<T> {
        self.end(ticket, Standing::Served)
    }

    /// Gives a ticket back, of one that waits, too; then that gives up.
    pub(in crate::queue) fn leave(&mut self, ticket: Ticket) -> Option<T> {
        let told_by = self.end(ticket, Standing::Expelled);
        self.slots.give_back(ticket);
        told_by
    }

    /// By what one who waits is told.
    pub(in crate::queue) fn told_by(&mut self, ticket: Ticket) -> Option<&mut T> {
        self.slots.get_mut(ticket)?.told_by.as_mut()
    }

    /// By what all who wait are told, in the order in which they came.
    pub(in crate::queue) fn iter(&self) -> impl Iterator<Item = &T> {
        let waiting = self.slots.waiting().into_iter();
        waiting.filter_map(|ticket| self.slots.get(ticket)?.told_by.as_ref())
    }

    /// None of those who want more than `most` will be served.
    pub(in crate::queue) fn expel(&mut self, most: u64) -> Vec<T> {
        let mut heavy = self.slots.waiting();
        heavy.retain(|ticket| self.slots.get(*ticket).is_some_and(|slot| slot.cost > most));
        let expel = |ticket| self.end(ticket, Standing::Expelled);
        heavy.into_iter().filter_map(expel).collect()
    }

    fn end(&mut self, ticket: Ticket, standing: Standing) -> Option<T> {
        let told_by = self.slots.end(ticket, standing)?;
        if let Some(waiting) = &mut self.waiting {
            waiting.remove(&mut self.slots, ticket);
        }
        if let Some(classes) = &mut self.classes {
            classes.remove(&mut self.slots, ticket, standing == Standing::Served);
        }
        let cost = self.slots.get(ticket).map_or(0, |slot| slot.cost);
        self.len -= 1;
        self.cost = self.cost.saturating_sub(cost);
        Some(told_by)
    }
}
