//! What every layer does.
//!
//! `every_layer!(layer)` tests a layer against all laws, in a module named `every_layer`.
//! `every_layer!(layer, catches panics)` is for a layer that turns panics into errors.

#![expect(clippy::unwrap_used, clippy::panic, reason = "only tests call this")]

mod catching;
mod dropping;
mod panics;
mod readiness;
mod responses;

use std::fmt::Debug;
use std::task::Poll;

pub(crate) use catching::*;
pub(crate) use dropping::*;
pub(crate) use panics::*;
pub(crate) use readiness::*;
pub(crate) use responses::*;
use tokio_test::task::Spawn;
use toolbooth::{BoxError, Content, ToolCall, ToolError, ToolOutput};
use tower::{Layer, Service};

use super::{Handle, Probe};

macro_rules! every_layer {
    ($layer:expr) => {
        crate::support::laws::every_layer! { $layer;
            ready_response_is_returned_at_the_first_poll
            panic_in_the_tool_propagates
            panic_in_inner_poll_ready_propagates
            panic_in_inner_poll_ready_after_a_wait_propagates
            panic_in_inner_call_propagates
            panic_in_a_streaming_response_propagates
        }
    };
    ($layer:expr, catches panics) => {
        crate::support::laws::every_layer! { $layer;
            panic_in_the_tool_is_the_error
            panic_in_the_drop_of_the_tools_future_is_the_error
            panic_in_the_drop_of_a_dropped_call_is_caught
            panic_in_inner_poll_ready_is_the_error
            panic_in_inner_poll_ready_after_a_wait_is_the_error
            panic_in_inner_call_is_the_error
            panic_in_a_streaming_response_is_its_error
            panic_in_the_drop_of_a_streaming_response_is_its_error
            panic_in_the_drop_of_a_dropped_streaming_response_is_caught
        }
    };
    ($layer:expr; $($more:ident)+) => {
        crate::support::laws::every_layer! { @ $layer;
            layer_service_and_future_are_send_and_print
            response_passes_through
            error_response_is_ok_and_its_outcome_failed
            streaming_response_ends_the_call_with_its_last_item
            failing_stream_ends_the_call
            tool_error_of_the_inner_service_is_not_boxed_again
            foreign_error_is_the_source_of_a_tool_error
            errors_of_tower_are_converted
            pending_call_is_woken_by_its_tool
            poll_ready_is_ready_and_does_not_touch_the_inner_service
            ready_inner_service_is_not_cloned
            unready_instance_moves_into_the_future_and_a_fresh_clone_stays
            readiness_error_fails_the_call_and_leaves_a_usable_service
            readiness_error_after_a_wait_fails_the_call
            inner_future_is_dropped_in_the_poll_that_completes_it
            future_dropped_before_its_first_poll_cancels_the_call
            future_dropped_while_unready_cancels_the_call
            future_dropped_while_running_cancels_the_call
            future_dropped_after_completion_changes_nothing
            streaming_response_dropped_half_read_cancels_the_call
            service_dropped_while_a_call_runs_does_not_end_it
            $($more)*
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

/// A layer that turns a tool into a tool.
pub(crate) trait Layers<S>: Layer<S, Service: Wrapped> {}

impl<S, L: Layer<S, Service: Wrapped>> Layers<S> for L {}

/// A tool under a layer.
pub(crate) trait Wrapped:
    Service<ToolCall, Response = ToolOutput, Error = ToolError, Future: Send + Debug + 'static>
    + Clone
    + Send
    + Sync
    + Debug
    + 'static
{
}

impl<S> Wrapped for S where
    S: Service<ToolCall, Response = ToolOutput, Error = ToolError, Future: Send + Debug + 'static>
        + Clone
        + Send
        + Sync
        + Debug
        + 'static
{
}

/// Lets tasks run until they wait.
async fn run_tasks() {
    for _ in 0..8 {
        tokio::task::yield_now().await;
    }
}

/// Polls, and polls again if a task has woken the future in the meantime.
async fn turn<F: Future>(future: &mut Spawn<F>) -> Poll<F::Output> {
    let polled = future.poll();
    if polled.is_ready() {
        return polled;
    }
    run_tasks().await;
    if future.is_woken() {
        future.poll()
    } else {
        polled
    }
}

/// Responds to the next request of a mock, and lets tasks run.
async fn respond(handle: &mut Handle, output: ToolOutput) {
    super::respond(handle, output).await;
    run_tasks().await;
}

/// A streaming response of `a` and `b` which panics instead of the item after `good`.
fn panics_after(probe: &Probe, good: usize) -> ToolOutput {
    let items = ["a", "b"].into_iter().enumerate().map(move |(at, text)| {
        assert!(at < good, "in the stream");
        Ok::<_, BoxError>(Content::from(text))
    });
    super::streaming(probe, futures_util::stream::iter(items))
}
