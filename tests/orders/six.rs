//! All 720 orders of the five layers and a circuit breaker, erased at run time, and every way a call can end.
//!
//! A panic is caught outside of all six, where it is seen as an error. The breaker opens for what counts as a failure, and for
//! nothing else, wherever it stands; and then it refuses the next call.

use toolbooth::breaker::BreakerState;

use super::eight::{Erased, end};
use super::endings::{EVERY, End, Ending, Name, Order, Seen};
use super::*;

use Ending::{
    Completes, DroppedByTheCaller, DroppedInLine, EmitsForEver, Fails, Panics,
    StreamDroppedByItsConsumer, Streams, StreamsForEver, WaitsInLine, WaitsInLineForEver,
};
use Name::{CatchPanic, Cleanup, Concurrency, Partial, Rate, Retry, Spawn, Timeout};

const FIVE: [Name; 5] = [Timeout, Concurrency, Rate, Cleanup, Partial];

/// Each of them, and whether the tool failed.
const ENDINGS: [(Ending, bool); 11] = [
    (Completes, false),
    (EmitsForEver, true),
    (Fails, true),
    (Panics, true),
    (DroppedByTheCaller, false),
    (Streams, false),
    (StreamsForEver, true),
    (StreamDroppedByItsConsumer, false),
    (WaitsInLine, false),
    // Its tool was never called.
    (WaitsInLineForEver, false),
    (DroppedInLine, false),
];

/// The five from the outside in, and how many of them stand outside of the breaker.
#[derive(Debug, Clone, Copy)]
struct Six {
    five: [Name; 5],
    outside: usize,
}

impl Six {
    fn stack(&self, layers: &Eight, told: &Told) -> Erased {
        let tool = Erased::new(tool(told, EVERY).map_err(ToolError::from));
        let (outside, inside) = self.five.split_at(self.outside);
        let around = |inner, name: &Name| layers.around(*name, inner);
        let inside = inside.iter().rev().fold(tool, around);
        let breaker = Erased::new(layers.breaker.layer(inside));
        let six = outside.iter().rev().fold(breaker, around);
        layers.around(CatchPanic, six)
    }

    /// What follows from the order of the five, as with a retry that has nothing to repeat.
    fn expects(&self, ending: Ending) -> End {
        let [a, b, c, d, e] = self.five;
        Order([a, b, c, d, e, CatchPanic, Spawn, Retry]).expects(ending)
    }

    /// While the breaker is open.
    fn refused(&self) -> End {
        let (outside, _) = self.five.split_at(self.outside);
        End {
            at: 0,
            back: (1, 0, 0),
            seen: Seen::Error(ErrorKind::CircuitOpen, 0, 0),
            tokens: u32::from(outside.contains(&Rate)),
            caller: vec![Outcome::Rejected],
            tool: vec![],
        }
    }
}

fn orders() -> Vec<Six> {
    let mut fives = Vec::new();
    permute(&mut FIVE.clone(), 0, &mut fives);
    let breaker_at = |five| (0..=FIVE.len()).map(move |outside| Six { five, outside });
    fives.into_iter().flat_map(breaker_at).collect()
}

fn permute(names: &mut [Name; 5], from: usize, orders: &mut Vec<[Name; 5]>) {
    if from == names.len() {
        return orders.push(*names);
    }
    for next in from..names.len() {
        names.swap(from, next);
        permute(names, from + 1, orders);
        names.swap(from, next);
    }
}

async fn every_ending(order: Six) {
    let (layers, told) = (Eight::new(), Told::default());
    let stack = order.stack(&layers, &told);
    for (ending, fails) in ENDINGS {
        let expected = order.expects(ending);
        let hooks = expected.caller.len() + expected.tool.len();
        let ended = end(&layers, stack.clone(), &told, ending, hooks).await;
        assert_eq!(ended, expected, "{ending:?} in {order:?}");
        let state = layers.breaker.state();
        let is_open = matches!(state, BreakerState::Open);
        assert_eq!(is_open, fails, "{ending:?} in {order:?}: {state:?}");

        if is_open {
            let refused = end(&layers, stack.clone(), &told, Completes, 1).await;
            assert_eq!(refused, order.refused(), "after {ending:?} in {order:?}");
        }
        layers.breaker.reset();
    }
    let report = layers.cleanup.drain(Duration::from_secs(1)).await;
    assert_eq!(
        (report.failed, report.abandoned, report.orphaned),
        (0, 0, 0)
    );
}

#[tokio::test(start_paused = true)]
async fn every_order_with_a_breaker() {
    quiet();
    let orders = orders();
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
