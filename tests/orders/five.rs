//! All 120 orders of the five layers as static types, with 30 calls at once through each.

use super::*;

const CALLS: usize = 30;
const BURST: u32 = 60;
const EVERY: Duration = ms(200);

/// Each refund leaves out what has refilled since. Of twenty, that is less than one token.
const ROUNDED_OFF: u32 = 1;

#[expect(clippy::vec_init_then_push, reason = "a macro pushes them one by one")]
fn orders() -> Vec<Selection> {
    let mut orders = Vec::new();
    selections!(orders; []; one one one one one; timeout concurrency rate cleanup partial);
    orders
}

impl Selection {
    /// Whether the layer `a` is outside of `b`.
    fn outside(&self, a: &str, b: &str) -> bool {
        let at = |name| self.layers.iter().position(|layer| *layer == name);
        at(a) < at(b)
    }
}

/// How one call ended, and after how many milliseconds.
struct Ended {
    at: u128,
    result: Result<Result<Vec<Content>, ToolError>, JoinError>,
}

struct Run {
    order: Selection,
    layers: Stackable,
    hooks: Hooks,
    ended: Vec<Ended>,
}

/// 30 calls at once through one stack.
async fn run(order: Selection, limit: usize, ending: &str, caller: Caller) -> Run {
    let layers = Stackable::new(limit, BURST);
    let hooks = Hooks::new();
    let stack = (order.stack)(&layers, tool(&hooks, EVERY));
    let started = Instant::now();
    let mut calls = JoinSet::new();
    for _ in 0..CALLS {
        let call = ToolCall::new("tool", json!(ending));
        register(call.context(), &hooks, "caller");
        let response = stack.clone().oneshot(call);
        calls.spawn(async move {
            let result = read(response, caller).await;
            (started.elapsed().as_millis(), result)
        });
    }
    if let Caller::DropsAt(at) = caller {
        sleep_until(started + ms(at)).await;
        calls.abort_all();
    }
    let mut ended = Vec::new();
    while let Some(call) = calls.join_next().await {
        ended.push(match call {
            Ok((at, result)) => Ended {
                at,
                result: Ok(result),
            },
            Err(error) => Ended {
                at: started.elapsed().as_millis(),
                result: Err(error),
            },
        });
    }
    Run {
        order,
        layers,
        hooks,
        ended,
    }
}

impl Run {
    /// Asserts that everything is released, and that each hook received the outcome once.
    async fn assert_ended(&self, started: usize, outcome: Outcome, tokens: u32) {
        let order = self.order.layers;
        let (limit, rate) = (&self.layers.concurrency, &self.layers.rate);
        let report = self.layers.cleanup.drain(ms(1_000)).await;
        let lost = (report.failed, report.abandoned, report.orphaned);
        assert_eq!(lost, (0, 0, 0), "{order:?}");
        // `drain` does not wait for hooks of calls that did not reach the cleanup layer.
        sleep(ms(1)).await;
        let hooks = self.hooks.values();
        assert_eq!(
            outcomes(&hooks, "caller"),
            vec![outcome; CALLS],
            "{order:?}"
        );
        assert_eq!(
            outcomes(&hooks, "tool"),
            vec![outcome; started],
            "{order:?}"
        );
        let counts = (limit.in_flight(), limit.queued(), rate.queued());
        assert_eq!(counts, (0, 0, 0), "{order:?}");
        assert_eq!(rate.remaining(), BURST - tokens, "{order:?}");
    }

