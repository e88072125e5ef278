//! Policies that change while a thousand calls wait and a hundred run.
//!
//! Two groups of five tools: the members of `busy` share permits, those of `paced` share tokens.
//! As many callers as there are calls make one call after the other. Meanwhile the policies change
//! a hundred times, and each tenth text has a fault.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use fastrand::Rng;
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use toolbooth::policy::{Policies, PolicyErrorKind};
use toolbooth::{BoxError, CallContext, ToolCall, Toolbox, tool_fn};
use toolbooth_tests::runtime;
use tower::ServiceExt;

const SEED: u64 = 4;
const CHANGES: usize = 100;
/// The time between two changes.
const PERIOD: Duration = Duration::from_millis(25);
/// Members of a group.
const TOOLS: usize = 5;
/// Callers of `busy`, of which 100 run at first, and of `paced`.
const BUSY: usize = 900;
const PACED: usize = 320;

/// The numbers of one version of the policies.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Numbers {
    /// The permits of `busy`, and those of the first tool of `paced` alone.
    busy: usize,
    first: usize,
    /// Tokens a second, and the burst.
    rate: usize,
    burst: usize,
}

/// What runs, and what the limits are.
#[derive(Debug)]
struct State {
    numbers: Numbers,
    since: Instant,
    /// Calls that run: of `busy`, and of the first tool of `paced`.
    busy: usize,
    first: usize,
    /// Starts of `paced` since the last change, without its first tool.
    starts: usize,
    completed: usize,
    most_busy: usize,
}

/// Checks each start against the limits of that moment.
#[derive(Clone)]
struct Checked {
    state: Arc<Mutex<State>>,
    /// Whether the limits are those of the moment. With threads, a call may start between a change
    /// and its record.
    strict: bool,
}

// === impl Numbers ===

impl Numbers {
    const FIRST: Self = Self {
        busy: 100,
        first: 40,
        rate: 200,
        burst: 20,
    };

    fn random(random: &mut Rng) -> Self {
        Self {
            busy: random.usize(1..=150),
            first: random.usize(1..=40),
            rate: random.usize(50..=400),
            burst: random.usize(1..=20),
        }
    }

    /// Returns the policies with these numbers. `other` are settings that limit nothing here.
    fn text(self, other: usize) -> String {
        let Self {
            busy,
            first,
            rate,
            burst,
        } = self;
        let names = |group: &str| {
            let names = (0..TOOLS).map(|tool| format!("'{group}_{tool}'"));
            names.collect::<Vec<_>>().join(", ")
        };
        let order = ["fifo", "priority"][other % 2];
        let (timeout, aging) = (other % 3 + 60, other % 5 + 1);
        format!(
            "
            [default]
            timeout = '{timeout}m'
            partial = {items}
            queue = {{ capacity = 2000, order = '{order}', aging = '{aging}s' }}

            [groups.busy]
            tools = [{}]
            concurrency = {busy}

            [groups.paced]
            tools = [{}]
            rate = {{ per_second = {rate}, burst = {burst} }}

            [tools.busy_0]
            priority = {other}

            [tools.paced_0]
            concurrency = {first}
            ",
            names("busy"),
            names("paced"),
            items = other + 1,
        )
    }
}

// === impl Checked ===

