//! What every layer does, whatever else it does. `every_layer!` tests a layer against all of it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "only tests call this")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use futures_util::{FutureExt, StreamExt};
use tokio_test::{assert_pending, assert_ready};
use toolbooth::{
    BoxError, CancelReason, Content, ErrorKind, Outcome, ToolCall, ToolError, ToolOutput,
};
use tower::util::service_fn;
use tower::{Layer, Service};

use super::{
    Count, Handle, Mock, Probe, Readiness, Reply, call, error, mock, ms, next, text, told,
};

/// A layer that makes tools of tools.
pub(crate) trait Layers<S>: Layer<S, Service: Wrapped> {}

impl<S, L: Layer<S, Service: Wrapped>> Layers<S> for L {}

/// A tool under a layer.
pub(crate) trait Wrapped:
    Service<ToolCall, Response = ToolOutput, Error = ToolError, Future: Send + 'static> + Clone
{
}

impl<S> Wrapped for S where
    S: Service<ToolCall, Response = ToolOutput, Error = ToolError, Future: Send + 'static> + Clone
{
}

macro_rules! every_layer {
    ($layer:expr) => {
        crate::support::laws::every_layer! { $layer;
            an_answer_that_is_there_comes_at_the_first_poll
            panic_in_the_tool_reaches_the_caller_and_is_the_outcome
            panic_in_inner_poll_ready_is_the_outcome
            panic_in_inner_poll_ready_after_a_wait_is_the_outcome
            panic_in_inner_call_is_the_outcome
            panic_in_a_streamed_answer_is_the_outcome
        }
    };
    ($layer:expr, which contains panics) => {
        crate::support::laws::every_layer! { $layer;
            panic_in_the_tool_is_the_error
            panic_in_the_drop_of_the_tools_future_is_the_error
            panic_in_the_drop_of_a_call_that_is_dropped_goes_no_further
            panic_in_inner_poll_ready_is_the_error
            panic_in_inner_poll_ready_after_a_wait_is_the_error
            panic_in_inner_call_is_the_error
            panic_in_a_streamed_answer_is_its_error
            panic_in_the_drop_of_a_streamed_answer_is_its_error
            panic_in_the_drop_of_a_streamed_answer_that_is_dropped_goes_no_further
        }
    };
    ($layer:expr; $($more:ident)+) => {
        crate::support::laws::every_layer! { @ $layer;
            answer_passes_through
            poll_ready_is_always_ready_and_touches_nothing
            the_ready_path_takes_no_clone
            pending_call_is_woken_by_its_tool
            tool_error_inside_is_passed_on_unboxed
            foreign_error_becomes_the_source_of_a_tool_error
            towers_errors_become_ours
            unready_instance_moves_into_the_future_and_a_fresh_clone_stays
            readiness_error_fails_the_call_and_leaves_a_usable_service
            readiness_error_after_a_wait_fails_the_call
            inner_future_is_dropped_in_the_poll_in_which_it_completes
            future_dropped_before_its_first_poll_ends_the_call
            future_dropped_while_unready_ends_the_call
            future_dropped_while_running_ends_the_call
            streamed_answer_dropped_half_read_ends_the_call
            future_dropped_after_completion_ends_nothing_twice
            streamed_answer_ends_the_call_with_its_last_piece
            streamed_answer_that_fails_ends_the_call
            service_dropped_while_a_call_runs_does_not_end_it
            $($more)*
            an_error_answer_is_ok_and_failed
        }
    };
    (@ $layer:expr; $($law:ident)+) => {
        mod every_layer {
            use super::*;
            $(
                #[tokio::test(flavor = "current_thread", start_paused = true)]
                async fn $law() {
                    crate::support::laws::$law($layer).await;
                }
            )+
        }
    };
}
pub(crate) use every_layer;

