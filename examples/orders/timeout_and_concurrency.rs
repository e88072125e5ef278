//! Timeout and concurrency limit: whether the wait for a permit counts.

use std::time::Duration;

use tokio::time::sleep;
use toolbooth::{BoxError, ErrorKind, ServiceBuilderExt, ToolCall, ToolError, ToolOutput, tool_fn};
use tower::{Service, ServiceBuilder};

use crate::calls::make_all;
use crate::pair::{Pair, Row, millis};

const TAKES: Duration = Duration::from_millis(100);
const LIMIT: Duration = Duration::from_millis(250);

struct Observed {
    completed: usize,
    timed_out: usize,
    last: Duration,
}

pub(crate) async fn run() -> Pair {
    let tool = tool_fn("tool", async |_: ()| {
        sleep(TAKES).await;
        Ok::<_, BoxError>("done")
    });
    let timeout_outside = ServiceBuilder::new()
        .tool_timeout(LIMIT)
        .tool_concurrency_limit(1)
        .service(tool.clone());
    let timeout_inside = ServiceBuilder::new()
        .tool_concurrency_limit(1)
        .tool_timeout(LIMIT)
        .service(tool);

    let observed = [
        observe(timeout_outside).await,
        observe(timeout_inside).await,
    ];
    Pair {
        orders: ["timeout outside of limit", "limit outside of timeout"],
        scenario: "Timeout and concurrency limit: 4 calls of 100 ms at once, 1 permit, \
                   a timeout of 250 ms.",
        rows: vec![
            Row::new(
                "completed",
                observed.each_ref().map(|s| s.completed),
                ["2", "4"],
            ),
            Row::new(
                "timed out",
                observed.each_ref().map(|s| s.timed_out),
                ["2", "0"],
            ),
            Row::new(
                "last call ends after",
                observed.each_ref().map(|s| millis(s.last)),
                ["250 ms", "400 ms"],
            ),
        ],
        why: "Timeout outside: the wait for a permit counts.\n\
              Timeout inside: the timeout starts with the permit, and the wait has no limit.",
    }
}

async fn observe<S>(tool: S) -> Observed
where
    S: Service<ToolCall, Response = ToolOutput, Error = ToolError> + Clone,
{
    let calls = make_all(&tool, 4).await;
    let count = |error| calls.iter().filter(|call| call.error == error).count();
    Observed {
        completed: count(None),
        timed_out: count(Some(ErrorKind::Timeout)),
        last: calls
            .iter()
            .map(|call| call.after)
            .max()
            .unwrap_or_default(),
    }
}
