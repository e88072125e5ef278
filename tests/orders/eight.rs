//! All 40,320 orders of the eight layers, erased at run time, with one call for every ending.
//!
//! `Order::expects` derives how a call ends from the positions of a few layers.

use std::collections::HashSet;
use std::pin::pin;

use toolbooth_test::orders;

use super::endings::{Contents, EIGHT, ENDINGS, EVERY, End, Ending, Name, Order, Seen};
use super::*;

use Ending::{EmitsForEver, PanicsAtFirst};
use Name::{CatchPanic, Cleanup, Concurrency, Partial, Rate, Retry, Spawn, Timeout};

impl Stackable {
    pub(super) fn around(&self, name: Name, inner: BoxTool) -> BoxTool {
        match name {
            Timeout => BoxTool::new(self.timeout.layer(inner)),
            Concurrency => BoxTool::new(self.concurrency.layer(inner)),
            Rate => BoxTool::new(self.rate.layer(inner)),
            Cleanup => BoxTool::new(self.cleanup.layer(inner)),
            Partial => BoxTool::new(self.partial.layer(inner)),
            CatchPanic => BoxTool::new(self.catch_panic.layer(inner)),
            Spawn => BoxTool::new(self.spawn.layer(inner)),
            Retry => BoxTool::new(self.retry.layer(inner)),
        }
    }
}

/// Makes one call and waits for its hooks.
pub(super) async fn end(
    layers: &Stackable,
    stack: BoxTool,
    hooks: &Hooks,
    ending: Ending,
    count: usize,
) -> End {
    let started = Instant::now();
    let tokens = layers.rate.remaining();
    let call = ToolCall::new("tool", json!(ending.args()));
    let call = match ending {
        EmitsForEver | PanicsAtFirst => call.with_idempotent(true),
        _ => call,
    };
    register(call.context(), hooks, "caller");

    let holder = tool_fn("holder", async |_: ()| {
        std::future::pending::<Result<(), ToolError>>().await
    });
    let occupied = (ending.occupied() > 0).then(|| {
        let holds = layers.concurrency.layer(holder);
        holds.oneshot(ToolCall::new("holder", json!(null)))
    });
    let run = read(stack.oneshot(call), ending.caller());
    let result = match occupied {
        None => run.await,
        Some(holds) => {
            let holds = tokio::time::timeout(ms(ending.occupied()), holds);
            let mut holds = Box::pin(holds);
            let mut run = pin!(run);
            assert!(futures_util::poll!(holds.as_mut()).is_pending());
            tokio::select! {
                biased;
                result = run.as_mut() => result,
                _ = holds => run.await,
            }
        }
    };
    let limits = (
        layers.concurrency.available(),
        layers.concurrency.queued(),
        layers.rate.queued(),
    );
    let at = started.elapsed().as_millis();

    // Hooks run on tasks of their own. One too many shows up among those of the next call.
    for _ in 0..8 {
        if hooks.len() == count {
            break;
        }
        tokio::task::yield_now().await;
    }
    let hooks = hooks.take();
    End {
        at,
        limits,
        seen: seen(result),
        tokens: tokens - layers.rate.remaining(),
        caller: outcomes(&hooks, "caller"),
        tool: outcomes(&hooks, "tool"),
    }
}

/// Reads the response to its end, or until the caller drops the call.
async fn read(
    response: impl Future<Output = Result<ToolOutput, ToolError>>,
    caller: Caller,
) -> Option<Result<Vec<Content>, ToolError>> {
    let read = super::read(response, caller);
    match caller {
        Caller::DropsAt(at) => tokio::time::timeout(ms(at), read).await.ok(),
        _ => Some(read.await),
    }
}

fn seen(result: Option<Result<Vec<Content>, ToolError>>) -> Seen {
    match result {
        None => Seen::Nothing,
        Some(Ok(contents)) if contents == [Content::from("done")] => Seen::Response(Contents::Done),
        Some(Ok(contents)) => Seen::Response(of_chunks(contents)),
        Some(Err(error)) => {
            let partial = error.partial();
            let contents = partial.map_or(&[][..], |partial| partial.contents());
            assert_eq!(contents, chunks(contents.len()));
            let delivered = partial.map_or(0, toolbooth::Partial::delivered);
            Seen::Error(error.kind(), contents.len(), delivered, error.started())
        }
    }
}

fn of_chunks(contents: Vec<Content>) -> Contents {
    match contents.len() {
        len if contents == chunks(len) => Contents::Chunks(len),
        _ => Contents::Other(contents),
    }
}

/// The 5,040 orders with this layer outermost.
fn orders_with(outermost: Name) -> Vec<Order> {
    let orders = orders(EIGHT).into_iter();
    let orders = orders.filter(|order| order[0] == outermost);
    orders.map(Order).collect()
}

/// Makes a call for every ending, one after the other on the same layers.
async fn every_ending(order: Order) {
    let (layers, hooks) = (Stackable::new(1, 64), Hooks::new());
    let tool = BoxTool::new(tool(&hooks, EVERY).map_err(ToolError::from));
    let names = order.0.iter().rev();
    let stack = names.fold(tool, |inner, name| layers.around(*name, inner));
    for ending in ENDINGS {
        let expected = order.expects(ending);
        let count = expected.caller.len() + expected.tool.len();
        let end = end(&layers, stack.clone(), &hooks, ending, count).await;
        assert_eq!(end, expected, "{ending:?} in {order:?}");
    }
    let report = layers.cleanup.drain(ms(1_000)).await;
    assert_eq!(
        (report.failed, report.abandoned, report.orphaned),
        (0, 0, 0)
    );
    assert!(hooks.is_empty());
}

/// Runs every order with this layer outermost, 70 at a time on one paused clock.
async fn every_order(outermost: Name) {
    quiet();
    for some in orders_with(outermost).chunks(70) {
        let mut running = JoinSet::new();
        for order in some {
            running.spawn(every_ending(*order));
        }
        while let Some(order) = running.join_next().await {
            order.expect("an order that works");
        }
    }
}

#[test]
fn all_40320_orders_are_covered() {
    let all: HashSet<_> = EIGHT.into_iter().flat_map(orders_with).collect();
    assert_eq!(all.len(), 40_320);
    for order in all {
        assert!(EIGHT.iter().all(|name| order.0.contains(name)));
    }
}

macro_rules! with_outermost {
    ($($test:ident $outermost:ident)*) => {$(
        #[tokio::test(start_paused = true)]
        async fn $test() {
            every_order($outermost).await;
        }
    )*};
}

with_outermost! {
    timeout_outermost Timeout
    concurrency_outermost Concurrency
    rate_outermost Rate
    cleanup_outermost Cleanup
    partial_outermost Partial
    catch_panic_outermost CatchPanic
    spawn_outermost Spawn
    retry_outermost Retry
}
