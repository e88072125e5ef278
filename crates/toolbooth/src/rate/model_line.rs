//! Calls that wait while the quota changes, beside a line that a reader can follow: each starts when the model says, and none is forgotten.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proptest::prelude::*;
use tokio::runtime::Builder;
use tokio::task::{JoinSet, yield_now};
use tokio::time::{Instant, advance, sleep_until, timeout};
use toolbooth_core::{ErrorKind, ToolCall};
use tower::{Layer, ServiceExt, service_fn};

use super::RateLimitLayer;
use super::model::{Bucket, quota};

/// What happens at one instant, half a millisecond after the timers' ticks: so it is clear what comes first.
#[derive(Debug, Clone)]
enum Event {
    /// Calls that take so much.
    Come(Vec<u8>),
    Change(u64, u32),
    /// The so manieth of those who came gives up, if it still waits.
    Leave(usize),
}

/// How a call ends, and in which millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Started(u64),
    Refused(u64),
    Left,
}

/// Events, each so many milliseconds after the one before.
type Course = Vec<(u64, Event)>;

/// tokio's timers know whole milliseconds.
const TICK: u64 = 1_000_000;
const HALF: u64 = TICK / 2;

/// The millisecond of the model's clock in which it begins.
const BEGUN: u64 = 10;

// === the model ===

struct Model {
    bucket: Bucket,
    line: VecDeque<(usize, u8)>,
    ends: Vec<Option<End>>,
    now: u64,
}

impl Model {
    /// Starts the first in line if it is due at the next tick before that time.
    fn start_first(&mut self, before: u64) -> bool {
        let Some((call, cost)) = self.line.front().copied() else {
            return false;
        };
        let due = self.bucket.earliest(cost.into(), self.now);
        let tick = due.expect("it is not too heavy").next_multiple_of(TICK);
        if tick >= before {
            return false;
        }
        assert!(self.bucket.take_waiting(cost.into(), tick));
        (self.now, self.ends[call]) = (tick, Some(End::Started(tick / TICK)));
        self.line.pop_front();
        true
    }

    /// Starts all who are due by now.
    fn start_due(&mut self) {
        while let Some((call, cost)) = self.line.front().copied() {
            if !self.bucket.take_waiting(cost.into(), self.now) {
                break;
            }
            self.ends[call] = Some(End::Started(self.now.div_ceil(TICK)));
            self.line.pop_front();
        }
    }

    fn happens(&mut self, event: &Event) {
        let (now, tick) = (self.now, self.now.div_ceil(TICK));
        match event {
            Event::Come(costs) => {
                for cost in costs {
                    // Who comes by lets those go who are due.
                    self.start_due();
                    let call = self.ends.len();
                    let free = self.line.is_empty() && self.bucket.take((*cost).into(), now, now);
                    let heavy = usize::from(*cost) > self.bucket.burst();
                    self.ends.push(match (free, heavy) {
                        (true, _) => Some(End::Started(tick)),
                        (_, true) => Some(End::Refused(tick)),
                        _ => None,
                    });
                    if !free && !heavy {
                        self.line.push_back((call, *cost));
                    }
                }
            }
            Event::Change(interval, burst) => {
                self.bucket.change(*interval, *burst, now);
                let most = self.bucket.burst();
                for (call, _) in self
                    .line
                    .iter()
                    .filter(|(_, cost)| usize::from(*cost) > most)
                {
                    self.ends[*call] = Some(End::Refused(tick));
                }
                self.line.retain(|(_, cost)| usize::from(*cost) <= most);
                self.start_due();
            }
            Event::Leave(which) => {
                let which = which.checked_rem(self.ends.len());
                let place = self.line.iter().position(|(call, _)| Some(*call) == which);
                if let Some((call, _)) = place.and_then(|place| self.line.remove(place)) {
                    self.ends[call] = Some(End::Left);
                }
            }
        }
    }
}

fn modelled(interval: u64, burst: u32, course: &Course) -> Vec<Option<End>> {
    let mut model = Model {
        bucket: Bucket::new(interval, burst),
        line: VecDeque::new(),
        ends: Vec::new(),
        now: BEGUN * TICK,
    };
    let mut tick = model.now;
    for (pause, event) in course {
        tick += pause * TICK;
        while model.start_first(tick + HALF) {}
        model.now = tick + HALF;
        model.happens(event);
    }
    while model.start_first(u64::MAX) {}
    model.ends
}