    fn each(&self, check: impl Fn(&Ended, &[&'static str])) {
        assert_eq!(self.ended.len(), CALLS);
        for ended in &self.ended {
            check(ended, self.order.layers);
        }
    }
}

/// What one call returned.
#[derive(Debug, PartialEq)]
enum Returned {
    Response(Vec<Content>),
    /// Its kind, the contents that it carries, how many were delivered, and whether the tool had
    /// started.
    Error(ErrorKind, Vec<Content>, u64, bool),
    Panic,
    Nothing,
}

// === impl Ended ===

impl Ended {
    fn returned(&self) -> Returned {
        match &self.result {
            Ok(Ok(contents)) => Returned::Response(contents.clone()),
            Ok(Err(error)) => {
                let partial = error.partial();
                assert_eq!(partial.map_or(0, toolbooth::Partial::dropped), 0);
                let delivered = partial.map_or(0, toolbooth::Partial::delivered);
                let contents = partial.map_or(&[][..], |partial| partial.contents());
                let contents = contents.to_vec();
                Returned::Error(error.kind(), contents, delivered, error.started())
            }
            Err(error) if error.is_panic() => Returned::Panic,
            Err(_) => Returned::Nothing,
        }
    }
}

/// With a permit for each call, so that all start at once and return the same.
async fn every_order(ending: &str, caller: Caller, outcome: Outcome, at: u128, expected: Returned) {
    let orders = orders();
    assert_eq!(orders.len(), 120);
    for order in orders {
        let run = run(order, CALLS, ending, caller).await;
        let available = run.layers.concurrency.available();
        assert_eq!(available, CALLS, "{:?}", run.order.layers);
        run.each(|ended, order| {
            let returned = (ended.returned(), ended.at);
            assert_eq!((&returned.0, returned.1), (&expected, at), "{order:?}");
        });
        run.assert_ended(CALLS, outcome, 30).await;
    }
}

#[tokio::test(start_paused = true)]
async fn call_completes() {
    let expected = Returned::Response(vec![Content::from("done")]);
    every_order(
        "completes",
        Caller::Waits,
        Outcome::Completed,
        100,
        expected,
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn call_times_out() {
    let expected = Returned::Error(ErrorKind::Timeout, chunks(10), 0, true);
    every_order(
        "emits for ever",
        Caller::Waits,
        Outcome::TimedOut,
        1_999,
        expected,
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn call_fails() {
    let expected = Returned::Error(ErrorKind::Tool, chunks(3), 0, true);
    every_order(
        "fails after 3",
        Caller::Waits,
        Outcome::Failed,
        600,
        expected,
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn call_panics() {
    let expected = Returned::Panic;
    every_order("panics", Caller::Waits, Outcome::Panicked, 400, expected).await;
}

#[tokio::test(start_paused = true)]
async fn call_is_dropped() {
    let expected = Returned::Nothing;
    every_order(
        "emits for ever",
        Caller::DropsAt(499),
        Outcome::Cancelled,
        499,
        expected,
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn stream_completes() {
    let expected = Returned::Response(chunks(5));
    every_order(
        "streams 5",
        Caller::Waits,
        Outcome::Completed,
        800,
        expected,
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn stream_times_out() {
    let expected = Returned::Error(ErrorKind::Timeout, chunks(10), 10, true);
    every_order(
        "streams for ever",
        Caller::Waits,
        Outcome::TimedOut,
        1_999,
        expected,
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn stream_is_dropped() {
    let expected = Returned::Response(chunks(3));
    every_order(
        "streams for ever",
        Caller::DropsStreamAfter(3),
        Outcome::Cancelled,
        400,
        expected,
    )
    .await;
}

/// The positions of timeout, concurrency and rate decide which calls start and when they end.
#[tokio::test(start_paused = true)]
async fn timeout_with_ten_permits_follows_the_order() {
    for order in orders() {
        let waits_count = order.outside("timeout", "concurrency");
        let run = run(order, 10, "emits for ever", Caller::Waits).await;
        let ends = run.ended.iter().map(|ended| match ended.returned() {
            Returned::Error(ErrorKind::Timeout, contents, 0, started) => {
                (ended.at, contents.len(), started)
            }
            other => panic!("not a timeout: {other:?}"),
        });
        let mut ends: Vec<(u128, usize, bool)> = ends.collect();
        assert_eq!(ends.len(), CALLS);
        ends.sort_unstable();
        let batch = |at, chunks, started| std::iter::repeat_n((at, chunks, started), 10);
        let (expected, started): (Vec<_>, _) = if waits_count {
            let ends = batch(1_999, 0, false)
                .chain(batch(1_999, 0, false))
                .chain(batch(1_999, 10, true));
            (ends.collect(), 10)
        } else {
            let ends = batch(1_999, 10, true)
                .chain(batch(3_998, 10, true))
                .chain(batch(5_997, 10, true));
            (ends.collect(), 30)
        };
        assert_eq!(ends, expected, "{:?}", run.order.layers);
        let available = run.layers.concurrency.available();
        assert_eq!(available, 10, "{:?}", run.order.layers);
        let tokens = u32::try_from(started).unwrap();
        let refunds = run.order.outside("rate", "concurrency") && waits_count;
        let tokens = tokens + u32::from(refunds) * ROUNDED_OFF;
        run.assert_ended(started, Outcome::TimedOut, tokens).await;
    }
}

#[tokio::test(start_paused = true)]
async fn drop_with_ten_permits_follows_the_order() {
    for order in orders() {
        let tokens = 10 + u32::from(order.outside("rate", "concurrency")) * ROUNDED_OFF;
        let layers = order.layers;
        let run = run(order, 10, "emits for ever", Caller::DropsAt(499)).await;
        run.each(|ended, order| assert_eq!(ended.returned(), Returned::Nothing, "{order:?}"));
        run.assert_ended(10, Outcome::Cancelled, tokens).await;
        let hooks = run.hooks.values().into_iter();
        let hooks = hooks.filter(|hook| hook.0 == "caller");
        let mut kept: Vec<usize> = hooks.map(|hook| hook.2).collect();
        kept.sort_unstable();
        let expected: Vec<usize> = [0; 20].into_iter().chain([3; 10]).collect();
        assert_eq!(kept, expected, "{layers:?}");
    }
}

/// With tokens for ten calls. A timeout outside of the rate limit would expire before there are
/// more, so that the others are rejected. Inside of it, they stay in the queue.
#[tokio::test(start_paused = true)]
async fn call_without_a_token_has_not_started_in_any_order() {
    for order in orders() {
        let layers = Stackable::new(CALLS, 10);
        let stack = (order.stack)(&layers, tool(&Hooks::new(), EVERY));
        let mut calls = JoinSet::new();
        for _ in 0..CALLS {
            let call = ToolCall::new("tool", json!("emits for ever"));
            calls.spawn(read(stack.clone().oneshot(call), Caller::Waits));
        }
        sleep(ms(2_500)).await;
        let mut started = [0, 0];
        while let Some(Ok(ended)) = calls.try_join_next() {
            let error = ended.expect_err("the tool does not end by itself");
            let kind = match error.started() {
                true => ErrorKind::Timeout,
                false => ErrorKind::RateLimited,
            };
            assert_eq!(error.kind(), kind, "{:?}", order.layers);
            started[usize::from(error.started())] += 1;
        }
        let expected = match order.outside("timeout", "rate") {
            true => [20, 10],
            false => [0, 10],
        };
        assert_eq!(started, expected, "{:?}", order.layers);
    }
}
