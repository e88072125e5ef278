//! How an application tests its tools: a small application, and its complete test module.
//!
//! ```text
//! cargo test --example testing    # runs the tests
//! cargo run --example testing     # runs the application
//! ```
//!
//! Three things make it testable. One function builds the stack, for production and for tests. The
//! tools reach the world through a value that a test replaces. And all time is tokio's, so that on
//! a paused clock a test of a timeout of 2 s takes no time and asserts the exact millisecond.

#![expect(clippy::print_stdout, reason = "an example prints its results")]

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use toolbooth::{
    BoxError, CallContext, CatchPanicLayer, CircuitBreakerLayer, CleanupLayer,
    ConcurrencyLimitLayer, PartialResultLayer, RetryPolicy, TimeoutLayer, ToolCall, ToolError,
    ToolOutput, tool_fn,
};
use tower::retry::RetryLayer;
use tower::{Service, ServiceBuilder, ServiceExt};

/// The layers whose state the application reads.
#[derive(Debug, Clone)]
struct Layers {
    limit: ConcurrencyLimitLayer,
    breaker: CircuitBreakerLayer,
    cleanup: CleanupLayer,
}

impl Layers {
    fn new() -> Self {
        Self {
            limit: ConcurrencyLimitLayer::new(4),
            breaker: CircuitBreakerLayer::new(),
            cleanup: CleanupLayer::new(),
        }
    }

    /// Builds the stack around a tool: the same in production and in tests.
    fn around<S>(
        &self,
        tool: S,
    ) -> impl Service<ToolCall, Response = ToolOutput, Error = ToolError, Future: Send>
    + Clone
    + Send
    + 'static
    where
        S: Service<ToolCall, Response = ToolOutput> + Clone + Send + 'static,
        S::Error: Into<BoxError> + 'static,
        S::Future: Send + 'static,
    {
        ServiceBuilder::new()
            .layer(TimeoutLayer::new(Duration::from_secs(2)))
            .layer(RetryLayer::new(RetryPolicy::new(3).with_idempotent(true)))
            .layer(self.breaker.clone())
            .layer(self.limit.clone())
            .layer(CatchPanicLayer::new())
            .layer(self.cleanup.clone())
            .layer(PartialResultLayer::new())
            .service(tool)
    }
}

/// What the tool needs of the world. A test has a store of its own.
trait Store: Clone + Send + Sync + 'static {
    fn page(&self, number: u32) -> impl Future<Output = Result<String, BoxError>> + Send;
}

#[derive(Deserialize)]
struct Read {
    pages: u32,
}

/// The tool: reads pages, and emits each as it comes.
async fn read(store: impl Store, call: CallContext, args: Read) -> Result<String, BoxError> {
    for number in 1..=args.pages {
        call.emit(store.page(number).await?);
    }
    Ok(format!("{} pages", args.pages))
}

/// The store of production: here, one that makes its pages up.
#[derive(Clone)]
struct Pages;

impl Store for Pages {
    async fn page(&self, number: u32) -> Result<String, BoxError> {
        tokio::time::sleep(Duration::from_millis(20)).await;
        Ok(format!("page {number}"))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let tool = Layers::new().around(tool_fn("read", |call, args| read(Pages, call, args)));
    let call = ToolCall::new("read", json!({ "pages": 3 }));
    println!("{}", tool.oneshot(call).await?.collect().await?.text());
    println!("its tests: cargo test --example testing");
    Ok(())
}

#[cfg(test)]
mod tests {
    use toolbooth::breaker::BreakerState;
    use toolbooth::{Content, ErrorKind, Outcome};
    use toolbooth_test::{
        CallFactory, FaultLayer, Faults, Probe, Recorder, Script, ScriptedTool, assert_ended_at,
        assert_ok, assert_outcomes, assert_released, assert_timed_out, call, call_all, count_ok,
        ms,
    };
    use tower::Layer;

    use super::*;

    /// A store whose pages take a time each, and which counts its readers.
    #[derive(Clone)]
    struct FakeStore {
        takes: Duration,
        readers: Probe,
    }

    impl FakeStore {
        fn new(takes: Duration) -> Self {
            let readers = Probe::new();
            Self { takes, readers }
        }
    }

    impl Store for FakeStore {
        async fn page(&self, number: u32) -> Result<String, BoxError> {
            let _inside = self.readers.enter();
            tokio::time::sleep(self.takes).await;
            Ok(format!("page {number}"))
        }
    }

    fn read_call(pages: u32) -> ToolCall {
        ToolCall::new("read", json!({ "pages": pages }))
    }

