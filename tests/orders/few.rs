//! Each pair and each triple of the nine layers as a static type, and one call that completes, one that panics.

use super::*;

struct Few {
    layers: &'static [&'static str],
    stack: fn(&Eight, Tool) -> Stack,
}

/// All selections of so many of the layers, in each order.
macro_rules! selections {
    ($all:ident; [$($chosen:ident)*]; ; $($left:ident)*) => {
        $all.push(Few {
            layers: &[$(stringify!($chosen)),*],
            stack: |layers, tool| Stack::new(nested!(layers, tool; $($chosen)*)),
        });
    };
    ($all:ident; [$($chosen:ident)*]; one $($more:ident)*; $($left:ident)+) => {
        selections!(@ $all; [$($chosen)*]; one $($more)*; []; $($left)+);
    };
    (@ $all:ident; [$($chosen:ident)*]; one $($more:ident)*; [$($passed:ident)*];) => {};
    (@ $all:ident; [$($chosen:ident)*]; one $($more:ident)*; [$($passed:ident)*]; $next:ident $($left:ident)*) => {
        selections!($all; [$($chosen)* $next]; $($more)*; $($passed)* $($left)*);
        selections!(@ $all; [$($chosen)*]; one $($more)*; [$($passed)* $next]; $($left)*);
    };
}

#[expect(clippy::vec_init_then_push, reason = "a macro pushes them one by one")]
fn pairs() -> Vec<Few> {
    let mut all = Vec::new();
    selections!(all; []; one one; timeout concurrency rate cleanup partial catch_panic spawn retry breaker);
    all
}

#[expect(clippy::vec_init_then_push, reason = "a macro pushes them one by one")]
fn triples() -> Vec<Few> {
    let mut all = Vec::new();
    selections!(all; []; one one one; timeout concurrency rate cleanup partial catch_panic spawn retry breaker);
    all
}

async fn each_works(all: Vec<Few>) {
    quiet();
    for few in all {
        let layers = Eight::new();
        let told = Told::default();
        let stack = (few.stack)(&layers, tool(&told, Duration::from_millis(200)));
        let has = |name| few.layers.contains(&name);

        let completes = stack
            .clone()
            .oneshot(ToolCall::new("tool", json!("completes")));
        let started = Instant::now();
        let contents = read(completes, Caller::Waits).await.expect("an answer");
        assert_eq!(
            (started.elapsed().as_millis(), contents),
            (100, vec![Content::from("done")]),
            "{:?}",
            few.layers
        );

        let panics = stack.oneshot(ToolCall::new("tool", json!("panics")));
        match tokio::spawn(read(panics, Caller::Waits)).await {
            Ok(answer) => {
                assert_eq!(answer.expect_err("a panic").kind(), ErrorKind::Panicked);
                assert!(has("catch_panic") || has("spawn"), "{:?}", few.layers);
            }
            Err(panic) => {
                assert!(panic.is_panic());
                assert!(!has("catch_panic") && !has("spawn"), "{:?}", few.layers);
            }
        }
        layers.cleanup.drain(Duration::from_secs(1)).await;
        sleep(Duration::from_millis(1)).await;
        let told = told.lock().expect("no panic under it");
        let outcomes: Vec<_> = told.iter().map(|hook| hook.1).collect();
        assert_eq!(
            outcomes,
            [Outcome::Completed, Outcome::Panicked],
            "{:?}",
            few.layers
        );
        assert_eq!(layers.concurrency.available(), 1, "{:?}", few.layers);
    }
}

#[tokio::test(start_paused = true)]
async fn each_pair_works() {
    let pairs = pairs();
    assert_eq!(pairs.len(), 9 * 8);
    each_works(pairs).await;
}

#[tokio::test(start_paused = true)]
async fn each_triple_works() {
    let triples = triples();
    assert_eq!(triples.len(), 9 * 8 * 7);
    each_works(triples).await;
}
