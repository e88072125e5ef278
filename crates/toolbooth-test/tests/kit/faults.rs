use std::panic::AssertUnwindSafe;

use futures_util::{FutureExt, StreamExt};
use toolbooth::{CatchPanicLayer, ErrorKind, Outcome, TimeoutLayer, ToolError};
use toolbooth_test::{
    BoxTool, FastTool, Fault, FaultLayer, Faults, Finished, GeneratorTool, InjectedFault, boxed,
    call, call_all, ms,
};
use tower::{Layer, ServiceBuilder, ServiceExt};

const CALLS: usize = 10_000;

fn faults() -> Faults {
    Faults::new()
        .with_errors(0.10)
        .with_hangs(0.05)
        .with_panics(0.05)
        .with_latency(0.25, ms(100)..=ms(200))
}

fn stack(layer: &FaultLayer, tool: &FastTool) -> BoxTool {
    let stack = ServiceBuilder::new()
        .layer(TimeoutLayer::new(ms(1_000)))
        .layer(CatchPanicLayer::new())
        .layer(layer.clone())
        .service(tool.clone());
    boxed(stack)
}

/// Returns outcome and time of each of `count` calls.
async fn run(layer: &FaultLayer, name: &str, count: usize) -> Vec<(Outcome, std::time::Duration)> {
    let calls = (0..count).map(|_| call(name));
    let finished = call_all(stack(layer, &FastTool::new()), calls).await;
    finished
        .iter()
        .map(|call| (call.outcome(), call.at))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn faults_have_their_shares_and_each_is_the_outcome_of_its_call() {
    let layer = FaultLayer::seeded(7).with_faults(faults());
    let tool = FastTool::new();
    let calls = (0..CALLS).map(|_| call("api"));
    let finished = call_all(stack(&layer, &tool), calls).await;
    let count = |outcome| {
        let same = finished.iter().filter(|call| call.outcome() == outcome);
        same.count()
    };
    let injected = layer.injected().values();
    let count_fault = |fault| injected.iter().filter(|(_, found)| *found == fault).count();
    assert_eq!(count(Outcome::Failed), count_fault(Fault::Error));
    assert_eq!(count(Outcome::TimedOut), count_fault(Fault::Hang));
    assert_eq!(count(Outcome::Panicked), count_fault(Fault::Panic));
    assert_eq!(count(Outcome::Completed), tool.probe().started());
    // The shares, nearly: three standard deviations are at most 13 %.
    let late = injected
        .iter()
        .filter(|(_, fault)| matches!(fault, Fault::Latency(_)));
    for (found, share) in [
        (count(Outcome::Failed), 0.10),
        (count(Outcome::TimedOut), 0.05),
        (count(Outcome::Panicked), 0.05),
        (late.count(), 0.25),
    ] {
        let expected = 10_000.0 * share;
        let found = f64::from(u32::try_from(found).unwrap());
        assert!(
            (found - expected).abs() < 0.15 * expected,
            "{found} of {expected}"
        );
    }
    // A call that only got a latency is 100 to 200 ms late.
    let late: Vec<_> = finished
        .iter()
        .filter(|call| call.is_ok() && call.at > ms(10))
        .collect();
    let early = late.iter().filter(|call| call.at < ms(160)).count();
    assert!(
        late.iter()
            .all(|call| (ms(110)..=ms(211)).contains(&call.at))
    );
    assert!(early > late.len() / 3 && early < late.len() * 2 / 3);
}

#[tokio::test(start_paused = true)]
async fn seed_alone_decides_on_the_faults_of_the_nth_call_of_a_tool() {
    let layer = || FaultLayer::seeded(7).with_faults(faults());
    let (first, second) = (layer(), layer());
    let alone = run(&first, "api", 200).await;
    assert_eq!(
        first.injected().values().len(),
        second_run(&second, &alone).await
    );
    assert_ne!(
        run(&FaultLayer::seeded(8).with_faults(faults()), "api", 200).await,
        alone
    );
    assert_ne!(run(&layer(), "db", 200).await, alone);
}

/// Makes the calls in two halves, with calls of another tool between them.
async fn second_run(layer: &FaultLayer, alone: &[(Outcome, std::time::Duration)]) -> usize {
    let mut halves = run(layer, "api", 100).await;
    run(layer, "db", 50).await;
    halves.extend(run(layer, "api", 100).await);
    assert_eq!(halves, alone);
    let injected = layer.injected().values();
    injected
        .iter()
        .filter(|(tool, _)| tool.as_str() == "api")
        .count()
}

#[tokio::test(start_paused = true)]
async fn tool_with_faults_of_its_own_has_no_others() {
    let layer = FaultLayer::seeded(1)
        .with_faults(Faults::new().with_errors(1.0))
        .with_tool("db", Faults::new().with_hangs(1.0))
        .with_tool("file", Faults::new());
    for (name, outcome) in [
        ("api", Outcome::Failed),
        ("db", Outcome::TimedOut),
        ("file", Outcome::Completed),
    ] {
        let ends = run(&layer, name, 5).await;
        assert!(
            ends.iter().all(|(found, _)| *found == outcome),
            "{name}: {ends:?}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn first_kinds_prevail_and_shares_out_of_range_are_none_or_all() {
    let all = Faults::new().with_errors(f64::INFINITY).with_hangs(1.0);
    let none = Faults::new()
        .with_errors(-1.0)
        .with_panics(f64::NAN)
        .with_hangs(0.0);
    for (faults, outcome) in [(all, Outcome::Failed), (none, Outcome::Completed)] {
        let layer = FaultLayer::seeded(3).with_faults(faults);
        let ends = run(&layer, "api", 50).await;
        assert!(ends.iter().all(|(found, _)| *found == outcome), "{ends:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn broken_stream_fails_after_its_items_and_drops_the_stream_of_the_tool() {
    let broken = |after| Faults::new().with_broken_streams(1.0, after);
    for (after, total, items) in [(2..=2, 20, Some(2)), (0..=0, 20, Some(0)), (5..=5, 5, None)] {
        let layer = FaultLayer::seeded(1).with_faults(broken(after));
        let tool = GeneratorTool::new(ms(10), total);
        let finished = call_all(layer.layer(tool.clone()), [call("generate")]).await;
        assert_eq!((tool.probe().started(), tool.probe().finished()), (1, 1));
        let injected = layer.injected().values();
        let Some(items) = items else {
            // It ended before the fault.
            assert_eq!(finished[0].result.as_ref().unwrap().contents().len(), total);
            assert_eq!(injected, []);
            continue;
        };
        assert_eq!(injected, [("generate".into(), Fault::BrokenStream(items))]);
        let error = finished[0].result.as_ref().unwrap_err();
        assert!(is_injected(error));
        let kept = error
            .partial()
            .map_or(0, |partial| partial.contents().len());
        assert_eq!(kept, items);
    }
    // The number of items is drawn from the range.
    let layer = FaultLayer::seeded(1).with_faults(broken(0..=3));
    let calls = (0..100).map(|_| call("generate"));
    call_all(layer.layer(GeneratorTool::new(ms(10), 20)), calls).await;
    for items in 0..=3 {
        let fault = ("generate".into(), Fault::BrokenStream(items));
        assert!(layer.injected().values().contains(&fault), "{items}");
    }
    assert_eq!(layer.injected().len(), 100);
}

#[tokio::test(start_paused = true)]
async fn stream_of_the_tool_is_dropped_with_the_fault_and_nothing_follows() {
    let faults = Faults::new().with_broken_streams(1.0, 2..=2);
    let layer = FaultLayer::seeded(1).with_faults(faults);
    let tool = GeneratorTool::new(ms(10), 20);
    let output = layer.layer(tool.clone()).oneshot(call("generate")).await;
    let mut items = output.unwrap().into_stream();
    for expected in GeneratorTool::items(2) {
        assert_eq!(items.next().await.unwrap().unwrap(), expected);
    }
    assert_eq!(tool.probe().running(), 1);
    assert!(is_injected(&items.next().await.unwrap().unwrap_err()));
    assert_eq!(tool.probe().running(), 0);
    assert!(items.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn buffered_response_is_never_broken() {
    let layer = FaultLayer::seeded(1).with_faults(Faults::new().with_broken_streams(1.0, 0..=0));
    let finished = call_all(layer.layer(FastTool::new()), [call("fast")]).await;
    assert!(finished.iter().all(Finished::is_ok));
    assert!(layer.injected().is_empty());
}

#[tokio::test(start_paused = true)]
async fn error_and_panic_have_their_own_text_and_do_not_call_the_tool() {
    let layer = |faults| FaultLayer::seeded(1).with_faults(faults);
    let tool = FastTool::new();
    let fails = layer(Faults::new().with_errors(1.0)).layer(tool.clone());
    let error = fails.oneshot(call("api")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Tool);
    assert!(is_injected(&error));
    let panics = layer(Faults::new().with_panics(1.0)).layer(tool.clone());
    let panic = AssertUnwindSafe(panics.oneshot(call("api")))
        .catch_unwind()
        .await;
    let panic = panic.unwrap_err();
    assert_eq!(panic.downcast_ref::<String>().unwrap(), "injected fault");
    assert_eq!(tool.probe().started(), 0);
}

fn is_injected(error: &ToolError) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<InjectedFault>())
}
