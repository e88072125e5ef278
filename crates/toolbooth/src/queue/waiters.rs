//! The calls that wait in one queue, and which is next. Without locks and clocks.
//!
//! Invariants:
//! 1. `waiting` is in the order of arrival. A ticket is an arrival number and is never used again.
//! 2. With classes, every waiter is in exactly one flow of one class.
//! 3. The waiters of one flow are granted in the order of arrival. So the oldest waiter is the
//!    first of its flow, and aging never takes one from the middle.
//! 4. A ticket waits, or was expelled, or otherwise was granted. Its holder removes it once, also
//!    after it was granted.

use std::collections::BTreeMap;
use std::time::Duration;

use toolbooth_core::{Moment, Name};

use crate::shared::{StoreRejection, Waiting};

use super::classes::Classes;

/// The arrival number of a waiter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Ticket(pub(super) u64);

/// What the order knows of a waiter.
#[derive(Debug, Clone)]
pub(super) struct Claim {
    /// When it was enqueued.
    pub(super) since: Moment,
    /// How many permits or tokens it needs.
    pub(super) cost: u64,
    /// The last moment at which it can start, for a shared limit; `None` if it can at any time.
    pub(super) until: Option<Moment>,
    /// Higher goes first; 0 if the order does not use it.
    pub(super) priority: i32,
    /// The key and its share, if the order is fair between keys.
    pub(super) flow: Option<Box<(Name, u32)>>,
}

/// The state of a ticket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TicketState {
    Waiting,
    Granted,
    /// It cannot start any more.
    Expelled(Expulsion),
}

/// Why a call was expelled from the queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Expulsion {
    /// It needs more than the limit can give since that was lowered.
    TooHeavy,
    /// The store of the limit rejects it.
    ByStore(StoreRejection),
}

/// The waiters of one queue, each with the waker `T` of its task.
#[derive(Debug)]
pub(super) struct Waiters<T> {
    waiting: BTreeMap<Ticket, Queued<T>>,
    /// Expelled tickets that were not removed yet.
    expelled: BTreeMap<Ticket, Expulsion>,
    arrivals: u64,
    cost: u64,
    aging: Option<Duration>,
    /// `None`: first in, first out.
    classes: Option<Classes>,
}

#[derive(Debug)]
struct Queued<T> {
    claim: Claim,
    waker: T,
}

// === impl Claim ===

impl Claim {
    /// Creates a claim without a priority or a flow.
    pub(super) const fn new(since: Moment, cost: u64) -> Self {
        Self {
            since,
            cost,
            until: None,
            priority: 0,
            flow: None,
        }
    }
}

// === impl Waiters ===

impl<T> Waiters<T> {
    /// Creates an empty queue: first in, first out.
    pub(super) const fn new() -> Self {
        Self {
            waiting: BTreeMap::new(),
            expelled: BTreeMap::new(),
            arrivals: 0,
            cost: 0,
            aging: None,
            classes: None,
        }
    }

