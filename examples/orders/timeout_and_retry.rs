//! A timeout and a retry: is the limit for all attempts together, or for each?

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::sleep;
use toolbooth::{
    BoxError, CallContext, ServiceBuilderExt, ToolCall, ToolError, ToolOutput, tool_fn,
};
use tower::retry::RetryLayer;
use tower::{Service, ServiceBuilder};

use crate::calls::{Again, make};
use crate::pair::{Pair, Row, shown};

const TAKES: Duration = Duration::from_millis(80);
const LIMIT: Duration = Duration::from_millis(200);

struct Seen {
    how: &'static str,
    after: Duration,
    attempts: u32,
}

pub(crate) async fn run() -> Pair {
    let once = both(1).await;
    let always = both(u32::MAX).await;
    Pair {
        orders: ["timeout outside of retry", "retry outside of timeout"],
        story: "Timeout and retry: an attempt takes 80 ms or hangs, the timeout is 200 ms, and there are 3 attempts at most.",
        rows: vec![
            Row::new(
                "the first attempt hangs: the call is",
                once.each_ref().map(|s| s.how),
                ["timeout", "answered"],
            ),
            Row::new(
                "  after",
                once.each_ref().map(|s| shown(s.after)),
                ["200 ms", "280 ms"],
            ),
            Row::new(
                "  in so many attempts",
                once.each_ref().map(|s| s.attempts),
                ["1", "2"],
            ),
            Row::new(
                "all attempts hang: the call is",
                always.each_ref().map(|s| s.how),
                ["timeout", "timeout"],
            ),
            Row::new(
                "  after",
                always.each_ref().map(|s| shown(s.after)),
                ["200 ms", "600 ms"],
            ),
            Row::new(
                "  in so many attempts",
                always.each_ref().map(|s| s.attempts),
                ["1", "3"],
            ),
        ],
        why: "Outside, the timeout is for the call: it bounds the whole, and one attempt that hangs uses it up.\n\
              Inside, it is for each attempt: one that hangs is cut and made again, and the whole may take 3 times as long.\n\
              One outside and a shorter one inside give both.",
    }
}

/// Both orders around a tool that hangs in its first attempts.
async fn both(hanging: u32) -> [Seen; 2] {
    let outside = |tool| {
        ServiceBuilder::new()
            .tool_timeout(LIMIT)
            .layer(RetryLayer::new(Again(2)))
            .service(tool)
    };
    let inside = |tool| {
        ServiceBuilder::new()
            .layer(RetryLayer::new(Again(2)))
            .tool_timeout(LIMIT)
            .service(tool)
    };
    let (first, second) = (Arc::default(), Arc::default());
    [
        look(outside(tool(hanging, Arc::clone(&first))), &first).await,
        look(inside(tool(hanging, Arc::clone(&second))), &second).await,
    ]
}

async fn look<S>(stack: S, attempts: &AtomicU32) -> Seen
where
    S: Service<ToolCall, Response = ToolOutput, Error = ToolError> + Clone,
{
    let ended = make(&stack).await;
    Seen {
        how: ended.how(),
        after: ended.after,
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