/// Items `a` and `b` at once, and then nothing any more.
fn two_pieces_and_stuck(dropped: &Count) -> ToolOutput {
    let two = ["a", "b"].map(|text| Ok::<_, BoxError>(Content::from(text)));
    let stuck = futures_util::stream::pending();
    super::tracked(dropped, futures_util::stream::iter(two).chain(stuck))
}

/// Answers the one request that a mock got.
async fn answer(handle: &mut Handle, output: ToolOutput) {
    let (_, send) = handle.next_request().await.expect("a request");
    send.send_response(output);
    tasks().await;
}

/// Lets tasks do what they can.
async fn tasks() {
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
}

/// Polls, and again if a task had something for it.
async fn turn<F: Future>(future: &mut tokio_test::task::Spawn<F>) -> Poll<F::Output> {
    let polled = future.poll();
    if polled.is_ready() {
        return polled;
    }
    tasks().await;
    if future.is_woken() {
        future.poll()
    } else {
        polled
    }
}

pub(crate) async fn answer_passes_through<L: Layers<Mock>>(layer: L) {
    let (mut service, mut handle) = mock(&layer);
    let call = call().with_id("the call");
    let outcomes = told(call.context());
    let mut future = tokio_test::task::spawn(service.call(call));
    let (request, send) = handle.next_request().await.expect("a request");
    assert_eq!(request.context().id(), "the call");
    send.send_response(ToolOutput::text("done").with_meta("cost", 3));
    let output = assert_ready!(turn(&mut future).await).unwrap();
    assert_eq!(output.meta().unwrap()["cost"], 3);
    assert_eq!(text(Ok(output)).await, "done");
    assert_eq!(outcomes.outcomes().await, [Outcome::Completed]);
}

pub(crate) async fn poll_ready_is_always_ready_and_touches_nothing<L: Layers<Probe>>(layer: L) {
    for readiness in [Readiness::Pending, Readiness::Fails, Readiness::Panics] {
        let probe = Probe::ready().with(readiness);
        let mut service = layer.layer(probe.view());
        for _ in 0..3 {
            let ready = service.poll_ready(&mut Context::from_waker(Waker::noop()));
            assert_ready!(ready).unwrap();
        }
        assert_eq!(probe.log(), super::Log::default());
    }
}

pub(crate) async fn the_ready_path_takes_no_clone<L: Layers<Probe>>(layer: L) {
    let probe = Probe::ready();
    let mut service = layer.layer(probe.view());
    assert_eq!(text(service.call(call()).await).await, "done");
    let log = probe.log();
    assert_eq!(
        (log.clones, log.ready_polls.len(), log.calls.len()),
        (0, 1, 1)
    );
}

pub(crate) async fn pending_call_is_woken_by_its_tool<L: Layers<Mock>>(layer: L) {
    let (mut service, mut handle) = mock(&layer);
    let mut future = tokio_test::task::spawn(service.call(call()));
    assert_pending!(turn(&mut future).await);
    assert!(!future.is_woken());
    answer(&mut handle, ToolOutput::text("done")).await;
    assert!(future.is_woken());
    assert_eq!(text(assert_ready!(turn(&mut future).await)).await, "done");
}

pub(crate) async fn tool_error_inside_is_passed_on_unboxed<L>(layer: L)
where
    L: Layers<tower::util::ServiceFn<fn(ToolCall) -> std::future::Ready<Reply>>> + Layers<Mock>,
{
    // As the error type of the inner service.
    let refusing: fn(ToolCall) -> _ = |_| std::future::ready(Err(ToolError::rate_limited(ms(7))));
    let refused = error(layer.layer(service_fn(refusing)).call(call()).await);
    assert_eq!(refused.kind(), ErrorKind::RateLimited);
    assert_eq!(refused.retry_after(), Some(ms(7)));
    assert_eq!((refused.tool(), refused.partial()), (Some("tool"), None));

    // In a box: its source is the very one that the tool gave.
    let (mut service, mut handle) = mock(&layer);
    let mut future = tokio_test::task::spawn(service.call(call()));
    let failed = ToolError::failed("disk full").with_retryable(true);
    let (_, send) = handle.next_request().await.unwrap();
    send.send_error(failed.clone());
    tasks().await;
    let passed = error(assert_ready!(turn(&mut future).await));
    let source = |error| std::error::Error::source(error).unwrap();
    assert!(std::ptr::addr_eq(source(&failed), source(&passed)));
    assert!(passed.is_retryable());
}

