//! Timeout and retry: whether the limit is for all attempts together or for each.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::sleep;
use toolbooth::{
    BoxError, CallContext, ServiceBuilderExt, ToolCall, ToolError, ToolOutput, tool_fn,
};
use tower::retry::RetryLayer;
use tower::{Service, ServiceBuilder};

use crate::calls::{Retries, make};
use crate::pair::{Pair, Row, millis};

const TAKES: Duration = Duration::from_millis(80);
const LIMIT: Duration = Duration::from_millis(200);

struct Observed {
    result: &'static str,
    after: Duration,
    attempts: u32,
}

pub(crate) async fn run() -> Pair {
    let once = both(1).await;
    let always = both(u32::MAX).await;
    Pair {
        orders: ["timeout outside of retry", "retry outside of timeout"],
        scenario: "Timeout and retry: an attempt takes 80 ms or hangs, a timeout of 200 ms, \
                   up to 3 attempts.",
        rows: vec![
            Row::new(
                "the first attempt hangs: result",
                once.each_ref().map(|s| s.result),
                ["timeout", "completed"],
            ),
            Row::new(
                "  after",
                once.each_ref().map(|s| millis(s.after)),
                ["200 ms", "280 ms"],
            ),
            Row::new(
                "  attempts",
                once.each_ref().map(|s| s.attempts),
                ["1", "2"],
            ),
            Row::new(
                "all attempts hang: result",
                always.each_ref().map(|s| s.result),
                ["timeout", "timeout"],
            ),
            Row::new(
                "  after",
                always.each_ref().map(|s| millis(s.after)),
                ["200 ms", "600 ms"],
            ),
            Row::new(
                "  attempts",
                always.each_ref().map(|s| s.attempts),
                ["1", "3"],
            ),
        ],
        why: "Timeout outside: it limits the call, and one hanging attempt uses all of it.\n\
              Timeout inside: it limits each attempt. A hanging attempt is retried,\n\
              and the call may take 3 times as long.\n\
              Use one outside, and a shorter one inside, for both.",
    }
}

/// Runs both orders with a tool that hangs in its first `hanging` attempts.
async fn both(hanging: u32) -> [Observed; 2] {
    let outside = |tool| {
        ServiceBuilder::new()
            .tool_timeout(LIMIT)
            .layer(RetryLayer::new(Retries(2)))
            .service(tool)
    };
    let inside = |tool| {
        ServiceBuilder::new()
            .layer(RetryLayer::new(Retries(2)))
            .tool_timeout(LIMIT)
            .service(tool)
    };
    let (first, second) = (Arc::default(), Arc::default());
    [
        observe(outside(tool(hanging, Arc::clone(&first))), &first).await,
        observe(inside(tool(hanging, Arc::clone(&second))), &second).await,
    ]
}

async fn observe<S>(stack: S, attempts: &AtomicU32) -> Observed
where
    S: Service<ToolCall, Response = ToolOutput, Error = ToolError> + Clone,
{
    let call = make(&stack).await;
    Observed {
        result: call.name(),
        after: call.after,
        attempts: attempts.load(Ordering::Acquire),
    }
}

fn tool(
    hanging: u32,
    attempts: Arc<AtomicU32>,
) -> impl Service<ToolCall, Response = ToolOutput, Error = ToolError> + Clone {
    tool_fn("tool", move |call: CallContext, _: ()| {
        attempts.fetch_add(1, Ordering::AcqRel);
        async move {
            if call.attempt() <= hanging {
                std::future::pending::<()>().await;
            }
            sleep(TAKES).await;
            Ok::<_, BoxError>("done")
        }
    })
}
