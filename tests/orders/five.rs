//! All 120 orders of the five layers as static types, with 30 calls at once through each.

use super::*;

const CALLS: usize = 30;
const BURST: u32 = 60;
const EVERY: Duration = ms(200);

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
    layers: Nine,
    hooks: Hooks,
    ended: Vec<Ended>,
}

/// 30 calls at once through one stack.
async fn run(order: Selection, limit: usize, ending: &str, caller: Caller) -> Run {
    let layers = Nine::new(limit, BURST);
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

/// With a permit for each call, so that all start at once.
async fn every_order(
    ending: &str,
    caller: Caller,
    outcome: Outcome,
    check: impl Fn(&Ended, &[&'static str]),
) {
    let orders = orders();
    assert_eq!(orders.len(), 120);
    for order in orders {
        let run = run(order, CALLS, ending, caller).await;
        let available = run.layers.concurrency.available();
        assert_eq!(available, CALLS, "{:?}", run.order.layers);
        run.each(&check);
        run.assert_ended(CALLS, outcome, 30).await;
    }
}

fn error(ended: &Ended) -> &ToolError {
    match &ended.result {
        Ok(Err(error)) => error,
        other => panic!("not an error: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn call_completes() {
    every_order(
        "completes",
        Caller::Waits,
        Outcome::Completed,
        |ended, order| {
            let contents = ended.result.as_ref().unwrap().as_ref().unwrap();
            assert_eq!(
                (ended.at, contents),
                (100, &vec![Content::from("done")]),
                "{order:?}"
            );
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn call_times_out() {
    every_order(
        "emits for ever",
        Caller::Waits,
        Outcome::TimedOut,
        |ended, order| {
            let error = error(ended);
            assert_eq!(
                (ended.at, error.kind()),
                (1_999, ErrorKind::Timeout),
                "{order:?}"
            );
            let partial = error.partial().unwrap();
            assert_eq!(partial.contents(), chunks(10), "{order:?}");
            assert_eq!(
                (partial.dropped(), partial.delivered()),
                (0, 0),
                "{order:?}"
            );
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn call_fails() {
    every_order(
        "fails after 3",
        Caller::Waits,
        Outcome::Failed,
        |ended, order| {
            let error = error(ended);
            assert_eq!(
                (ended.at, error.kind()),
                (600, ErrorKind::Tool),
                "{order:?}"
            );
            assert_eq!(error.partial().unwrap().contents(), chunks(3), "{order:?}");
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn call_panics() {
    every_order(
        "panics",
        Caller::Waits,
        Outcome::Panicked,
        |ended, order| {
            let error = ended.result.as_ref().unwrap_err();
            assert!(error.is_panic(), "{order:?}");
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn call_is_dropped() {
    every_order(
        "emits for ever",
        Caller::DropsAt(499),
        Outcome::Cancelled,
        |ended, order| {
            let error = ended.result.as_ref().unwrap_err();
            assert!(error.is_cancelled(), "{order:?}");
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn stream_completes() {
    every_order(
        "streams 5",
        Caller::Waits,
        Outcome::Completed,
        |ended, order| {
            let contents = ended.result.as_ref().unwrap().as_ref().unwrap();
            assert_eq!((ended.at, contents), (800, &chunks(5)), "{order:?}");
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn stream_times_out() {
    every_order(
        "streams for ever",
        Caller::Waits,
        Outcome::TimedOut,
        |ended, order| {
            let error = error(ended);
            assert_eq!(
                (ended.at, error.kind()),
                (1_999, ErrorKind::Timeout),
                "{order:?}"
            );
            let partial = error.partial().unwrap();
            assert_eq!(
                (partial.contents(), partial.delivered()),
                (&chunks(10)[..], 10),
                "{order:?}"
            );
        },
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn stream_is_dropped() {
    every_order(
        "streams for ever",
        Caller::DropsStreamAfter(3),
        Outcome::Cancelled,
        |ended, order| {
            let contents = ended.result.as_ref().unwrap().as_ref().unwrap();
            assert_eq!((ended.at, contents), (400, &chunks(3)), "{order:?}");
        },
    )
    .await;
}

/// The positions of timeout, concurrency and rate decide which calls start and when they end.
#[tokio::test(start_paused = true)]
async fn timeout_with_ten_permits_follows_the_order() {
    for order in orders() {
        let waits_count = order.outside("timeout", "concurrency");
        let token_first = order.outside("rate", "concurrency");
        let run = run(order, 10, "emits for ever", Caller::Waits).await;
        let mut ends: Vec<(u128, usize)> = Vec::new();
        run.each(|ended, _| assert_eq!(error(ended).kind(), ErrorKind::Timeout));
        for ended in &run.ended {
            let partial = error(ended).partial();
            ends.push((
                ended.at,
                partial.map_or(0, |partial| partial.contents().len()),
            ));
        }
        ends.sort_unstable();
        let batch = |at, chunks| std::iter::repeat_n((at, chunks), 10);
        let (expected, started, tokens): (Vec<_>, _, _) = if waits_count {
            let ends = batch(1_999, 0)
                .chain(batch(1_999, 0))
                .chain(batch(1_999, 10));
            (ends.collect(), 10, if token_first { 30 } else { 10 })
        } else {
            let ends = batch(1_999, 10)
                .chain(batch(3_998, 10))
                .chain(batch(5_997, 10));
            (ends.collect(), 30, 30)
        };
        assert_eq!(ends, expected, "{:?}", run.order.layers);
        let available = run.layers.concurrency.available();
        assert_eq!(available, 10, "{:?}", run.order.layers);
        run.assert_ended(started, Outcome::TimedOut, tokens).await;
    }
}

#[tokio::test(start_paused = true)]
async fn drop_with_ten_permits_follows_the_order() {
    for order in orders() {
        let token_first = order.outside("rate", "concurrency");
        let layers = order.layers;
        let run = run(order, 10, "emits for ever", Caller::DropsAt(499)).await;
        run.each(|ended, order| {
            assert!(
                ended.result.as_ref().unwrap_err().is_cancelled(),
                "{order:?}"
            );
        });
        run.assert_ended(10, Outcome::Cancelled, if token_first { 30 } else { 10 })
            .await;
        let hooks = run.hooks.values().into_iter();
        let hooks = hooks.filter(|hook| hook.0 == "caller");
        let mut kept: Vec<usize> = hooks.map(|hook| hook.2).collect();
        kept.sort_unstable();
        let expected: Vec<usize> = [0; 20].into_iter().chain([3; 10]).collect();
        assert_eq!(kept, expected, "{layers:?}");
    }
}