pub(crate) async fn foreign_error_becomes_the_source_of_a_tool_error<L: Layers<Mock>>(layer: L) {
    let (mut service, mut handle) = mock(&layer);
    let call = call().with_id("17");
    let outcomes = told(call.context());
    let mut future = tokio_test::task::spawn(service.call(call));
    let (_, send) = handle.next_request().await.unwrap();
    send.send_error("disk full");
    tasks().await;
    let failed = error(assert_ready!(turn(&mut future).await));
    assert_eq!(failed.kind(), ErrorKind::Tool);
    let source = std::error::Error::source(&failed).unwrap();
    assert_eq!(
        (source.to_string(), source.source().is_none()),
        ("disk full".to_owned(), true)
    );
    assert_eq!(
        (failed.tool(), failed.call_id()),
        (Some("tool"), Some("17"))
    );
    assert!(!failed.is_retryable());
    assert_eq!(outcomes.outcomes().await, [Outcome::Failed]);
}

pub(crate) async fn towers_errors_become_ours<L: Layers<Mock>>(layer: L) {
    let (mut service, mut handle) = mock(&layer);
    let mut future = tokio_test::task::spawn(service.call(call()));
    let (_, send) = handle.next_request().await.unwrap();
    tokio::time::advance(ms(30)).await;
    send.send_error(tower::timeout::error::Elapsed::new());
    let elapsed = error(assert_ready!(turn(&mut future).await));
    assert_eq!(
        elapsed.to_string(),
        "timed out after 30ms (foreign limit of 30ms)"
    );
    assert_eq!(elapsed.kind(), ErrorKind::Timeout);

    let mut future = tokio_test::task::spawn(service.call(call()));
    let (_, send) = handle.next_request().await.unwrap();
    send.send_error(tower::load_shed::error::Overloaded::new());
    let shed = error(assert_ready!(turn(&mut future).await));
    assert_eq!(shed.to_string(), "overloaded: the service shed the call");
    assert_eq!(shed.kind(), ErrorKind::Overloaded);
}

pub(crate) async fn unready_instance_moves_into_the_future_and_a_fresh_clone_stays<
    L: Layers<Probe>,
>(
    layer: L,
) {
    let probe = Probe::ready().with(Readiness::Pending);
    let mut service = layer.layer(probe.view());
    let mut future = tokio_test::task::spawn(service.call(call()));
    assert_pending!(turn(&mut future).await);
    let log = probe.log();
    let moved = log.ready_polls[0];
    assert_eq!((log.clones, log.ready_polls), (1, vec![moved, moved]));

    probe.set(Readiness::Ready);
    tasks().await;
    assert!(future.is_woken());
    assert_eq!(text(assert_ready!(turn(&mut future).await)).await, "done");
    assert_eq!(probe.log().calls, [moved]);

    // What stayed is the clone, and it is used from here on.
    assert_eq!(text(service.call(call()).await).await, "done");
    assert_eq!(probe.log().calls, [moved, 1]);
    assert_eq!(probe.log().clones, 1);
}

