//! Contexts that outlive their call.

use bytes::Bytes;
use futures_util::FutureExt;
use toolbooth::Content;
use toolbooth_test::{BoxTool, Inside, Probe};
use tower::retry::Retry;

use super::*;

/// Bytes of a content; the probe counts those that exist.
struct Alive(#[expect(dead_code, reason = "its drop counts")] Inside);

impl AsRef<[u8]> for Alive {
    fn as_ref(&self) -> &[u8] {
        b"item"
    }
}

fn content(alive: &Probe) -> Content {
    Content::data("text/plain", Bytes::from_owner(Alive(alive.enter())))
}

/// A stack whose tool emits two contents, records its context, and returns `result` after 10 ms.
fn recording(
    layers: &Layers,
    order: &[Kind],
    alive: &Probe,
    result: Result<&'static str, &'static str>,
) -> (BoxTool, Recorder<CallContext>) {
    let contexts = Recorder::new();
    let (log, alive) = (contexts.clone(), alive.clone());
    let tool = tool(move |context| {
        context.emit(content(&alive));
        context.emit(content(&alive));
        log.record(context);
        async move {
            sleep(ms(10)).await;
            result
        }
    });
    (layers.stack(order, tool), contexts)
}

#[tokio::test(start_paused = true)]
async fn context_of_an_ended_call_does_not_grow() {
    let orders = Kind::orders();
    for (order, result) in [
        (&orders[0], Ok("done")),
        (&orders[119], Ok("done")),
        (&orders[0], Err("no")),
        (&orders[119], Err("no")),
        (&orders[60], Err("no")),
    ] {
        let case = format!("{order:?}, {result:?}");
        let (layers, alive) = (layers(), Probe::new());
        let (stack, contexts) = recording(&layers, order, &alive, result);
        let ended = stack.oneshot(call()).await;
        assert_eq!(ended.is_ok(), result.is_ok(), "{case}");
        let error = ended.err();
        let context = contexts.take().remove(0);
        let before = context.partial();
        let kept = before.as_ref().map(|partial| partial.contents().len());
        assert_eq!(kept, Some(2), "{case}");
        assert_eq!(alive.running(), 2, "{case}");

        for _ in 0..100_000 {
            context.emit(content(&alive));
        }
        for _ in 0..1_000 {
            context.snapshot(content(&alive));
        }
        assert_eq!(alive.running(), 2, "{case}");
        assert_eq!(context.partial(), before, "{case}");

        // More hooks than a call may have: none is stored, each runs.
        let ran = Recorder::<Outcome>::new();
        for _ in 0..1_000 {
            let (log, alive) = (ran.clone(), alive.enter());
            let registered = context.on_cleanup(move |outcome| async move {
                log.record(outcome);
                drop(alive);
            });
            assert_eq!(registered, Registered::RunsNow, "{case}");
        }
        sleep(ms(1)).await;
        let outcome = match result {
            Ok(_) => Outcome::Completed,
            Err(_) => Outcome::Failed,
        };
        assert_eq!(ran.values(), vec![outcome; 1_000], "{case}");
        assert_eq!(alive.running(), 2, "{case}");
        assert_eq!(layers.cleanup.report().abandoned, 0, "{case}");

        // The end of a call completes `cancelled`, without a reason.
        assert!(context.cancelled().now_or_never().is_some(), "{case}");
        assert!(!context.is_cancelled(), "{case}");

        drop((context, before, error));
        assert_eq!(alive.running(), 0, "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn ended_attempts_keep_one_partial_together() {
    let (layers, alive) = (layers(), Probe::new());
    let (stack, contexts) = recording(&layers, &Kind::ALL, &alive, Err("no"));
    let first = call();
    // As many as there are tokens.
    for attempt in 1..=Layers::TOKENS {
        let error = stack.clone().oneshot(first.clone()).await.unwrap_err();
        assert_eq!(error.partial().unwrap().contents().len(), 2);
        let context = contexts.take().remove(0);
        drop(error);
        assert_eq!((context.attempt(), alive.running()), (attempt, 2));
    }
    drop(first);
    assert_eq!(alive.running(), 0);
}

#[tokio::test(start_paused = true)]
async fn thousand_attempts_keep_two_partials_besides_those_of_running_attempts() {
    for outside in 0..=4 {
        let case = format!("retry inside {outside}");
        let (layers, alive) = (layers(), Probe::new());
        let before = Recorder::new();
        let (log, contents) = (before.clone(), alive.clone());
        let failing = tool(move |context| {
            log.record(contents.running());
            context.emit(content(&contents));
            async { Err("no") }
        });
        // Without the rate limit, which has ten tokens.
        let order = [
            Kind::Timeout,
            Kind::Concurrency,
            Kind::Cleanup,
            Kind::Partial,
        ];
        let (outer, inner) = order.split_at(outside);
        let retry = boxed(Retry::new(retries(999), layers.stack(inner, failing)));
        let error = layers.stack(outer, retry).oneshot(call()).await;
        let error = error.unwrap_err();
        // The partial of the first attempt, and of the last one that ended.
        let most = if outside == 0 { 1 } else { 2 };
        let expected: Vec<_> = (0..1_000).map(|n: usize| n.min(most)).collect();
        assert_eq!(before.values(), expected, "{case}");
        drop(error);
        assert_eq!(alive.running(), 0, "{case}");
    }
}
