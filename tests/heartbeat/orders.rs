//! Every order of the five layers.

use std::num::NonZeroU32;

use governor::Quota;
use toolbooth::{CleanupLayer, ConcurrencyLimitLayer, RateLimitLayer};
use toolbooth_test::{GeneratorTool, HeartbeatTool};

use super::*;

struct Layers {
    timeout: TimeoutLayer,
    concurrency: ConcurrencyLimitLayer,
    rate: RateLimitLayer,
    cleanup: CleanupLayer,
    partial: PartialResultLayer,
}

type Stack = fn(&Layers, BoxTool) -> BoxTool;

macro_rules! nested {
    ($layers:ident, $tool:ident;) => { $tool };
    ($layers:ident, $tool:ident; $outer:ident $($inner:ident)*) => {
        $layers.$outer.layer(nested!($layers, $tool; $($inner)*))
    };
}

macro_rules! orders {
    ($orders:ident; [$($chosen:ident)*];) => {
        $orders.push((
            stringify!($($chosen)*),
            |layers: &Layers, tool: BoxTool| BoxTool::new(nested!(layers, tool; $($chosen)*)),
        ));
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
fn orders() -> Vec<(&'static str, Stack)> {
    let mut orders: Vec<(&'static str, Stack)> = Vec::new();
    orders!(orders; []; timeout concurrency rate cleanup partial);
    orders
}

#[tokio::test(start_paused = true)]
async fn every_order_of_the_five_layers_hears_beats_and_pieces() {
    let orders = orders();
    assert_eq!(orders.len(), 120);
    for (order, stack) in orders {
        let layers = |timeout: TimeoutLayer| Layers {
            timeout,
            concurrency: ConcurrencyLimitLayer::new(1),
            rate: RateLimitLayer::new(Quota::per_second(NonZeroU32::new(1_000).expect("not 0"))),
            cleanup: CleanupLayer::new(),
            partial: PartialResultLayer::new(),
        };
        let beats = || BoxTool::new(HeartbeatTool::new());
        let patient = layers(idle(600));
        assert_eq!(
            ended(stack(&patient, beats()), call()).await,
            ok(2_000),
            "{order}"
        );

        let hasty = layers(idle(599));
        let error = collected(stack(&hasty, beats()), call()).await.unwrap_err();
        assert_eq!(scope_of(&error), (IDLE, 599, 599), "{order}");
        let progress = error.partial().and_then(|partial| partial.progress());
        assert_eq!(
            progress.and_then(|last| last.message()),
            Some("item 0"),
            "{order}"
        );
        assert_eq!(hasty.concurrency.available(), 1, "{order}");

        let pieces = || BoxTool::new(GeneratorTool::new(ms(200), 3));
        let cut = layers(idle(199));
        let error = collected(stack(&cut, pieces()), call()).await.unwrap_err();
        assert_eq!(scope_of(&error), (IDLE, 199, 199), "{order}");
        let kept = error
            .partial()
            .map_or(&[][..], |partial| partial.contents());
        assert_eq!(kept, GeneratorTool::items(1), "{order}");
        assert_eq!(cut.concurrency.available(), 1, "{order}");
        let whole = layers(idle(200));
        assert_eq!(
            ended(stack(&whole, pieces()), call()).await,
            ok(400),
            "{order}"
        );
    }
}