pub(crate) async fn readiness_error_fails_the_call_and_leaves_a_usable_service<L: Layers<Probe>>(
    layer: L,
) {
    let probe = Probe::ready().with(Readiness::Fails);
    let mut service = layer.layer(probe.view());
    let call_ = call();
    let outcomes = told(call_.context());
    let failed = error(service.call(call_).await);
    assert_eq!(failed.kind(), ErrorKind::Tool);
    assert_eq!(
        std::error::Error::source(&failed).unwrap().to_string(),
        "not to be ready"
    );
    assert_eq!(outcomes.outcomes().await, [Outcome::Failed]);
    assert!(probe.log().calls.is_empty());

    probe.set(Readiness::Ready);
    assert_eq!(text(service.call(call()).await).await, "done");
    assert_eq!(probe.log().calls, [1]);
}

pub(crate) async fn readiness_error_after_a_wait_fails_the_call<L: Layers<Probe>>(layer: L) {
    let probe = Probe::ready().with(Readiness::Pending);
    let mut service = layer.layer(probe.view());
    let mut future = tokio_test::task::spawn(service.call(call()));
    assert_pending!(turn(&mut future).await);
    probe.set(Readiness::Fails);
    tasks().await;
    assert!(future.is_woken());
    assert_eq!(
        error(assert_ready!(turn(&mut future).await)).kind(),
        ErrorKind::Tool
    );
    assert!(probe.log().calls.is_empty());
}

pub(crate) async fn inner_future_is_dropped_in_the_poll_in_which_it_completes<L: Layers<Probe>>(
    layer: L,
) {
    let probe = Probe::ready();
    let mut service = layer.layer(probe.view());
    let mut future = tokio_test::task::spawn(service.call(call()));
    assert_eq!(probe.dropped(), 0);
    assert_ready!(turn(&mut future).await).unwrap();
    assert_eq!(probe.dropped(), 1);
    drop(future);
    assert_eq!(probe.dropped(), 1);
}

pub(crate) async fn future_dropped_before_its_first_poll_ends_the_call<L: Layers<Probe>>(layer: L) {
    let probe = Probe::stuck();
    let mut service = layer.layer(probe.view());
    let call = call();
    let context = call.context().clone();
    let outcomes = told(&context);
    let future = service.call(call);
    assert_eq!(context.cancel_reason(), None);
    drop(future);
    assert_eq!(probe.dropped(), 1);
    assert_eq!(context.cancel_reason(), Some(CancelReason::CallerGone));
    assert_eq!(outcomes.outcomes().await, [Outcome::Cancelled]);
}

pub(crate) async fn future_dropped_while_unready_ends_the_call<L: Layers<Probe>>(layer: L) {
    let probe = Probe::stuck().with(Readiness::Pending);
    let mut service = layer.layer(probe.view());
    let call = call();
    let outcomes = told(call.context());
    let mut future = tokio_test::task::spawn(service.call(call));
    assert_pending!(turn(&mut future).await);
    drop(future);
    assert!(probe.log().calls.is_empty());
    assert_eq!(outcomes.outcomes().await, [Outcome::Cancelled]);
}

pub(crate) async fn future_dropped_while_running_ends_the_call<L: Layers<Probe>>(layer: L) {
    // The tool is told why before it is dropped.
    let seen = Arc::new(Mutex::new(Vec::new()));
    let tell = Arc::clone(&seen);
    let probe = Probe::new(move |call| {
        let seen = Arc::clone(&tell);
        async move {
            let context = call.context().clone();
            let on_drop = scopeguard(move || {
                seen.lock().unwrap().push(context.cancel_reason());
            });
            std::future::pending::<()>().await;
            drop(on_drop);
            Ok(ToolOutput::text("never"))
        }
    });
    let mut service = layer.layer(probe.view());
    let call = call();
    let outcomes = told(call.context());
    let mut future = tokio_test::task::spawn(service.call(call));
    assert_pending!(turn(&mut future).await);
    assert_eq!(probe.dropped(), 0);
    drop(future);
    assert_eq!(probe.dropped(), 1);
    assert_eq!(*seen.lock().unwrap(), [Some(CancelReason::CallerGone)]);
    assert_eq!(outcomes.outcomes().await, [Outcome::Cancelled]);
}

