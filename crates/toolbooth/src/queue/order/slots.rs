//! Where those who wait are kept: many beside each other in memory, in places that are used again, so that who lines up or leaves
//! moves nobody and, mostly, allocates nothing. The lists that go through them know them by number.

use toolbooth_core::{Moment, Name};

use super::Who;

/// The number of a place. Its holder has it until it gives it back, so it never means anybody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::queue) struct Ticket(u32);

/// How many may wait.
pub(in crate::queue) const MOST: usize = 1 << 31;

/// How many places are allocated at once, in a line that is longer than that.
const BLOCK: usize = 128;

/// How many are at first.
const FEW: usize = 4;

/// How many places are kept when nobody has one.
const KEPT: usize = 16;

/// The end of a list.
const NONE: u32 = u32::MAX;

#[derive(Debug)]
pub(super) struct Slots<T> {
    blocks: Vec<Vec<Slot<T>>>,
    /// The first of those that nobody has; each names the next one.
    free: u32,
    taken: usize,
    arrivals: u64,
}

#[derive(Debug)]
pub(super) struct Slot<T> {
    pub(super) since: Moment,
    pub(super) cost: u64,
    pub(super) priority: i32,
    standing: Standing,
    pub(super) flow: Option<Box<(Name, u32)>>,
    /// Higher than that of all who came before.
    pub(super) arrival: u64,
    links: [Link; 2],
    /// While it waits.
    pub(super) told_by: Option<T>,
}

/// How it stands with a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::queue) enum Standing {
    Free,
    Waits,
    /// Its turn has come.
    Served,
    /// Its turn will never come.
    Expelled,
}

#[derive(Debug, Clone, Copy)]
struct Link {
    before: u32,
    next: u32,
}

/// Some of those who wait, in the order in which they came. One who waits is in one list of each sort at most.
#[derive(Debug, Clone, Copy)]
pub(super) struct List<const SORT: usize> {
    first: u32,
    last: u32,
}

/// All who wait.
pub(super) type All = List<0>;

/// Those of one class, or of one key in it.
pub(super) type Peers = List<1>;

// === impl Slots ===

impl<T> Slots<T> {
    pub(super) const fn new() -> Self {
        Self {
            blocks: Vec::new(),
            free: NONE,
            taken: 0,
            arrivals: 0,
        }
    }

    /// A place for one who waits.
    pub(super) fn take(&mut self, who: Who, told_by: T) -> Ticket {
        let slot = Slot {
            since: who.since,
            cost: who.cost,
            priority: who.priority,
            standing: Standing::Waits,
            flow: who.flow,
            arrival: self.arrivals,
            links: [Link::NONE; 2],
            told_by: Some(told_by),
        };
        self.arrivals += 1;
        self.taken += 1;
        let free = self.free;
        if let Some(place) = self.get_mut(Ticket(free)) {
            let before = std::mem::replace(place, slot);
            self.free = before.links[0].next;
            return Ticket(free);
        }
        let place = u32::try_from(self.len()).expect("no more than `MOST` wait");
        match self.blocks.last_mut() {
            Some(block) if block.len() < BLOCK => block.push(slot),
            last => {
                // The first one grows as it must.
                let mut block = Vec::with_capacity(last.map_or(FEW, |_| BLOCK));
                block.push(slot);
                self.blocks.push(block);
            }
        }
        Ticket(place)
    }

    /// Ends the wait of one; its place stays its own until it [gives it back](Self::give_back).
    pub(super) fn end(&mut self, ticket: Ticket, standing: Standing) -> Option<T> {
        let slot = self.get_mut(ticket)?;
        let told_by = slot.told_by.take()?;
        slot.standing = standing;
        Some(told_by)
    }

    pub(super) fn give_back(&mut self, ticket: Ticket) {
        let free = self.free;
        let taken = |slot: &&mut Slot<T>| slot.standing != Standing::Free;
        let Some(slot) = self.get_mut(ticket).filter(taken) else {
            return;
        };
        slot.standing = Standing::Free;
        slot.flow = None;
        slot.links[0].next = free;
        self.free = ticket.0;
        self.taken -= 1;
        if self.taken == 0 && self.len() > KEPT {
            self.blocks = Vec::new();
            self.free = NONE;
        }
    }

