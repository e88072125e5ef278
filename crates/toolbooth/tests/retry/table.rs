//! The table of failures in the documentation of the module, row by row.

use futures_util::FutureExt;
use toolbooth::{CancelReason, DenyReason, OverloadReason, ShutdownLayer, TimeoutScope};

use super::*;

const DOCS: &str = include_str!("../../src/retry/mod.rs");

/// A tool, or a stack around one, and its failure.
type Case = BoxTool;

/// The columns after the failure: `started`, and whether it is retried.
#[derive(Debug, PartialEq, Eq)]
struct Columns {
    started: Option<bool>,
    not_known: bool,
    idempotent: bool,
    not_idempotent: bool,
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn each_row_of_the_documented_table_is_true() {
    let rows = rows();
    assert_eq!(rows.len(), 12);
    for (failure, expected) in &rows {
        for case in 0..cases(failure).len() {
            let attempts =
                async |idempotent| attempts(cases(failure).remove(case), idempotent).await;
            let (not_known, started) = attempts(None).await;
            let found = Columns {
                started: expected.started.and(Some(started)),
                not_known: not_known == 2,
                idempotent: attempts(Some(true)).await.0 == 2,
                not_idempotent: attempts(Some(false)).await.0 == 2,
            };
            assert_eq!(found, *expected, "{failure}, case {case}");
        }
    }
}

/// The rows of the table: the first cell and the others.
fn rows() -> Vec<(&'static str, Columns)> {
    let lines = DOCS.lines().filter_map(|line| line.strip_prefix("//! |"));
    // Without the head of the table.
    let rows = lines.skip(2).map(|line| {
        let cells: Vec<_> = line
            .trim_end_matches('|')
            .split('|')
            .map(str::trim)
            .collect();
        let [failure, started, not_known, idempotent, not_idempotent] = cells[..] else {
            unreachable!("not five cells: {line}");
        };
        let columns = Columns {
            started: (started != "either").then(|| yes(started)),
            not_known: yes(not_known),
            idempotent: yes(idempotent),
            not_idempotent: yes(not_idempotent),
        };
        (failure, columns)
    });
    rows.collect()
}

fn yes(cell: &str) -> bool {
    match cell {
        "yes" => true,
        "no" => false,
        other => unreachable!("neither yes nor no: {other}"),
    }
}

/// The attempts, out of two, and whether the last error reports a started tool.
async fn attempts(case: Case, idempotent: Option<bool>) -> (usize, bool) {
    let policy = at_once(2)
        .with_responses(|head| matches!(head, ResponseHead::Tool(output) if output.is_error()));
    let starts = Starts::new();
    let log = starts.clone();
    let stack = ServiceBuilder::new()
        .layer(RetryLayer::new(policy))
        .map_request(move |call: ToolCall| {
            log.record(());
            call
        })
        .service(case);
    let call = match idempotent {
        Some(idempotent) => call().with_idempotent(idempotent),
        None => call(),
    };
    let started = match stack.oneshot(call).await {
        Ok(output) => output.is_error(),
        Err(error) => error.started(),
    };
    (starts.len(), started)
}

/// The cases of a row.
fn cases(failure: &str) -> Vec<Case> {
    match failure {
        "`Timeout` of a call that only waited" => {
            let tool = busy(ConcurrencyLimitLayer::new(1)).layer(ScriptedTool::ready());
            vec![boxed(TimeoutLayer::new(ms(10)).layer(tool))]
        }
        "`RateLimited` by a layer" => {
            let slow = Quota::per_second(NonZeroU32::MIN);
            let limit = RateLimitLayer::new(slow).reject();
            let first = limit.layer(ScriptedTool::ready()).oneshot(call());
            assert!(first.now_or_never().is_some());
            vec![boxed(limit.layer(ScriptedTool::ready()))]
        }
        "`Overloaded` by a layer" => {
            vec![boxed(
                busy(ConcurrencyLimitLayer::new(1).with_queue_capacity(0))
                    .layer(ScriptedTool::ready()),
            )]
        }
        "`CircuitOpen` by a layer" => {
            let breaker = CircuitBreakerLayer::new();
            breaker.trip();
            vec![boxed(breaker.layer(ScriptedTool::ready()))]
        }
        "`Overloaded` by a limit of 0, for a cost above the limit, or by a shutdown" => {
            let heavy = ConcurrencyLimitLayer::new(1).with_cost(|_| 2);
            let shutdown = ShutdownLayer::new();
            let ended = shutdown.shutdown(Duration::ZERO, Duration::ZERO);
            assert!(ended.now_or_never().is_some());
            assert!(shutdown.is_shutting_down());
            vec![
                boxed(ConcurrencyLimitLayer::new(0).layer(ScriptedTool::ready())),
                boxed(heavy.layer(ScriptedTool::ready())),
                boxed(shutdown.layer(ScriptedTool::ready())),
            ]
        }
        "`Cancelled`, `InvalidArguments`, `UnknownTool`, `Denied`, `TooDeep`" => by_the_tool([
            ToolError::cancelled(CancelReason::Explicit),
            ToolError::invalid_arguments("path", "not a text"),
            ToolError::unknown_tool("serach"),
            ToolError::denied(DenyReason::decided("read-only mode")),
            ToolError::too_deep(5),
        ]),
        "`RateLimited`, `Overloaded`, `CircuitOpen` by the tool or another crate's layer" => {
            by_the_tool([
                ToolError::rate_limited(ms(1)),
                ToolError::overloaded(OverloadReason::queue_full(1)),
                ToolError::circuit_open(ms(1)),
                ToolError::failed(tower::load_shed::error::Overloaded::new()),
            ])
        }
        "`Tool`, which the tool marked as retryable" => by_the_tool([retryable()]),
        "`Tool`" => by_the_tool([ToolError::failed("no")]),
        "`Timeout` of a call that had started" => {
            let mut cases = by_the_tool([
                ToolError::timeout(TimeoutScope::Total, ms(1), ms(1)),
                ToolError::failed(tower::timeout::error::Elapsed::new()),
            ]);
            cases.push(boxed(
                TimeoutLayer::new(ms(10)).layer(ScriptedTool::pending()),
            ));
            cases
        }
        "`Panicked`" => {
            let tool = ScriptedTool::panics_in_future();
            vec![boxed(CatchPanicLayer::new().layer(tool))]
        }
        "a response that [`with_responses`](RetryPolicy::with_responses) selects" => {
            let failing = || ScriptedTool::new(async |_| Ok(ToolOutput::error("no such file")));
            vec![
                boxed(failing()),
                boxed(PartialResultLayer::new().layer(failing())),
            ]
        }
        other => unreachable!("no case for this row: {other}"),
    }
}

/// A tool that fails with each of the errors, directly and inside a layer.
fn by_the_tool<const N: usize>(errors: [ToolError; N]) -> Vec<Case> {
    let cases = errors.into_iter().flat_map(|error| {
        let inside = PartialResultLayer::new().layer(support::fails(error.clone()));
        [boxed(support::fails(error)), boxed(inside)]
    });
    cases.collect()
}

/// Occupies a limit of one by a call that never ends.
fn busy(limit: ConcurrencyLimitLayer) -> ConcurrencyLimitLayer {
    let running = limit.layer(ScriptedTool::pending()).oneshot(call());
    let mut running = Box::pin(running);
    assert!((&mut running).now_or_never().is_none());
    tokio::spawn(running);
    limit
}