pub(crate) async fn streamed_answer_dropped_half_read_ends_the_call<L: Layers<Mock>>(layer: L) {
    let (mut service, mut handle) = mock(&layer);
    let call = call();
    let context = call.context().clone();
    let mut outcomes = told(&context);
    let dropped = Count::default();
    let mut future = tokio_test::task::spawn(service.call(call));
    answer(&mut handle, two_pieces_and_stuck(&dropped)).await;
    let mut stream = assert_ready!(turn(&mut future).await)
        .unwrap()
        .into_stream();
    drop(future);
    assert_eq!(next(&mut stream).await.unwrap().unwrap(), "a");
    assert!(outcomes.is_held());
    assert_eq!((dropped.get(), context.cancel_reason()), (0, None));
    drop(stream);
    assert_eq!(dropped.get(), 1);
    assert_eq!(context.cancel_reason(), Some(CancelReason::CallerGone));
    assert_eq!(outcomes.outcomes().await, [Outcome::Cancelled]);
}

pub(crate) async fn future_dropped_after_completion_ends_nothing_twice<L: Layers<Mock>>(layer: L) {
    let (mut service, mut handle) = mock(&layer);
    let call = call();
    let context = call.context().clone();
    let outcomes = told(&context);
    let mut future = tokio_test::task::spawn(service.call(call));
    answer(&mut handle, ToolOutput::text("done")).await;
    assert_ready!(turn(&mut future).await).unwrap();
    drop(future);
    assert_eq!(context.cancel_reason(), None);
    assert_eq!(outcomes.outcomes().await, [Outcome::Completed]);
}

pub(crate) async fn streamed_answer_ends_the_call_with_its_last_piece<L: Layers<Mock>>(layer: L) {
    let (mut service, mut handle) = mock(&layer);
    let call = call();
    let mut outcomes = told(call.context());
    let dropped = Count::default();
    let mut future = tokio_test::task::spawn(service.call(call));
    answer(&mut handle, super::ticking(&dropped, ms(10), ["a", "b"])).await;
    let mut stream = assert_ready!(turn(&mut future).await)
        .unwrap()
        .into_stream();
    drop(future);
    assert_eq!(next(&mut stream).await.unwrap().unwrap(), "a");
    assert_eq!(next(&mut stream).await.unwrap().unwrap(), "b");
    assert!(outcomes.is_held());
    assert_eq!(dropped.get(), 0);
    assert!(next(&mut stream).await.is_none());
    assert_eq!(dropped.get(), 1);
    assert!(next(&mut stream).await.is_none());
    assert_eq!(outcomes.outcomes().await, [Outcome::Completed]);
}

pub(crate) async fn streamed_answer_that_fails_ends_the_call<L: Layers<Mock>>(layer: L) {
    let (mut service, mut handle) = mock(&layer);
    let call = call();
    let outcomes = told(call.context());
    let dropped = Count::default();
    let mut future = tokio_test::task::spawn(service.call(call));
    let pieces: [Result<_, BoxError>; 3] = [
        Ok(Content::from("a")),
        Err("disk full".into()),
        Ok(Content::from("b")),
    ];
    let pieces = super::tracked(&dropped, futures_util::stream::iter(pieces));
    answer(&mut handle, pieces).await;
    let mut stream = assert_ready!(turn(&mut future).await)
        .unwrap()
        .into_stream();
    assert_eq!(next(&mut stream).await.unwrap().unwrap(), "a");
    let failed = next(&mut stream).await.unwrap().unwrap_err();
    assert_eq!(
        (failed.kind(), failed.tool()),
        (ErrorKind::Tool, Some("tool"))
    );
    assert_eq!(dropped.get(), 1);
    assert!(next(&mut stream).await.is_none());
    assert_eq!(outcomes.outcomes().await, [Outcome::Failed]);
}