    /// All who wait, in the order in which they came: looks at every place.
    pub(super) fn waiting(&self) -> Vec<Ticket> {
        let waits = |(place, slot): (u32, &Slot<T>)| {
            (slot.standing == Standing::Waits).then_some((slot.arrival, Ticket(place)))
        };
        let mut waiting: Vec<_> = (0..)
            .zip(self.blocks.iter().flatten())
            .filter_map(waits)
            .collect();
        waiting.sort_unstable_by_key(|(arrival, _)| *arrival);
        waiting.into_iter().map(|(_, ticket)| ticket).collect()
    }

    fn len(&self) -> usize {
        let last = self.blocks.last().map_or(0, Vec::len);
        self.blocks.len().saturating_sub(1) * BLOCK + last
    }

    pub(super) fn get(&self, ticket: Ticket) -> Option<&Slot<T>> {
        let place = ticket.0 as usize;
        self.blocks.get(place / BLOCK)?.get(place % BLOCK)
    }

    pub(super) fn get_mut(&mut self, ticket: Ticket) -> Option<&mut Slot<T>> {
        let place = ticket.0 as usize;
        self.blocks.get_mut(place / BLOCK)?.get_mut(place % BLOCK)
    }

    pub(super) fn standing(&self, ticket: Ticket) -> Standing {
        self.get(ticket)
            .map_or(Standing::Free, |slot| slot.standing)
    }

    fn link(&mut self, place: u32, sort: usize) -> Option<&mut Link> {
        Some(&mut self.get_mut(Ticket(place))?.links[sort])
    }
}

// === impl Link, List ===

impl Link {
    const NONE: Self = Self {
        before: NONE,
        next: NONE,
    };
}

impl<const SORT: usize> List<SORT> {
    pub(super) const fn new() -> Self {
        Self {
            first: NONE,
            last: NONE,
        }
    }

    pub(super) const fn is_empty(self) -> bool {
        self.first == NONE
    }

    pub(super) fn first<T>(self, slots: &Slots<T>) -> Option<(Ticket, &Slot<T>)> {
        let first = Ticket(self.first);
        Some((first, slots.get(first)?))
    }

    pub(super) fn push<T>(&mut self, slots: &mut Slots<T>, Ticket(place): Ticket) {
        let before = std::mem::replace(&mut self.last, place);
        match slots.link(before, SORT) {
            Some(link) => link.next = place,
            None => self.first = place,
        }
        if let Some(link) = slots.link(place, SORT) {
            *link = Link { before, next: NONE };
        }
    }

    pub(super) fn remove<T>(&mut self, slots: &mut Slots<T>, Ticket(place): Ticket) {
        let Some(Link { before, next }) = slots.link(place, SORT).copied() else {
            return;
        };
        match slots.link(before, SORT) {
            Some(link) => link.next = next,
            None => self.first = next,
        }
        match slots.link(next, SORT) {
            Some(link) => link.before = before,
            None => self.last = before,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lined_up(slots: &mut Slots<u64>, count: u64) -> Vec<Ticket> {
        let who = || Who::first_come(Moment::from_nanos(1), 1);
        (0..count).map(|one| slots.take(who(), one)).collect()
    }

    #[test]
    fn a_place_that_was_given_back_is_the_next_ones() {
        let mut slots = Slots::new();
        let first = lined_up(&mut slots, 1_000);
        for ticket in &first[100..200] {
            slots.give_back(*ticket);
            slots.give_back(*ticket);
        }
        let second = lined_up(&mut slots, 100);
        let mut again = first[100..200].to_vec();
        again.reverse();
        assert_eq!(second, again);
        assert_eq!(slots.len(), 1_000);
        assert_eq!(slots.end(second[99], Standing::Served), Some(99));
        assert_eq!(slots.end(first[99], Standing::Served), Some(99));
        assert_eq!(slots.end(first[99], Standing::Served), None);
    }

    #[test]
    fn where_nobody_is_left_few_places_are_kept() {
        for (most, kept) in [(KEPT, KEPT), (KEPT + 1, 0), (10 * BLOCK, 0)] {
            let mut slots = Slots::new();
            for _ in 0..3 {
                let tickets = lined_up(&mut slots, most as u64);
                assert_eq!(slots.len(), most);
                tickets
                    .into_iter()
                    .for_each(|ticket| slots.give_back(ticket));
                assert_eq!(slots.len(), kept);
            }
        }
    }
}
