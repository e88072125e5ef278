//! Each pair and each triple of the ten layers as a static type: one call completes, one panics.

use super::*;

#[expect(clippy::vec_init_then_push, reason = "a macro pushes them one by one")]
fn pairs() -> Vec<Selection> {
    let mut all = Vec::new();
    selections!(
        all; []; one one;
        timeout concurrency rate cleanup partial catch_panic spawn retry breaker shutdown
    );
    all
}

#[expect(clippy::vec_init_then_push, reason = "a macro pushes them one by one")]
fn triples() -> Vec<Selection> {
    let mut all = Vec::new();
    selections!(
        all; []; one one one;
        timeout concurrency rate cleanup partial catch_panic spawn retry breaker shutdown
    );
    all
}

async fn each_works(all: Vec<Selection>) {
    quiet();
    for Selection {
        layers: names,
        stack,
    } in all
    {
        let (layers, hooks) = (Stackable::new(1, 64), Hooks::new());
        let stack = stack(&layers, tool(&hooks, ms(200)));
        let has = |name| names.contains(&name);

        let completes = ToolCall::new("tool", json!("completes"));
        let completes = stack.clone().oneshot(completes);
        let started = Instant::now();
        let contents = read(completes, Caller::Waits).await.expect("a response");
        assert_eq!(started.elapsed(), ms(100), "{names:?}");
        assert_eq!(contents, [Content::from("done")], "{names:?}");

        let panics = stack.oneshot(ToolCall::new("tool", json!("panics")));
        let catches = match tokio::spawn(read(panics, Caller::Waits)).await {
            Ok(response) => {
                assert_eq!(response.expect_err("a panic").kind(), ErrorKind::Panicked);
                true
            }
            Err(panic) => {
                assert!(panic.is_panic());
                false
            }
        };
        assert_eq!(catches, has("catch_panic") || has("spawn"), "{names:?}");
        let report = layers.shutdown.shutdown(ms(0), ms(1_000)).await;
        assert_eq!((report.completed, report.cancelled), (0, 0), "{names:?}");
        layers.cleanup.drain(ms(1_000)).await;
        sleep(ms(1)).await;
        let expected = [Outcome::Completed, Outcome::Panicked];
        assert_eq!(outcomes(&hooks.values(), "tool"), expected, "{names:?}");
        assert_eq!(layers.concurrency.available(), 1, "{names:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_pair_works() {
    let pairs = pairs();
    assert_eq!(pairs.len(), 10 * 9);
    each_works(pairs).await;
}

#[tokio::test(start_paused = true)]
async fn each_triple_works() {
    let triples = triples();
    assert_eq!(triples.len(), 10 * 9 * 8);
    each_works(triples).await;
}