pub(crate) async fn service_dropped_while_a_call_runs_does_not_end_it<L: Layers<Mock>>(layer: L) {
    let (mut service, mut handle) = mock(&layer);
    let mut future = tokio_test::task::spawn(service.call(call()));
    assert_pending!(turn(&mut future).await);
    drop((service, layer));
    answer(&mut handle, ToolOutput::text("done")).await;
    assert_eq!(text(assert_ready!(turn(&mut future).await)).await, "done");
}

pub(crate) async fn an_answer_that_is_there_comes_at_the_first_poll<L: Layers<Probe>>(layer: L) {
    let mut service = layer.layer(Probe::ready());
    let mut future = tokio_test::task::spawn(service.call(call()));
    assert_eq!(text(assert_ready!(future.poll())).await, "done");
}

pub(crate) async fn panic_in_the_tool_reaches_the_caller_and_is_the_outcome<L: Layers<Probe>>(
    layer: L,
) {
    let probe = Probe::panics_in_work();
    let mut service = layer.layer(probe.view());
    let call = call();
    let outcomes = told(call.context());
    let panic = AssertUnwindSafe(service.call(call)).catch_unwind().await;
    assert_eq!(panicked(panic), "in the work");
    assert_eq!(probe.dropped(), 1);
    assert_eq!(outcomes.outcomes().await, [Outcome::Panicked]);
}

pub(crate) async fn panic_in_inner_poll_ready_is_the_outcome<L: Layers<Probe>>(layer: L) {
    let probe = Probe::ready().with(Readiness::Panics);
    let mut service = layer.layer(probe.view());
    let call_ = call();
    let outcomes = told(call_.context());
    let panic = catch_unwind(AssertUnwindSafe(|| drop(service.call(call_))));
    assert_eq!(panicked(panic), "in poll_ready");
    assert_eq!(outcomes.outcomes().await, [Outcome::Panicked]);
    probe.set(Readiness::Ready);
    assert_eq!(text(service.call(call()).await).await, "done");
}

pub(crate) async fn panic_in_inner_poll_ready_after_a_wait_is_the_outcome<L: Layers<Probe>>(
    layer: L,
) {
    let probe = Probe::ready().with(Readiness::Pending);
    let mut service = layer.layer(probe.view());
    let call = call();
    let outcomes = told(call.context());
    let mut future = tokio_test::task::spawn(service.call(call));
    assert_pending!(turn(&mut future).await);
    probe.set(Readiness::Panics);
    let panic = catch_unwind(AssertUnwindSafe(|| future.poll().is_pending()));
    assert_eq!(panicked(panic), "in poll_ready");
    assert_eq!(outcomes.outcomes().await, [Outcome::Panicked]);
}

pub(crate) async fn panic_in_inner_call_is_the_outcome<L: Layers<Probe>>(layer: L) {
    let probe = Probe::panics_in_call();
    let mut service = layer.layer(probe.view());
    let call = call();
    let outcomes = told(call.context());
    let panic = catch_unwind(AssertUnwindSafe(|| drop(service.call(call))));
    assert_eq!(panicked(panic), "in call");
    assert_eq!(outcomes.outcomes().await, [Outcome::Panicked]);
}

pub(crate) async fn panic_in_a_streamed_answer_is_the_outcome<L: Layers<Mock>>(layer: L) {
    let (mut service, mut handle) = mock(&layer);
    let call = call();
    let outcomes = told(call.context());
    let dropped = Count::default();
    let mut future = tokio_test::task::spawn(service.call(call));
    let pieces = futures_util::stream::iter([1, 2]).map(|piece| {
        if piece == 1 {
            Ok(Content::from("a"))
        } else {
            panic!("in the stream")
        }
    });
    answer(&mut handle, super::tracked(&dropped, pieces)).await;
    let mut stream = assert_ready!(turn(&mut future).await)
        .unwrap()
        .into_stream();
    assert_eq!(next(&mut stream).await.unwrap().unwrap(), "a");
    let panic = AssertUnwindSafe(next(&mut stream)).catch_unwind().await;
    assert_eq!(panicked(panic), "in the stream");
    assert_eq!(dropped.get(), 1);
    assert!(next(&mut stream).await.is_none());
    assert_eq!(outcomes.outcomes().await, [Outcome::Panicked]);
}

