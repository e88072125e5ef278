//! The ways in which a call through all eight layers can end, and what follows from the order.

use super::*;

/// Rarely: each moment at which anything happens costs time in earnest.
pub(super) const EVERY: Duration = Duration::from_millis(500);
pub(super) const DROPPED_AT: u64 = 499;
/// Longer than any limit lets a call run.
pub(super) const FOR_EVER: u64 = 60_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Name {
    Timeout,
    Concurrency,
    Rate,
    Cleanup,
    Partial,
    CatchPanic,
    Spawn,
    Retry,
}

use Name::{CatchPanic, Cleanup, Concurrency, Partial, Rate, Retry, Spawn, Timeout};

pub(super) const EIGHT: [Name; 8] = [
    Timeout,
    Concurrency,
    Rate,
    Cleanup,
    Partial,
    CatchPanic,
    Spawn,
    Retry,
];

/// The layers from the outside in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Order(pub(super) [Name; 8]);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Completes,
    EmitsForEver,
    Fails,
    FailsAtFirst,
    Panics,
    PanicsAtFirst,
    DroppedByTheCaller,
    Streams,
    StreamsForEver,
    StreamDroppedByItsConsumer,
    WaitsInLine,
    WaitsInLineForEver,
    DroppedInLine,
}

use Ending::{
    Completes, DroppedByTheCaller, DroppedInLine, EmitsForEver, Fails, FailsAtFirst, Panics,
    PanicsAtFirst, StreamDroppedByItsConsumer, Streams, StreamsForEver, WaitsInLine,
    WaitsInLineForEver,
};

pub(super) const ENDINGS: [Ending; 13] = [
    Completes,
    EmitsForEver,
    Fails,
    FailsAtFirst,
    Panics,
    PanicsAtFirst,
    DroppedByTheCaller,
    Streams,
    StreamsForEver,
    StreamDroppedByItsConsumer,
    WaitsInLine,
    WaitsInLineForEver,
    DroppedInLine,
];

/// What the caller of a call saw.
#[derive(Debug, PartialEq)]
pub(super) enum Seen {
    /// So many pieces of the tool's answer.
    Response(Contents),
    /// An error of this kind, with so many pieces, of which so many were delivered.
    Error(ErrorKind, usize, u64),
    /// Nothing: it dropped the call.
    Nothing,
}

#[derive(Debug, PartialEq)]
pub(super) enum Contents {
    Done,
    Chunks(usize),
    Other(Vec<Content>),
}

/// What one call comes to.
#[derive(Debug, PartialEq)]
pub(super) struct End {
    /// After so many milliseconds.
    pub(super) at: u128,
    /// Free permits, calls in line for one, calls in line for a token, when the caller sees the end.
    pub(super) back: (usize, usize, usize),
    pub(super) seen: Seen,
    pub(super) tokens: u32,
    /// What the hook was told that the caller registered.
    pub(super) caller: Vec<Outcome>,
    /// What the hooks were told that the tool registered, one for each attempt that came so far.
    pub(super) tool: Vec<Outcome>,
}

// === what is expected ===

impl Order {
    /// Whether `a` stands outside of `b`.
    fn outside(&self, a: Name, b: Name) -> bool {
        let at = |name| self.0.iter().position(|layer| *layer == name);
        at(a) < at(b)
    }

