//! Calls that wait while the quota changes, against a model of the queue: each call starts when the
//! model's does, and none is forgotten.

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

/// An event at one instant, half a millisecond after a tick of the timers: so the order is defined.
#[derive(Debug, Clone)]
enum Event {
    /// Calls arrive, with these costs.
    Arrive(Vec<u8>),
    Change(u64, u32),
    /// The call of this index, modulo their number, is dropped if it still waits.
    Leave(usize),
}

/// The end of a call, and its millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Started(u64),
    Rejected(u64),
    Left,
}

/// Events, each with the milliseconds since the one before.
type Course = Vec<(u64, Event)>;

/// The tick of tokio's timers, in nanoseconds.
const TICK: u64 = 1_000_000;
const HALF: u64 = TICK / 2;

/// The millisecond of the model's clock at the start.
const BEGUN: u64 = 10;

// === the model ===

struct Model {
    bucket: Bucket,
    queue: VecDeque<(usize, u8)>,
    ends: Vec<Option<End>>,
    now: u64,
}

impl Model {
    /// Starts the first waiter if it is due at a tick before `before`.
    fn start_first(&mut self, before: u64) -> bool {
        let Some((call, cost)) = self.queue.front().copied() else {
            return false;
        };
        let due = self.bucket.earliest(cost.into(), self.now);
        let tick = due.expect("it is not too heavy").next_multiple_of(TICK);
        if tick >= before {
            return false;
        }
        assert!(self.bucket.take_waiting(cost.into(), tick));
        (self.now, self.ends[call]) = (tick, Some(End::Started(tick / TICK)));
        self.queue.pop_front();
        true
    }

    /// Starts all waiters that are due.
    fn start_due(&mut self) {
        while let Some((call, cost)) = self.queue.front().copied() {
            if !self.bucket.take_waiting(cost.into(), self.now) {
                break;
            }
            self.ends[call] = Some(End::Started(self.now.div_ceil(TICK)));
            self.queue.pop_front();
        }
    }

    fn apply(&mut self, event: &Event) {
        let (now, tick) = (self.now, self.now.div_ceil(TICK));
        match event {
            Event::Arrive(costs) => {
                for cost in costs {
                    // A call that arrives grants the waiters that are due.
                    self.start_due();
                    let call = self.ends.len();
                    let free = self.queue.is_empty() && self.bucket.take((*cost).into(), now, now);
                    let heavy = usize::from(*cost) > self.bucket.burst();
                    self.ends.push(match (free, heavy) {
                        (true, _) => Some(End::Started(tick)),
                        (_, true) => Some(End::Rejected(tick)),
                        _ => None,
                    });
                    if !free && !heavy {
                        self.queue.push_back((call, *cost));
                    }
                }
            }
            Event::Change(interval, burst) => {
                self.bucket.change(*interval, *burst, now);
                let most = self.bucket.burst();
                for (call, _) in self
                    .queue
                    .iter()
                    .filter(|(_, cost)| usize::from(*cost) > most)
                {
                    self.ends[*call] = Some(End::Rejected(tick));
                }
                self.queue.retain(|(_, cost)| usize::from(*cost) <= most);
                self.start_due();
            }
            Event::Leave(which) => {
                let which = which.checked_rem(self.ends.len());
                let place = self.queue.iter().position(|(call, _)| Some(*call) == which);
                if let Some((call, _)) = place.and_then(|place| self.queue.remove(place)) {
                    self.ends[call] = Some(End::Left);
                }
            }
        }
    }
}

fn modelled(interval: u64, burst: u32, course: &Course) -> Vec<Option<End>> {
    let mut model = Model {
        bucket: Bucket::new(interval, burst),
        queue: VecDeque::new(),
        ends: Vec::new(),
        now: BEGUN * TICK,
    };
    let mut tick = model.now;
    for (pause, event) in course {
        tick += pause * TICK;
        while model.start_first(tick + HALF) {}
        model.now = tick + HALF;
        model.apply(event);
    }
    while model.start_first(u64::MAX) {}
    model.ends
}

// === the layer ===

/// Runs the tasks that are woken, and those that they wake.
async fn run_woken() {
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
        run_woken().await;
        advance(Duration::from_nanos(HALF)).await;
        match event {
            Event::Arrive(costs) => {
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
                            ends[call] = Some(End::Rejected(tick()));
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
        run_woken().await;
        if let Event::Leave(which) = event {
            if let Some(which) = which.checked_rem(leave.len()) {
                end(which, End::Left);
            }
        }
        // On the tick again: the paused clock advances by whole ticks.
        advance(Duration::from_nanos(HALF)).await;
        run_woken().await;
    }
    let rest = async {
        while let Some(ended) = calls.join_next().await {
            assert!(ended.is_ok() || ended.is_err_and(|error| error.is_cancelled()));
        }
    };
    let rest = timeout(Duration::from_secs(60), rest).await;
    rest.expect("no waiter is forgotten");
    assert_eq!(layer.queued(), 0);
    let ends = ends.lock().expect("no panic under it");
    ends.clone()
}

fn an_interval() -> impl Strategy<Value = u64> {
    // The timer's tick, less, and more.
    prop_oneof![10_000_u64..2 * TICK, TICK..20 * TICK, Just(TICK)]
}

fn an_event() -> impl Strategy<Value = Event> {
    prop_oneof![
        5 => prop::collection::vec(1_u8..4, 1..6).prop_map(Event::Arrive),
        3 => (an_interval(), 1_u32..8).prop_map(|(interval, burst)| Event::Change(interval, burst)),
        2 => any::<usize>().prop_map(Event::Leave),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn waiters_start_when_the_model_says_while_the_quota_changes(
        interval in an_interval(),
        burst in 1_u32..8,
        course in prop::collection::vec((1_u64..15, an_event()), 1..20),
    ) {
        let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
        let measured = runtime.expect("a runtime").block_on(measured(interval, burst, &course));
        prop_assert_eq!(measured, modelled(interval, burst, &course));
    }
}