// === where panics are contained

/// The error of a call whose tool panicked with this text.
fn assert_panicked(answer: Reply, said: &str) {
    let error = error(answer);
    assert_eq!(
        (error.kind(), error.to_string()),
        (ErrorKind::Panicked, format!("the tool panicked: {said}"))
    );
    assert_eq!((error.tool(), error.is_retryable()), (Some("tool"), false));
}

/// Whether a call that this made is one that panicked, to its hooks as well.
async fn panics_with<L: Layers<Probe>>(layer: &L, probe: &Probe, said: &str) {
    let mut service = layer.layer(probe.view());
    let call_ = call();
    let outcomes = told(call_.context());
    assert_panicked(service.call(call_).await, said);
    assert_eq!(outcomes.outcomes().await, [Outcome::Panicked]);
    // It is as usable as it was.
    probe.set(Readiness::Fails);
    assert_eq!(error(service.call(call()).await).kind(), ErrorKind::Tool);
}

pub(crate) async fn panic_in_the_tool_is_the_error<L: Layers<Probe>>(layer: L) {
    let probe = Probe::panics_in_work();
    panics_with(&layer, &probe, "in the work").await;
    assert_eq!(probe.dropped(), 1);
}

/// Answers, or does not, and panics in its drop.
fn panics_in_drop(answers: bool) -> Probe {
    Probe::new(move |_| async move {
        let _bomb = scopeguard(|| panic!("in the drop"));
        if !answers {
            std::future::pending::<()>().await;
        }
        Ok(ToolOutput::text("done"))
    })
}

pub(crate) async fn panic_in_the_drop_of_the_tools_future_is_the_error<L: Layers<Probe>>(layer: L) {
    panics_with(&layer, &panics_in_drop(true), "in the drop").await;
}

pub(crate) async fn panic_in_the_drop_of_a_call_that_is_dropped_goes_no_further<
    L: Layers<Probe>,
>(
    layer: L,
) {
    let probe = panics_in_drop(false);
    let mut service = layer.layer(probe.view());
    let call = call();
    let outcomes = told(call.context());
    let mut future = tokio_test::task::spawn(service.call(call));
    assert_pending!(turn(&mut future).await);
    drop(future);
    assert_eq!(probe.dropped(), 1);
    assert_eq!(outcomes.outcomes().await, [Outcome::Cancelled]);
}

pub(crate) async fn panic_in_inner_poll_ready_is_the_error<L: Layers<Probe>>(layer: L) {
    let probe = Probe::ready().with(Readiness::Panics);
    panics_with(&layer, &probe, "in poll_ready").await;
}

pub(crate) async fn panic_in_inner_poll_ready_after_a_wait_is_the_error<L: Layers<Probe>>(
    layer: L,
) {
    let probe = Probe::ready().with(Readiness::Pending);
    let mut service = layer.layer(probe.view());
    let call = call();
    let outcomes = told(call.context());
    let mut future = tokio_test::task::spawn(service.call(call));
    assert_pending!(turn(&mut future).await);
    probe.set(Readiness::Panics);
    tasks().await;
    assert_panicked(assert_ready!(future.poll()), "in poll_ready");
    assert_eq!(outcomes.outcomes().await, [Outcome::Panicked]);
}

pub(crate) async fn panic_in_inner_call_is_the_error<L: Layers<Probe>>(layer: L) {
    panics_with(&layer, &Probe::panics_in_call(), "in call").await;
}

