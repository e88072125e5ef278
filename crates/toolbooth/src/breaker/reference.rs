//! A model of the state machine that stores all calls and counts them each time.

#![expect(clippy::cast_possible_truncation, reason = "the numbers are small")]

use std::collections::HashSet;

use toolbooth_core::{LimitId, Moment};

use super::change::BreakerState;
use super::policy::Over;
use super::rule::{Caller, Verdict};

/// The policy, in milliseconds and plain numbers.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) in_a_row: Option<usize>,
    /// The rate in hundredths, and its window.
    pub(super) failures: Option<(u32, Over)>,
    /// The duration of a slow call in milliseconds, the rate in hundredths, and its window.
    pub(super) slow: Option<(u64, u32, Over)>,
    pub(super) minimum: u32,
    pub(super) open: u64,
    pub(super) growth: Option<(u64, u64)>,
    pub(super) probes: u32,
    pub(super) limit: u64,
}

/// A call without an outer one, or inside of one that was admitted in this generation.
pub(super) struct Call {
    pub(super) now: Moment,
    pub(super) outer: Option<LimitId>,
    pub(super) is_same_attempt: bool,
}

impl Caller for Call {
    fn count_once(&self, generation: LimitId) -> bool {
        !self.is_same_attempt || self.outer != Some(generation)
    }

    fn inherits(&self, generation: LimitId) -> bool {
        self.outer == Some(generation)
    }

    fn now(&self) -> Moment {
        self.now
    }
}

// === the model ===

pub(super) struct Model {
    pub(super) settings: Settings,
    pub(super) state: BreakerState,
    /// The end of the open time, while open.
    pub(super) until: u64,
    /// The time since which probes have been running, while half-open.
    pub(super) since: u64,
    pub(super) succeeded: usize,
    pub(super) opened: u32,
    /// The calls that were admitted since the last change and still run.
    pub(super) running: HashSet<usize>,
    /// The calls that ended since the last change: time, failed, slow.
    pub(super) ended: Vec<(u64, bool, bool)>,
}

impl Model {
    pub(super) fn to(&mut self, state: BreakerState) {
        (self.state, self.succeeded) = (state, 0);
        self.running.clear();
        self.ended.clear();
    }

    pub(super) fn open(&mut self, now: u64) {
        self.opened += 1;
        let grown = self.settings.growth.map_or(0, |(factor, max)| {
            (self.settings.open * factor.saturating_pow(self.opened - 1)).min(max)
        });
        self.until = now + self.settings.open.max(grown);
        self.to(BreakerState::Open);
    }

    pub(super) fn cool_down(&mut self, time: u64, now: u64) {
        self.until = now + time;
        self.to(BreakerState::Open);
    }

    pub(super) fn close(&mut self) {
        self.opened = 0;
        self.to(BreakerState::Closed);
    }

    pub(super) fn catch_up(&mut self, now: u64) {
        let expiry = self.since + self.settings.limit;
        if self.state == BreakerState::HalfOpen && !self.running.is_empty() && expiry <= now {
            self.open(expiry);
        }
        if self.state == BreakerState::Open && self.until <= now {
            self.to(BreakerState::HalfOpen);
        }
    }

    /// Returns whether the call is counted.
    pub(super) fn admit_inside(
        &mut self,
        outer: usize,
        is_same_attempt: bool,
        call: usize,
        now: u64,
    ) -> Result<bool, Option<u64>> {
        self.catch_up(now);
        let is_inside = self.running.contains(&outer);
        match self.state {
            BreakerState::Closed if is_inside && is_same_attempt => Ok(false),
            BreakerState::HalfOpen if is_inside => Ok(false),
            _ => self.admit(call, now),
        }
    }

    pub(super) fn admit(&mut self, call: usize, now: u64) -> Result<bool, Option<u64>> {
        self.catch_up(now);
        let probes = self.running.len() + self.succeeded;
        match self.state {
            BreakerState::Open => return Err(Some(self.until - now)),
            BreakerState::HalfOpen if probes >= self.settings.probes as usize => return Err(None),
            BreakerState::HalfOpen if self.running.is_empty() => self.since = now,
            BreakerState::Disabled => return Ok(false),
            _ => {}
        }
        self.running.insert(call);
        Ok(true)
    }

    pub(super) fn end(&mut self, call: usize, verdict: Verdict, took: u64, now: u64) {
        if self.state == BreakerState::HalfOpen {
            self.catch_up(now);
        }
        let slow = self.settings.slow.is_some_and(|(slow, ..)| took >= slow);
        if !self.running.remove(&call) || verdict == Verdict::None {
            return;
        }
        if let Verdict::CoolDown(time) = verdict {
            return self.cool_down(time.as_millis() as u64, now);
        }
        let failed = verdict == Verdict::Failure;
        match self.state {
            BreakerState::HalfOpen if failed || slow => self.open(now),
            BreakerState::HalfOpen => {
                self.succeeded += 1;
                if self.succeeded == self.settings.probes as usize {
                    self.close();
                }
            }
            BreakerState::Closed => {
                self.ended.push((now, failed, slow));
                if self.trips(now) {
                    self.open(now);
                }
            }
            _ => {}
        }
    }

    fn trips(&self, now: u64) -> bool {
        let settings = &self.settings;
        let row = self.ended.iter().rev().take_while(|call| call.1).count();
        let in_a_row = match (settings.in_a_row, settings.failures, settings.slow) {
            (None, None, None) => Some(5),
            (given, ..) => given,
        };
        let over = |hundredths: u32, over: Over, hit: fn(&&(u64, bool, bool)) -> bool| {
            let (window, minimum) = match over {
                Over::Calls(calls) => (calls as usize, settings.minimum.min(calls)),
                // The current tenth, and the nine before it.
                Over::Time(time) => {
                    let tenth = time.as_millis() as u64 / 10;
                    let inside = |call: &&(u64, bool, bool)| call.0 / tenth + 10 > now / tenth;
                    let calls = self.ended.iter().rev().take_while(inside).count();
                    (calls, settings.minimum)
                }
            };
            let calls: Vec<_> = self.ended.iter().rev().take(window).collect();
            let hits = calls.iter().copied().filter(hit).count();
            calls.len() >= minimum as usize
                && hits > 0
                && hits * 100 >= hundredths as usize * calls.len()
        };
        in_a_row.is_some_and(|limit| row >= limit)
            || settings
                .failures
                .is_some_and(|(rate, window)| over(rate, window, |call| call.1))
            || settings
                .slow
                .is_some_and(|(_, rate, window)| over(rate, window, |call| call.2))
    }
}
