//! The ways in which a call through all eight layers can end, and what the order decides.

use super::*;

/// Long, since each instant at which a timer fires costs real time.
pub(super) const EVERY: Duration = ms(500);
pub(super) const DROPPED_AT: u64 = 499;
/// Longer than any limit.
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

/// The layers, outermost first.
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
    Queued,
    QueuedForEver,
    DroppedInQueue,
}

use Ending::{
    Completes, DroppedByTheCaller, DroppedInQueue, EmitsForEver, Fails, FailsAtFirst, Panics,
    PanicsAtFirst, Queued, QueuedForEver, StreamDroppedByItsConsumer, Streams, StreamsForEver,
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
    Queued,
    QueuedForEver,
    DroppedInQueue,
];

/// What the caller of a call observed.
#[derive(Debug, PartialEq)]
pub(super) enum Seen {
    /// The contents of the response.
    Response(Contents),
    /// An error: its kind, how many contents it carries, how many were delivered before, and
    /// whether the tool had started.
    Error(ErrorKind, usize, u64, bool),
    /// Nothing, since it dropped the call.
    Nothing,
}

#[derive(Debug, PartialEq)]
pub(super) enum Contents {
    Done,
    Chunks(usize),
    Other(Vec<Content>),
}

/// How one call ends.
#[derive(Debug, PartialEq)]
pub(super) struct End {
    /// After how many milliseconds.
    pub(super) at: u128,
    /// Available permits, queued calls, and calls that wait for a token, at the end.
    pub(super) limits: (usize, usize, usize),
    pub(super) seen: Seen,
    pub(super) tokens: u32,
    /// The outcomes that the hook of the caller received.
    pub(super) caller: Vec<Outcome>,
    /// The outcomes that the hooks of the tool received, one for each attempt that reached it.
    pub(super) tool: Vec<Outcome>,
}

// === what is expected ===

impl Order {
    /// Whether `a` is outside of `b`.
    fn outside(&self, a: Name, b: Name) -> bool {
        let at = |name| self.0.iter().position(|layer| *layer == name);
        at(a) < at(b)
    }

    pub(super) fn expects(&self, ending: Ending) -> End {
        let each = |layer| self.outside(Retry, layer);
        let one = |at, seen, outcome| End {
            at,
            limits: (1, 0, 0),
            seen,
            tokens: 1,
            caller: vec![outcome],
            tool: vec![outcome],
        };
        let error = |kind, contents| Seen::Error(kind, contents, 0, true);
        // Two attempts with their outcomes.
        let two = |at, seen, first: Outcome, second: Outcome| End {
            at,
            limits: (1, 0, 0),
            seen,
            tokens: if each(Rate) { 2 } else { 1 },
            // The hook of the caller belongs to the first attempt.
            caller: vec![if each(Cleanup) { first } else { second }],
            tool: vec![if each(Cleanup) { first } else { second }, second],
        };
        let timed_out = |contents| error(ErrorKind::Timeout, contents);
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
            // The panic passes through the retry.
            PanicsAtFirst => one(1_000, error(ErrorKind::Panicked, 2), Outcome::Panicked),
            DroppedByTheCaller => one(u128::from(DROPPED_AT), Seen::Nothing, Outcome::Cancelled),
            Streams => one(
                1_000,
                Seen::Response(Contents::Chunks(3)),
                Outcome::Completed,
            ),
            StreamsForEver => one(
                1_999,
                Seen::Error(ErrorKind::Timeout, 4, 4, true),
                Outcome::TimedOut,
            ),
            StreamDroppedByItsConsumer => {
                one(500, Seen::Response(Contents::Chunks(2)), Outcome::Cancelled)
            }
            // The permit is released at 499.
            Queued => one(599, done(), Outcome::Completed),
            QueuedForEver if self.outside(Timeout, Concurrency) => {
                let twice = each(Timeout);
                let timed_out = Seen::Error(ErrorKind::Timeout, 0, 0, false);
                let end = match twice {
                    true => two(3_998, timed_out, Outcome::TimedOut, Outcome::TimedOut),
                    false => one(1_999, timed_out, Outcome::TimedOut),
                };
                End {
                    // Refunded, whether it was taken or not.
                    tokens: 0,
                    tool: vec![],
                    ..end
                }
            }
            // The timeout starts with the permit, so that only the caller ends the wait.
            QueuedForEver | DroppedInQueue => End {
                tokens: 0,
                tool: vec![],
                ..one(
                    match ending {
                        DroppedInQueue => u128::from(DROPPED_AT),
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
    /// When the caller drops the call or its response.
    pub(super) const fn caller(self) -> Caller {
        match self {
            DroppedByTheCaller | DroppedInQueue => Caller::DropsAt(DROPPED_AT),
            StreamDroppedByItsConsumer => Caller::DropsStreamAfter(2),
            QueuedForEver => Caller::DropsAt(FOR_EVER),
            _ => Caller::Waits,
        }
    }

    /// Until when another call holds the only permit.
    pub(super) const fn occupied(self) -> u64 {
        match self {
            Queued => DROPPED_AT,
            QueuedForEver | DroppedInQueue => FOR_EVER,
            _ => 0,
        }
    }

    pub(super) const fn args(self) -> &'static str {
        match self {
            Completes | Queued | QueuedForEver | DroppedInQueue => "completes",
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