// === the layer ===

/// Who is woken runs, and so does whoever it wakes.
async fn settle() {
    for _ in 0..6 {
        yield_now().await;
    }
}

async fn measured(interval: u64, burst: u32, course: &Course) -> Vec<Option<End>> {
    let begun = Instant::now();
    let tick = move || {
        let nanos = u64::try_from(begun.elapsed().as_nanos()).expect("some minutes");
        BEGUN + nanos.div_ceil(TICK)
    };
    let cost = |call: &toolbooth_core::CallContext| call.priority().unsigned_abs();
    let layer = RateLimitLayer::new(quota(interval, burst)).with_cost(cost);
    let ends = Arc::new(Mutex::new(Vec::new()));
    let end = |call: usize, end: End| {
        let ends: &Mutex<Vec<Option<End>>> = &ends;
        ends.lock().expect("no panic under it")[call].get_or_insert(end);
    };
    let (mut calls, mut leave) = (JoinSet::new(), Vec::new());
    let mut at = begun;
    for (pause, event) in course {
        at += Duration::from_nanos(pause * TICK);
        sleep_until(at).await;
        settle().await;
        advance(Duration::from_nanos(HALF)).await;
        match event {
            Event::Come(costs) => {
                for cost in costs {
                    let call = leave.len();
                    let all = Arc::clone(&ends);
                    all.lock().expect("no panic under it").push(None);
                    let started = Arc::clone(&ends);
                    let tool = service_fn(move |_: ToolCall<()>| {
                        let mut ends = started.lock().expect("no panic under it");
                        ends[call] = Some(End::Started(tick()));
                        async { Ok::<_, Infallible>(()) }
                    });
                    let answer = layer
                        .layer(tool)
                        .oneshot(ToolCall::new("tool", ()).with_priority((*cost).into()));
                    leave.push(calls.spawn(async move {
                        if let Err(error) = answer.await {
                            assert_eq!(error.kind(), ErrorKind::Overloaded);
                            let mut ends = all.lock().expect("no panic under it");
                            ends[call] = Some(End::Refused(tick()));
                        }
                    }));
                }
            }
            Event::Change(interval, burst) => {
                let quota = quota(*interval, *burst);
                layer.set_quota(quota).expect("there is a limit");
            }
            Event::Leave(which) => {
                if let Some(which) = which.checked_rem(leave.len()) {
                    leave[which].abort();
                }
            }
        }
        settle().await;
        if let Event::Leave(which) = event {
            if let Some(which) = which.checked_rem(leave.len()) {
                end(which, End::Left);
            }
        }
        // On the tick again: the paused clock goes on by whole ones.
        advance(Duration::from_nanos(HALF)).await;
        settle().await;
    }
    let rest = async {
        while let Some(ended) = calls.join_next().await {
            assert!(ended.is_ok() || ended.is_err_and(|error| error.is_cancelled()));
        }
    };
    let rest = timeout(Duration::from_secs(60), rest).await;
    rest.expect("nobody is forgotten");
    assert_eq!(layer.queued(), 0);
    let ends = ends.lock().expect("no panic under it");
    ends.clone()
}

fn an_interval() -> impl Strategy<Value = u64> {
    // The timer's tick, and less and more than that.
    prop_oneof![10_000_u64..2 * TICK, TICK..20 * TICK, Just(TICK)]
}

fn an_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        5 => prop::collection::vec(1_u8..4, 1..6).prop_map(Event::Come),
        3 => (an_interval(), 1_u32..8).prop_map(|(interval, burst)| Event::Change(interval, burst)),
        2 => any::<usize>().prop_map(Event::Leave),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn who_waits_while_the_quota_changes_starts_when_the_model_says(
        interval in an_interval(),
        burst in 1_u32..8,
        course in prop::collection::vec((1_u64..15, an_event()), 1..20),
    ) {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
        let measured = runtime.expect("a runtime").block_on(measured(interval, burst, &course));
        prop_assert_eq!(measured, modelled(interval, burst, &course));
    }
}
