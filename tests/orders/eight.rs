//! All 40,320 orders of the eight layers, erased at run time, and every way a call can end: one call each.
//!
//! What a call comes to follows from a few places in its order: `Order::expects` says how.

use std::collections::HashSet;
use std::pin::pin;

use super::endings::{Contents, EIGHT, ENDINGS, EVERY, End, Ending, Name, Order, Seen};
use super::*;

use Ending::PanicsAtFirst;
use Name::{CatchPanic, Cleanup, Concurrency, Partial, Rate, Retry, Spawn, Timeout};

pub(super) type Erased = Stack;

impl Eight {
    pub(super) fn around(&self, name: Name, inner: Erased) -> Erased {
        match name {
            Timeout => Erased::new(self.timeout.layer(inner)),
            Concurrency => Erased::new(self.concurrency.layer(inner)),
            Rate => Erased::new(self.rate.layer(inner)),
            Cleanup => Erased::new(self.cleanup.layer(inner)),
            Partial => Erased::new(self.partial.layer(inner)),
            CatchPanic => Erased::new(self.catch_panic.layer(inner)),
            Spawn => Erased::new(self.spawn.layer(inner)),
            Retry => Erased::new(self.retry.layer(inner)),
        }
    }
}

/// One call, from its start to the last of the hooks that it left.
pub(super) async fn end(
    layers: &Eight,
    stack: Erased,
    told: &Told,
    ending: Ending,
    hooks: usize,
) -> End {
    let started = Instant::now();
    let tokens = layers.rate.remaining();
    let call = ToolCall::new("tool", json!(ending.args()));
    let call = match ending {
        PanicsAtFirst => call.with_idempotent(true),
        _ => call,
    };
    register(call.context(), told, "caller");

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
            let holds = tokio::time::timeout(Duration::from_millis(ending.occupied()), holds);
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
    let back = (
        layers.concurrency.available(),
        layers.concurrency.queued(),
        layers.rate.queued(),
    );
    let at = started.elapsed().as_millis();

    // Hooks run on tasks of their own. One too many is found among the next call's.
    for _ in 0..8 {
        if told.lock().expect("no panic under it").len() == hooks {
            break;
        }
        tokio::task::yield_now().await;
    }
    let told = std::mem::take(&mut *told.lock().expect("no panic under it"));
    let of = |who| {
        told.iter()
            .filter(|hook| hook.0 == who)
            .map(|hook| hook.1)
            .collect()
    };
    End {
        at,
        back,
        seen: seen(result),
        tokens: tokens - layers.rate.remaining(),
        caller: of("caller"),
        tool: of("tool"),
    }
}

/// Reads the answer to its end, or until the caller goes.
async fn read(
    answer: impl Future<Output = Result<ToolOutput, ToolError>>,
    caller: Caller,
) -> Option<Result<Vec<Content>, ToolError>> {
    let read = super::read(answer, caller);
    match caller {
        Caller::DropsAt(at) => tokio::time::timeout(Duration::from_millis(at), read)
            .await
            .ok(),
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
            let pieces = partial.map_or(&[][..], |partial| partial.contents());
            assert_eq!(pieces, chunks(pieces.len()));
            let delivered = partial.map_or(0, toolbooth::Partial::delivered);
            Seen::Error(error.kind(), pieces.len(), delivered)
        }
    }
}

fn of_chunks(contents: Vec<Content>) -> Contents {
    match contents.len() {
        len if contents == chunks(len) => Contents::Chunks(len),
        _ => Contents::Other(contents),
    }
}

/// The orders with this layer outermost.
fn orders(outermost: Name) -> Vec<Order> {
    let mut orders = Vec::new();
    let mut names = EIGHT;
    let at = names.iter().position(|name| *name == outermost);
    names.swap(0, at.expect("one of them"));
    permute(&mut names, 1, &mut orders);
    orders
}

fn permute(names: &mut [Name; 8], from: usize, orders: &mut Vec<Order>) {
    if from == names.len() {
        return orders.push(Order(*names));
    }
    for next in from..names.len() {
        names.swap(from, next);
        permute(names, from + 1, orders);
        names.swap(from, next);
    }
}

/// Every ending, one after the other, so that each finds what the one before it left.
async fn every_ending(order: Order) {
    let (layers, told) = (Eight::new(), Told::default());
    let tool = Erased::new(tool(&told, EVERY).map_err(ToolError::from));
    let names = order.0.iter().rev();
    let stack = names.fold(tool, |inner, name| layers.around(*name, inner));
    for ending in ENDINGS {
        let expected = order.expects(ending);
        let hooks = expected.caller.len() + expected.tool.len();
        let end = end(&layers, stack.clone(), &told, ending, hooks).await;
        assert_eq!(end, expected, "{ending:?} in {order:?}");
    }
    let report = layers.cleanup.drain(Duration::from_secs(1)).await;
    assert_eq!(
        (report.failed, report.abandoned, report.orphaned),
        (0, 0, 0)
    );
    assert!(told.lock().expect("no panic under it").is_empty());
}

/// Every order with this layer outermost; some beside each other, which share the moments of the paused clock.
async fn every_order(outermost: Name) {
    quiet();
    for some in orders(outermost).chunks(70) {
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
fn no_order_is_left_out() {
    let all: HashSet<_> = EIGHT.into_iter().flat_map(orders).collect();
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
