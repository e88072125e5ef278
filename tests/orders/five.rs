//! All 120 orders of the five layers as static types, 30 calls at once through each.

use super::*;

const CALLS: usize = 30;
const BURST: u32 = 60;
const EVERY: Duration = Duration::from_millis(200);

/// One order: its layers from the outside in, and how to stack them.
struct Order {
    layers: [&'static str; 5],
    stack: fn(&Layers, Tool) -> Stack,
}

macro_rules! orders {
    ($orders:ident; [$($chosen:ident)*];) => {
        $orders.push(Order {
            layers: [$(stringify!($chosen)),*],
            stack: |layers, tool| Stack::new(nested!(layers, tool; $($chosen)*)),
        });
    };
    ($orders:ident; [$($chosen:ident)*]; $($left:ident)+) => {
        orders!(@ $orders; [$($chosen)*]; []; $($left)+);
    };
    (@ $orders:ident; [$($chosen:ident)*]; [$($passed:ident)*];) => {};
    (@ $orders:ident; [$($chosen:ident)*]; [$($passed:ident)*]; $next:ident $($left:ident)*) => {
        orders!($orders; [$($chosen)* $next]; $($passed)* $($left)*);
        orders!(@ $orders; [$($chosen)*]; [$($passed)* $next]; $($left)*);
    };
}

#[expect(clippy::vec_init_then_push, reason = "a macro pushes them one by one")]
fn orders() -> Vec<Order> {
    let mut orders = Vec::new();
    orders!(orders; []; timeout concurrency rate cleanup partial);
    orders
}

impl Order {
    /// Whether `a` stands outside of `b`.
    fn outside(&self, a: &str, b: &str) -> bool {
        let at = |name| self.layers.iter().position(|layer| *layer == name);
        at(a) < at(b)
    }
}

/// What one call came to: after how many milliseconds, and how.
struct Ended {
    at: u128,
    result: Result<Result<Vec<Content>, ToolError>, JoinError>,
}

struct Run {
    order: Order,
    layers: Layers,
    told: Told,
    ended: Vec<Ended>,
}

/// 30 calls at once through one stack.
async fn run(order: Order, limit: usize, ending: &str, caller: Caller) -> Run {
    let layers = Layers::new(limit, BURST);
    let told = Told::default();
    let stack = (order.stack)(&layers, tool(&told, EVERY));
    let started = Instant::now();
    let mut calls = JoinSet::new();
    for _ in 0..CALLS {
        let call = ToolCall::new("tool", json!(ending));
        register(call.context(), &told, "caller");
        let answer = stack.clone().oneshot(call);
        calls.spawn(async move {
            let result = read(answer, caller).await;
            (started.elapsed().as_millis(), result)
        });
    }
    if let Caller::DropsAt(at) = caller {
        sleep_until(started + Duration::from_millis(at)).await;
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
        told,
        ended,
    }
}

impl Run {
    /// Everything is back, and each hook was told once how its call ended.
    async fn settle(&self, started: usize, outcome: Outcome, tokens: u32) {
        let order = self.order.layers;
        let Layers {
            concurrency,
            rate,
            cleanup,
            ..
        } = &self.layers;
        let report = cleanup.drain(Duration::from_secs(1)).await;
        assert_eq!(
            (report.failed, report.abandoned, report.orphaned),
            (0, 0, 0),
            "{order:?}"
        );
        // Hooks of calls that never came to the cleanup layer run on tasks that nobody waits for.
        sleep(Duration::from_millis(1)).await;
        let told = self.told.lock().expect("no panic under it");
        let of = |who| {
            told.iter()
                .filter(|hook| hook.0 == who)
                .map(|hook| hook.1)
                .collect::<Vec<_>>()
        };
        assert_eq!(of("caller"), vec![outcome; CALLS], "{order:?}");
        assert_eq!(of("tool"), vec![outcome; started], "{order:?}");
        assert_eq!(
            (concurrency.in_flight(), concurrency.queued(), rate.queued()),
            (0, 0, 0),
            "{order:?}"
        );
        assert_eq!(rate.remaining(), BURST - tokens, "{order:?}");
    }

    fn each(&self, check: impl Fn(&Ended, [&'static str; 5])) {
        assert_eq!(self.ended.len(), CALLS);
        for ended in &self.ended {
            check(ended, self.order.layers);
        }
    }
}

/// In setting *free*, where every call starts at once.
async fn free(
    ending: &str,
    caller: Caller,
    outcome: Outcome,
    check: impl Fn(&Ended, [&'static str; 5]),
) {
    let orders = orders();
    assert_eq!(orders.len(), 120);
    for order in orders {
        let run = run(order, CALLS, ending, caller).await;
        assert_eq!(
            run.layers.concurrency.available(),
            CALLS,
            "{:?}",
            run.order.layers
        );
        run.each(&check);
        run.settle(CALLS, outcome, 30).await;
    }
}

fn error(ended: &Ended) -> &ToolError {
    match &ended.result {
        Ok(Err(error)) => error,
        other => panic!("not an error: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn completes() {
    free(
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
async fn times_out() {
    free(
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
async fn fails() {
    free(
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
async fn panics() {
    free(
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
async fn is_dropped_by_the_caller() {
    free(
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
async fn streams_and_completes() {
    free(
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
async fn streams_and_is_cut() {
    free(
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
async fn streams_and_is_dropped_by_its_consumer() {
    free(
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

/// Who starts, and when it ends, follows from where T, C and R stand.
#[tokio::test(start_paused = true)]
async fn tight_times_out_as_the_order_says() {
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
            let cut = batch(1_999, 0)
                .chain(batch(1_999, 0))
                .chain(batch(1_999, 10));
            (cut.collect(), 10, if token_first { 30 } else { 10 })
        } else {
            let cut = batch(1_999, 10)
                .chain(batch(3_998, 10))
                .chain(batch(5_997, 10));
            (cut.collect(), 30, 30)
        };
        assert_eq!(ends, expected, "{:?}", run.order.layers);
        assert_eq!(
            run.layers.concurrency.available(),
            10,
            "{:?}",
            run.order.layers
        );
        run.settle(started, Outcome::TimedOut, tokens).await;
    }
}

#[tokio::test(start_paused = true)]
async fn tight_is_dropped_as_the_order_says() {
    for order in orders() {
        let token_first = order.outside("rate", "concurrency");
        let keeps = order.layers;
        let run = run(order, 10, "emits for ever", Caller::DropsAt(499)).await;
        run.each(|ended, order| {
            assert!(
                ended.result.as_ref().unwrap_err().is_cancelled(),
                "{order:?}"
            );
        });
        run.settle(10, Outcome::Cancelled, if token_first { 30 } else { 10 })
            .await;
        let told = run.told.lock().unwrap().clone();
        let mut kept: Vec<usize> = told
            .iter()
            .filter(|hook| hook.0 == "caller")
            .map(|hook| hook.2)
            .collect();
        kept.sort_unstable();
        let expected: Vec<usize> = [0; 20].into_iter().chain([3; 10]).collect();
        assert_eq!(kept, expected, "{keeps:?}");
    }
}
