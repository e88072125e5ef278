//! Snapshots of the scenarios, as text and as trace.

use super::*;

const WIDTH: usize = 100;

/// Compares both outputs with the snapshots of this name.
macro_rules! assert_outputs {
    ($name:literal, $timeline:expr) => {
        let timeline = $timeline;
        insta::assert_snapshot!(concat!($name, "_text"), timeline.to_text(WIDTH));
        insta::assert_snapshot!(concat!($name, "_trace"), trace(timeline));
    };
}

#[tokio::test(start_paused = true)]
async fn concurrent_timeout() {
    let recorder = Recorder::new();
    let layers = Layers::with(ms(3_000), 100, 100);
    let tool = EventsLayer::new(recorder.clone()).layer(layers.wrap(sleeps("slow")));
    let factory = CallFactory::seeded(7);
    call_all(
        tool,
        (0..20).map(|_| factory.call_with("slow", json!(5_000))),
    )
    .await;
    assert_outputs!("concurrent_timeout", recorder.snapshot());
}

#[tokio::test(start_paused = true)]
async fn fan_out_fan_in() {
    let recorder = Recorder::new();
    let layers = Layers::with(ms(2_000), 100, 4);
    let tool = EventsLayer::new(recorder.clone()).layer(layers.wrap(sleeps("worker")));
    let factory = CallFactory::seeded(7);
    let takes = [5_000, 100, 100, 5_000, 5_000, 100, 5_000, 100, 5_000, 100];
    call_all(
        tool,
        takes.map(|takes| factory.call_with("worker", json!(takes))),
    )
    .await;
    assert_outputs!("fan_out_fan_in", recorder.snapshot());
}

#[tokio::test(start_paused = true)]
async fn retry() {
    let recorder = Recorder::new();
    let fetch = tool_fn("fetch", async |call: CallContext, _: ()| {
        sleep(ms(match call.attempt() {
            3 => 400,
            _ => 5_000,
        }))
        .await;
        Ok::<_, Infallible>("done")
    });
    let policy = RetryPolicy::new(5).with_idempotent(true).with_seed(7);
    let tool = ServiceBuilder::new()
        .layer(RetryLayer::new(policy))
        .layer(EventsLayer::new(recorder.clone()))
        .layer(TimeoutLayer::new(ms(1_000)))
        .service(fetch);
    call_all(tool, [CallFactory::seeded(7).call("fetch")]).await;
    assert_outputs!("retry", recorder.snapshot());
}

#[tokio::test(start_paused = true)]
async fn nested_calls() {
    let recorder = Recorder::new();
    let events = EventsLayer::new(recorder.clone());
    let limit = ConcurrencyLimitLayer::new(2).with_name("api");
    let search = boxed(
        ServiceBuilder::new()
            .layer(events.clone())
            .layer(limit)
            .service(sleeps("search")),
    );
    let research = tool_fn("research", move |call: CallContext, _: ()| {
        let search = search.clone();
        async move {
            let mut ids = (1..).map(|number| format!("search-{number}"));
            let mut search = |millis: u64| {
                let nested = call.child("search", json!(millis))?;
                let nested = nested.with_id(ids.next().unwrap_or_default());
                Ok::<_, BoxError>(search.clone().oneshot(nested))
            };
            search(200)?.await?;
            let (first, second, third) = (search(500)?, search(400)?, search(100)?);
            tokio::try_join!(first, second, third)?;
            Ok::<_, BoxError>("done")
        }
    });
    let tool = events.layer(research);
    call_all(tool, [CallFactory::seeded(7).call("research")]).await;
    assert_outputs!("nested_calls", recorder.snapshot());
}