impl Checked {
    fn new(strict: bool) -> Self {
        let state = State {
            numbers: Numbers::FIRST,
            since: Instant::now(),
            busy: 0,
            first: 0,
            starts: 0,
            completed: 0,
            most_busy: 0,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            strict,
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no start fails")
    }

    /// Makes a toolbox of tools that check whether they may start.
    fn toolbox(&self) -> Toolbox {
        let mut builder = Toolbox::builder();
        for (group, index) in ["busy", "paced"]
            .iter()
            .flat_map(|group| (0..TOOLS).map(move |index| (group, index)))
        {
            let checked = self.clone();
            let tool = tool_fn("tool", move |call: CallContext, millis: u64| {
                let checked = checked.clone();
                async move {
                    checked.start(call.tool());
                    sleep(Duration::from_millis(millis)).await;
                    checked.end(call.tool());
                    Ok::<_, BoxError>("done")
                }
            });
            builder = builder.tool(format!("{group}_{index}").as_str(), tool);
        }
        let policies = Policies::from_toml(&Numbers::FIRST.text(0)).expect("no fault");
        builder.policies(policies).build().expect("ten names")
    }

    fn start(&self, tool: &str) {
        let state = &mut *self.state();
        let Numbers {
            busy,
            first,
            rate,
            burst,
        } = state.numbers;
        if tool.starts_with("busy") {
            state.busy += 1;
            state.most_busy = state.most_busy.max(state.busy);
            assert!(!self.strict || state.busy <= busy, "{state:?}");
        } else if tool == "paced_0" {
            // Its limit is inside of the rate, so that a call may start long after its token.
            state.first += 1;
            assert!(!self.strict || state.first <= first, "{state:?}");
        } else {
            state.starts += 1;
            let millis = state.since.elapsed().as_millis();
            let millis = usize::try_from(millis).expect("seconds");
            let most = burst * 1_000 + rate * (millis + 1);
            assert!(!self.strict || state.starts * 1_000 <= most, "{state:?}");
        }
    }

    fn end(&self, tool: &str) {
        let state = &mut *self.state();
        state.completed += 1;
        state.busy -= usize::from(tool.starts_with("busy"));
        state.first -= usize::from(tool == "paced_0");
    }

    /// Applies policies with these numbers.
    fn apply(&self, toolbox: &Toolbox, numbers: Numbers, other: usize) {
        let policies = Policies::from_toml(&numbers.text(other)).expect("no fault");
        let change = toolbox.apply(policies).expect("ten names").to_string();
        let mut state = self.state();
        let before = std::mem::replace(&mut state.numbers, numbers);
        (state.since, state.starts) = (Instant::now(), 0);
        if before.busy != numbers.busy {
            let reported = format!("group busy: concurrency {}, queue 2000", before.busy);
            assert!(change.contains(&reported), "{change}");
        }
    }
}

/// Makes calls of random members of a group until `stopped`. Returns how many.
async fn caller(toolbox: Toolbox, group: &str, seed: u64, stopped: Arc<AtomicBool>) -> usize {
    let mut random = Rng::with_seed(seed);
    let mut made = 0;
    while !stopped.load(Ordering::Relaxed) {
        let name = format!("{group}_{}", random.usize(..TOOLS));
        let call = ToolCall::new(name, json!(random.u64(1..=40)));
        let output = toolbox.clone().oneshot(call).await;
        let text = output.expect("no call is lost").collect().await;
        assert_eq!(text.expect("a response").text(), "done");
        made += 1;
    }
    made
}

fn callers(toolbox: &Toolbox, stopped: &Arc<AtomicBool>) -> JoinSet<usize> {
    let mut all = JoinSet::new();
    for (seed, group) in
        (0..).zip(std::iter::repeat_n("busy", BUSY).chain(std::iter::repeat_n("paced", PACED)))
    {
        all.spawn(caller(toolbox.clone(), group, seed, Arc::clone(stopped)));
    }
    all
}

/// Lets every task run that is ready, so that calls start whose permits were granted.
async fn run_ready() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

/// Applies policies with a fault. Nothing changes, and the error has its place.
fn apply_fault(toolbox: &Toolbox, text: &str, random: &mut Rng) {
    let before = toolbox.policies();
    let (text, line, path, kind) = match random.usize(..3) {
        0 => (
            text.replace("concurrency = ", "concurrency = -"),
            9,
            "groups.busy.concurrency",
            PolicyErrorKind::Invalid,
        ),
        1 => (
            text.replace("[tools.busy_0]", "[tools.busy_9]"),
            15,
            "tools.busy_9",
            PolicyErrorKind::UnknownTool,
        ),
        _ => (
            text.replace("per_second = ", "per_second = 0"),
            13,
            "groups.paced.rate",
            PolicyErrorKind::Syntax,
        ),
    };
    let error = Policies::from_toml(&text).and_then(|policies| toolbox.apply(policies));
    let error = error.expect_err("a fault");
    assert_eq!((error.kind(), error.line()), (kind, Some(line)), "{error}");
    if kind != PolicyErrorKind::Syntax {
        assert_eq!(error.path(), path);
    }
    assert!(Arc::ptr_eq(&before, &toolbox.policies()));
}

#[tokio::test(start_paused = true)]
async fn limits_hold_at_every_moment_while_policies_change_a_hundred_times() {
    let checked = Checked::new(true);
    let toolbox = checked.toolbox();
    let stopped = Arc::new(AtomicBool::new(false));
    let callers = callers(&toolbox, &stopped);
    sleep(Duration::from_millis(1)).await;
    {
        let state = checked.state();
        let paced = state.first + state.starts;
        assert_eq!((state.busy, paced), (100, 20));
        assert!(BUSY + PACED - state.busy - paced >= 1_000);
    }
    let mut random = Rng::with_seed(SEED);
    let mut numbers = Numbers::FIRST;
    for change in 0..CHANGES {
        sleep(PERIOD).await;
        run_ready().await;
        if change % 10 == 9 {
            apply_fault(&toolbox, &numbers.text(change), &mut random);
        }
        numbers = Numbers::random(&mut random);
        checked.apply(&toolbox, numbers, change);
    }
    stopped.store(true, Ordering::Relaxed);
    let made: usize = callers.join_all().await.iter().sum();
    let state = checked.state();
    assert_eq!((state.completed, state.busy, state.first), (made, 0, 0));
    assert!(made > 3_000, "{made} calls");
    assert_eq!(state.most_busy, state.most_busy.min(150));
}

/// On threads nothing is lost either, and the last limit holds once earlier calls have ended.
#[test]
fn no_call_is_lost_on_threads_and_the_last_limit_holds() {
    let checked = Checked::new(false);
    let toolbox = checked.toolbox();
    let stopped = Arc::new(AtomicBool::new(false));
    runtime(2).block_on(async {
        let callers = callers(&toolbox, &stopped);
        let mut random = Rng::with_seed(SEED);
        for change in 0..CHANGES {
            sleep(Duration::from_millis(5)).await;
            checked.apply(&toolbox, Numbers::random(&mut random), change);
        }
        stopped.store(true, Ordering::Relaxed);
        let last = Numbers {
            busy: 30,
            first: 7,
            rate: 4_000,
            burst: 400,
        };
        checked.apply(&toolbox, last, 0);
        let made: usize = callers.join_all().await.iter().sum();
        {
            let state = &mut *checked.state();
            assert_eq!((state.completed, state.busy), (made, 0));
            assert!(state.most_busy <= 150);
            state.most_busy = 0;
        }
        let call = |index: usize| ToolCall::new(format!("busy_{}", index % TOOLS), json!(50));
        let calls = (0..200).map(|index| toolbox.clone().oneshot(call(index)));
        let calls: JoinSet<_> = calls.collect();
        assert_eq!(
            calls
                .join_all()
                .await
                .iter()
                .filter(|call| call.is_ok())
                .count(),
            200
        );
        // The permits of the group were all in use.
        assert_eq!(checked.state().most_busy, 30);
    });
}