    pub(super) fn expects(&self, ending: Ending) -> End {
        let each = |layer| self.outside(Retry, layer);
        let one = |at, seen, outcome| End {
            at,
            back: (1, 0, 0),
            seen,
            tokens: 1,
            caller: vec![outcome],
            tool: vec![outcome],
        };
        let error = |kind, pieces| Seen::Error(kind, pieces, 0);
        // Two attempts, the first of which ended so.
        let two = |at, seen, first: Outcome, second: Outcome| End {
            at,
            back: (1, 0, 0),
            seen,
            tokens: if each(Rate) { 2 } else { 1 },
            // The caller's hook belongs to the attempt that the caller made.
            caller: vec![if each(Cleanup) { first } else { second }],
            tool: vec![if each(Cleanup) { first } else { second }, second],
        };
        let timed_out = |pieces| error(ErrorKind::Timeout, pieces);
        let done = || Seen::Response(Contents::Done);
        match ending {
            Completes => one(100, done(), Outcome::Completed),
            EmitsForEver if each(Timeout) => {
                two(3_998, timed_out(4), Outcome::TimedOut, Outcome::TimedOut)
            }
            EmitsForEver => one(1_999, timed_out(4), Outcome::TimedOut),
            Fails => one(1_500, error(ErrorKind::Tool, 3), Outcome::Failed),
            FailsAtFirst => two(1_600, done(), Outcome::Failed, Outcome::Completed),
            Panics => one(1_000, error(ErrorKind::Panicked, 2), Outcome::Panicked),
            PanicsAtFirst if each(CatchPanic) || each(Spawn) => {
                two(1_100, done(), Outcome::Panicked, Outcome::Completed)
            }
            // It passes through the retry.
            PanicsAtFirst => one(1_000, error(ErrorKind::Panicked, 2), Outcome::Panicked),
            DroppedByTheCaller => one(u128::from(DROPPED_AT), Seen::Nothing, Outcome::Cancelled),
            Streams => one(
                1_000,
                Seen::Response(Contents::Chunks(3)),
                Outcome::Completed,
            ),
            StreamsForEver => one(
                1_999,
                Seen::Error(ErrorKind::Timeout, 4, 4),
                Outcome::TimedOut,
            ),
            StreamDroppedByItsConsumer => {
                one(500, Seen::Response(Contents::Chunks(2)), Outcome::Cancelled)
            }
            // The permit is free again at 499.
            WaitsInLine => one(599, done(), Outcome::Completed),
            WaitsInLineForEver if self.outside(Timeout, Concurrency) => {
                let twice = each(Timeout);
                let end = match twice {
                    true => two(3_998, timed_out(0), Outcome::TimedOut, Outcome::TimedOut),
                    false => one(1_999, timed_out(0), Outcome::TimedOut),
                };
                End {
                    tokens: if self.outside(Rate, Concurrency) {
                        end.tokens
                    } else {
                        0
                    },
                    tool: vec![],
                    ..end
                }
            }
            // The limit begins with the permit: nothing but the caller ends the wait.
            WaitsInLineForEver | DroppedInLine => End {
                tokens: u32::from(self.outside(Rate, Concurrency)),
                tool: vec![],
                ..one(
                    match ending {
                        DroppedInLine => u128::from(DROPPED_AT),
                        _ => u128::from(FOR_EVER),
                    },
                    Seen::Nothing,
                    Outcome::Cancelled,
                )
            },
        }
    }
}

impl Ending {
    /// When the caller drops the call, or its answer's consumer the answer.
    pub(super) const fn caller(self) -> Caller {
        match self {
            DroppedByTheCaller | DroppedInLine => Caller::DropsAt(DROPPED_AT),
            StreamDroppedByItsConsumer => Caller::DropsStreamAfter(2),
            WaitsInLineForEver => Caller::DropsAt(FOR_EVER),
            _ => Caller::Waits,
        }
    }

    /// Until when somebody else holds the one permit.
    pub(super) const fn occupied(self) -> u64 {
        match self {
            WaitsInLine => DROPPED_AT,
            WaitsInLineForEver | DroppedInLine => FOR_EVER,
            _ => 0,
        }
    }

    pub(super) const fn args(self) -> &'static str {
        match self {
            Completes | WaitsInLine | WaitsInLineForEver | DroppedInLine => "completes",
            EmitsForEver | DroppedByTheCaller => "emits for ever",
            Fails => "fails after 3",
            FailsAtFirst => "fails at first",
            Panics => "panics",
            PanicsAtFirst => "panics at first",
            Streams => "streams 3",
            StreamsForEver | StreamDroppedByItsConsumer => "streams for ever",
        }
    }
}