    /// The application's own tool, with a fake store.
    #[tokio::test(start_paused = true)]
    async fn reads_pages_and_keeps_those_that_came_before_the_timeout() {
        let store = FakeStore::new(ms(300));
        let fake = store.clone();
        let tool = tool_fn("read", move |call, args| read(fake.clone(), call, args));
        let stack = Layers::new().around(tool);
        let finished = call_all(stack, [read_call(2), read_call(1_000)]).await;

        assert_outcomes(&finished, [Outcome::Completed, Outcome::TimedOut]);
        assert_ended_at(&finished, [ms(600), ms(2_000)]);
        let timeout = finished[1].result.as_ref().expect_err("it timed out");
        let partial = timeout.partial().expect("six pages came");
        let pages = (1..=6).map(|number| Content::from(format!("page {number}")));
        assert_eq!(partial.contents(), pages.collect::<Vec<_>>());
        // The last page was dropped with its call.
        assert_released(&store.readers, 2 + 7);
    }

    #[tokio::test(start_paused = true)]
    async fn wrong_arguments_never_reach_the_store() {
        let store = FakeStore::new(ms(10));
        let fake = store.clone();
        let tool = tool_fn("read", move |call, args| read(fake.clone(), call, args));
        let wrong = ToolCall::new("read", json!({ "pages": "all" }));
        let finished = call_all(Layers::new().around(tool), [wrong]).await;
        assert_eq!(finished[0].error_kind(), Some(ErrorKind::InvalidArguments));
        assert_released(&store.readers, 0);
    }

    /// The stack, with a tool that does what the test lists.
    #[tokio::test(start_paused = true)]
    async fn four_calls_run_at_once_and_hanging_calls_release_their_permits() {
        let layers = Layers::new();
        let tool = ScriptedTool::script(Script::new().hang());
        let calls = CallFactory::seeded(1).calls("read", 10);
        let finished = call_all(layers.around(tool.clone()), calls).await;
        assert_timed_out(&finished, ms(2_000));
        assert_eq!(tool.probe().max(), 4);
        assert_eq!((layers.limit.available(), layers.limit.queued()), (4, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn failed_call_is_retried_and_the_next_attempt_succeeds() {
        let tool = ScriptedTool::scripts([
            Script::new().fail("connection reset"),
            Script::new().panic("out of bounds"),
            Script::new().delay(ms(10)).respond("42 rows"),
        ]);
        let finished = call_all(Layers::new().around(tool.clone()), [call("read")]).await;
        assert_ok(&finished);
        assert_released(tool.probe(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn breaker_opens_during_an_outage_and_closes_after_it() {
        let layers = Layers::new();
        let down = Script::new().fail("down");
        let scripts = std::iter::repeat_n(down, 5).chain([Script::new().respond("up")]);
        let stack = layers.around(ScriptedTool::scripts(scripts));
        let once = || call("read").with_idempotent(false);
        let finished = call_all(stack.clone(), (0..6).map(|_| once())).await;
        let rejected = [[Outcome::Failed; 5].as_slice(), &[Outcome::Rejected]].concat();
        assert_outcomes(&finished, rejected);
        assert_eq!(layers.breaker.state(), BreakerState::Open);

        tokio::time::sleep(ms(30_000)).await;
        assert_ok(&call_all(stack, [once()]).await);
        assert_eq!(layers.breaker.state(), BreakerState::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn hook_of_each_call_runs_with_its_outcome() {
        let layers = Layers::new();
        let ended = Recorder::new();
        let calls = ["first", "second"].map(|label| {
            let call = call("read").with_idempotent(false);
            call.context().on_cleanup(ended.hook_for(label));
            call
        });
        let scripts = [
            Script::new().respond("done"),
            Script::new().fail("no such page"),
        ];
        call_all(layers.around(ScriptedTool::scripts(scripts)), calls).await;
        let report = layers.cleanup.drain(ms(5_000)).await;
        assert_eq!((report.ran, report.failed, report.abandoned), (2, 0, 0));
        let outcomes = [("first", Outcome::Completed), ("second", Outcome::Failed)];
        assert_eq!(ended.values(), outcomes);
    }

    /// An unreliable tool: the same calls fail in each run.
    #[tokio::test(start_paused = true)]
    async fn most_calls_succeed_although_the_tool_fails_every_fifth_time() {
        let faults = Faults::new()
            .with_errors(0.1)
            .with_panics(0.1)
            .with_latency(0.5, ms(10)..=ms(50));
        let faults = FaultLayer::seeded(7).with_faults(faults);
        let tool = faults.layer(ScriptedTool::script(
            Script::new().delay(ms(10)).respond("done"),
        ));
        let layers = Layers::new();
        let finished = call_all(
            layers.around(tool),
            CallFactory::seeded(7).calls("read", 100),
        )
        .await;
        assert!(faults.injected().len() > 20);
        assert!(
            count_ok(&finished) >= 95,
            "{}",
            toolbooth_test::CallTable(&finished)
        );
        assert_eq!(layers.limit.available(), 4);
    }
}
