//! A timeout and a concurrency limit: does the wait for a permit count?

use std::time::Duration;

use tokio::time::sleep;
use toolbooth::{BoxError, ErrorKind, ServiceBuilderExt, ToolCall, ToolError, ToolOutput, tool_fn};
use tower::{Service, ServiceBuilder};

use crate::calls::make_all;
use crate::pair::{Pair, Row, shown};

const TAKES: Duration = Duration::from_millis(100);
const LIMIT: Duration = Duration::from_millis(250);

struct Seen {
    answered: usize,
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

    let seen = [look(timeout_outside).await, look(timeout_inside).await];
    Pair {
        orders: ["timeout outside of limit", "limit outside of timeout"],
        story: "Timeout and concurrency limit: 4 calls of 100 ms at once, 1 may run, the timeout is 250 ms.",
        rows: vec![
            Row::new("answered", seen.each_ref().map(|s| s.answered), ["2", "4"]),
            Row::new(
                "timed out",
                seen.each_ref().map(|s| s.timed_out),
                ["2", "0"],
            ),
            Row::new(
                "the last one is over after",
                seen.each_ref().map(|s| shown(s.last)),
                ["250 ms", "400 ms"],
            ),
        ],
        why: "Outside, the timeout counts the wait for a permit.\n\
              Inside, it begins with the permit, and nothing limits the wait.",
    }
}

async fn look<S>(tool: S) -> Seen
where
    S: Service<ToolCall, Response = ToolOutput, Error = ToolError> + Clone,
{
    let calls = make_all(&tool, 4).await;
    let ended = |how| calls.iter().filter(|call| call.error == how).count();
    Seen {
        answered: ended(None),
        timed_out: ended(Some(ErrorKind::Timeout)),
        last: calls
            .iter()
            .map(|call| call.after)
            .max()
            .unwrap_or_default(),
    }
}
