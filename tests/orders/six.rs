//! All 720 orders of the five layers and a circuit breaker, erased at run time, with every ending.
//!
//! A layer outside of all six turns a panic into an error. The breaker opens for failures and for
//! nothing else, in any position, and then rejects the next call.

use toolbooth::breaker::BreakerState;
use toolbooth_test::orders;

use super::eight::end;
use super::endings::{EVERY, End, Ending, Name, Order, Seen};
use super::*;

use Ending::{
    Completes, DroppedByTheCaller, DroppedInQueue, EmitsForEver, Fails, Panics, Queued,
    QueuedForEver, StreamDroppedByItsConsumer, Streams, StreamsForEver,
};
use Name::{CatchPanic, Cleanup, Concurrency, Partial, Rate, Retry, Spawn, Timeout};

const FIVE: [Name; 5] = [Timeout, Concurrency, Rate, Cleanup, Partial];

/// Each ending, and whether it counts as a failure.
const ENDINGS: [(Ending, bool); 11] = [
    (Completes, false),
    (EmitsForEver, true),
    (Fails, true),
    (Panics, true),
    (DroppedByTheCaller, false),
    (Streams, false),
    (StreamsForEver, true),
    (StreamDroppedByItsConsumer, false),
    (Queued, false),
    // The tool was not called.
    (QueuedForEver, false),
    (DroppedInQueue, false),
];

/// The five layers, outermost first, and how many of them are outside of the breaker.
#[derive(Debug, Clone, Copy)]
struct Six {
    five: [Name; 5],
    outside: usize,
}

impl Six {
    fn stack(&self, layers: &Stackable, hooks: &Hooks) -> BoxTool {
        let tool = BoxTool::new(tool(hooks, EVERY).map_err(ToolError::from));
        let (outside, inside) = self.five.split_at(self.outside);
        let around = |inner, name: &Name| layers.around(*name, inner);
        let inside = inside.iter().rev().fold(tool, around);
        let breaker = BoxTool::new(layers.breaker.layer(inside));
        let six = outside.iter().rev().fold(breaker, around);
        layers.around(CatchPanic, six)
    }

    /// As in the same order of the five with an innermost retry that repeats nothing.
    fn expects(&self, ending: Ending) -> End {
        let [a, b, c, d, e] = self.five;
        Order([a, b, c, d, e, CatchPanic, Spawn, Retry]).expects(ending)
    }

    /// How a call ends while the breaker is open.
    fn rejected() -> End {
        End {
            at: 0,
            limits: (1, 0, 0),
            seen: Seen::Error(ErrorKind::CircuitOpen, 0, 0, false),
            // Refunded, if it was taken.
            tokens: 0,
            caller: vec![Outcome::Rejected],
            tool: vec![],
        }
    }
}

fn orders_with_a_breaker() -> Vec<Six> {
    let breaker_at = |five| (0..=FIVE.len()).map(move |outside| Six { five, outside });
    orders(FIVE).into_iter().flat_map(breaker_at).collect()
}

async fn every_ending(order: Six) {
    let (layers, hooks) = (Stackable::new(1, 64), Hooks::new());
    let stack = order.stack(&layers, &hooks);
    for (ending, fails) in ENDINGS {
        let expected = order.expects(ending);
        let count = expected.caller.len() + expected.tool.len();
        let ended = end(&layers, stack.clone(), &hooks, ending, count).await;
        assert_eq!(ended, expected, "{ending:?} in {order:?}");
        let state = layers.breaker.state();
        let is_open = matches!(state, BreakerState::Open);
        assert_eq!(is_open, fails, "{ending:?} in {order:?}: {state:?}");

        if is_open {
            let rejected = end(&layers, stack.clone(), &hooks, Completes, 1).await;
            assert_eq!(rejected, Six::rejected(), "after {ending:?} in {order:?}");
        }
        layers.breaker.reset();
    }
    let report = layers.cleanup.drain(ms(1_000)).await;
    assert_eq!(
        (report.failed, report.abandoned, report.orphaned),
        (0, 0, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn every_order_with_a_breaker() {
    quiet();
    let orders = orders_with_a_breaker();
    assert_eq!(orders.len(), 720);
    for some in orders.chunks(72) {
        let mut running = JoinSet::new();
        for order in some {
            running.spawn(every_ending(*order));
        }
        while let Some(order) = running.join_next().await {
            order.expect("an order that works");
        }
    }
}