/// A streamed answer of this tool, whose first piece has been read.
async fn streaming<L: Layers<Probe>>(
    layer: &L,
    stream: fn(Count) -> ToolOutput,
) -> (toolbooth::ContentStream, super::Told, Count) {
    let dropped = Count::default();
    let counts = dropped.clone();
    let mut service = layer.layer(Probe::new(move |_| {
        std::future::ready(Ok(stream(counts.clone())))
    }));
    let call = call();
    let outcomes = told(call.context());
    let mut stream = service.call(call).await.unwrap().into_stream();
    assert_eq!(next(&mut stream).await.unwrap().unwrap(), "a");
    (stream, outcomes, dropped)
}

pub(crate) async fn panic_in_a_streamed_answer_is_its_error<L: Layers<Probe>>(layer: L) {
    let (mut stream, outcomes, dropped) = streaming(&layer, |dropped| {
        let pieces = futures_util::stream::iter([1, 2]).map(|piece| {
            if piece == 1 {
                Ok(Content::from("a"))
            } else {
                panic!("in the stream")
            }
        });
        super::tracked(&dropped, pieces)
    })
    .await;
    let last = next(&mut stream).await.unwrap();
    assert_panicked(last.map(ToolOutput::text), "in the stream");
    assert_eq!(dropped.get(), 1);
    assert!(next(&mut stream).await.is_none());
    assert_eq!(outcomes.outcomes().await, [Outcome::Panicked]);
}

/// Two pieces, and a panic in the drop.
fn stream_panics_in_drop(dropped: &Count) -> ToolOutput {
    let bomb = scopeguard(|| panic!("in the drop"));
    let two = ["a", "b"].map(|text| Ok::<_, BoxError>(Content::from(text)));
    let pieces = futures_util::stream::iter(two).map(move |piece| {
        let _ = &bomb;
        piece
    });
    super::tracked(dropped, pieces)
}

pub(crate) async fn panic_in_the_drop_of_a_streamed_answer_is_its_error<L: Layers<Probe>>(
    layer: L,
) {
    let (mut stream, outcomes, dropped) =
        streaming(&layer, |dropped| stream_panics_in_drop(&dropped)).await;
    assert_eq!(next(&mut stream).await.unwrap().unwrap(), "b");
    let last = next(&mut stream).await.unwrap();
    assert_panicked(last.map(ToolOutput::text), "in the drop");
    assert_eq!(dropped.get(), 1);
    assert!(next(&mut stream).await.is_none());
    assert_eq!(outcomes.outcomes().await, [Outcome::Panicked]);
}

pub(crate) async fn panic_in_the_drop_of_a_streamed_answer_that_is_dropped_goes_no_further<
    L: Layers<Probe>,
>(
    layer: L,
) {
    let (stream, outcomes, dropped) =
        streaming(&layer, |dropped| stream_panics_in_drop(&dropped)).await;
    drop(stream);
    assert_eq!(dropped.get(), 1);
    assert_eq!(outcomes.outcomes().await, [Outcome::Cancelled]);
}

pub(crate) async fn an_error_answer_is_ok_and_failed<L: Layers<Mock>>(layer: L) {
    let (mut service, mut handle) = mock(&layer);
    let call = call();
    let outcomes = told(call.context());
    let mut future = tokio_test::task::spawn(service.call(call));
    answer(&mut handle, ToolOutput::error("the file is empty")).await;
    assert!(assert_ready!(turn(&mut future).await).unwrap().is_error());
    assert_eq!(outcomes.outcomes().await, [Outcome::Failed]);
}

/// What a panic said.
pub(crate) fn panicked<T>(result: std::thread::Result<T>) -> &'static str {
    let panic = result.err().expect("a panic");
    panic.downcast_ref::<&str>().expect("a text")
}

/// Runs `f` when dropped.
pub(crate) fn scopeguard<F: FnMut()>(f: F) -> impl Drop {
    struct Guard<F: FnMut()>(F);
    impl<F: FnMut()> Drop for Guard<F> {
        fn drop(&mut self) {
            (self.0)();
        }
    }
    Guard(f)
}