    /// Changes the order, also for the calls that wait. Their claims stay as they were read.
    pub(super) fn reorder(&mut self, classes: Option<Classes>, aging: Option<Duration>) {
        self.aging = aging;
        self.classes = classes;
        if let Some(classes) = &mut self.classes {
            for (ticket, queued) in &self.waiting {
                classes.push(*ticket, &queued.claim);
            }
        }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Returns the sum of the costs of all waiters.
    pub(super) const fn cost(&self) -> u64 {
        self.cost
    }

    /// Enqueues a waiter. Its holder [removes](Self::remove) the ticket.
    pub(super) fn push(&mut self, claim: Claim, waker: T) -> Ticket {
        let ticket = Ticket(self.arrivals);
        self.arrivals += 1;
        self.cost = self.cost.saturating_add(claim.cost);
        if let Some(classes) = &mut self.classes {
            classes.push(ticket, &claim);
        }
        self.waiting.insert(ticket, Queued { claim, waker });
        ticket
    }

    /// Returns the next waiter and its cost.
    pub(super) fn first(&self, now: Moment) -> Option<(Ticket, u64)> {
        let aged = self.turns_at().is_some_and(|turns| turns <= now);
        match &self.classes {
            Some(classes) if !aged => classes.first(),
            _ => {
                let (ticket, queued) = self.waiting.first_key_value()?;
                Some((*ticket, queued.claim.cost))
            }
        }
    }

    /// Returns whether every waiter costs 1. Then one release grants one waiter at most.
    pub(super) fn is_uniform(&self) -> bool {
        u64::try_from(self.len()) == Ok(self.cost)
    }

    /// Returns whether the next waiter depends on the time.
    pub(super) const fn ages(&self) -> bool {
        self.aging.is_some() && self.classes.is_some()
    }

    /// Returns the moment at which the oldest waiter becomes the next one by its age.
    pub(super) fn turns_at(&self) -> Option<Moment> {
        self.classes.as_ref()?;
        let (_, oldest) = self.waiting.first_key_value()?;
        oldest.claim.since.after(self.aging?)
    }

    /// Returns the cost of the waiters that certainly precede a new one, if none leaves.
    pub(super) fn ahead(&self, claim: &Claim) -> u64 {
        match &self.classes {
            None => self.cost,
            Some(classes) => classes.ahead(claim),
        }
    }

    /// Returns the state of a ticket that its holder has not removed.
    pub(super) fn state(&self, ticket: Ticket) -> TicketState {
        if self.waiting.contains_key(&ticket) {
            TicketState::Waiting
        } else if let Some(why) = self.expelled.get(&ticket) {
            TicketState::Expelled(*why)
        } else {
            TicketState::Granted
        }
    }

    /// Grants a waiter and returns its waker.
    pub(super) fn grant(&mut self, ticket: Ticket) -> Option<T> {
        self.dequeue(ticket, true)
    }

    /// Removes a ticket in any state. Returns the waker if it still waited.
    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<T> {
        self.expelled.remove(&ticket);
        self.dequeue(ticket, false)
    }

    pub(super) fn waker_mut(&mut self, ticket: Ticket) -> Option<&mut T> {
        let queued = self.waiting.get_mut(&ticket)?;
        Some(&mut queued.waker)
    }

    /// Iterates over the wakers of all waiters in the order of arrival.
    pub(super) fn wakers(&self) -> impl Iterator<Item = &T> {
        self.waiting.values().map(|queued| &queued.waker)
    }

    /// Expels the waiters that cost more than `most`. Returns their wakers.
    pub(super) fn expel(&mut self, most: u64) -> Vec<T> {
        self.expel_if(Expulsion::TooHeavy, |claim| claim.cost > most)
    }

    /// Expels the waiters that the store of the limit rejects. Returns their wakers.
    pub(super) fn expel_rejected(&mut self, rejection: StoreRejection) -> Vec<T> {
        self.expel_if(Expulsion::ByStore(rejection), |claim| match rejection {
            StoreRejection::Until(until) => claim.until.is_some_and(|last| last < until),
            StoreRejection::Away(_) => true,
        })
    }

    fn expel_if(&mut self, why: Expulsion, is_out: impl Fn(&Claim) -> bool) -> Vec<T> {
        let out = self.waiting.iter();
        let out = out.filter(|(_, queued)| is_out(&queued.claim));
        let out: Vec<Ticket> = out.map(|(ticket, _)| *ticket).collect();
        let expel = |ticket| {
            let waker = self.dequeue(ticket, false)?;
            self.expelled.insert(ticket, why);
            Some(waker)
        };
        out.into_iter().filter_map(expel).collect()
    }

    /// Returns what the waiters need; `None` without one.
    pub(super) fn needs(&self, now: Moment) -> Option<Waiting> {
        let (first, least) = self.first(now)?;
        Some(Waiting {
            least,
            total: self.cost,
            until: self.waiting.get(&first)?.claim.until,
        })
    }

    fn dequeue(&mut self, ticket: Ticket, granted: bool) -> Option<T> {
        let Queued { claim, waker } = self.waiting.remove(&ticket)?;
        self.cost = self.cost.saturating_sub(claim.cost);
        if let Some(classes) = &mut self.classes {
            classes.remove(ticket, &claim, granted);
        }
        Some(waker)
    }
}
