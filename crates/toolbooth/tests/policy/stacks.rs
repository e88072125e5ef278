//! What the stack of a tool does.

use std::time::Duration;

use serde_json::json;
use toolbooth::policy::Policies;
use toolbooth::{
    CallContext, CleanupLayer, ErrorKind, TimeoutScope, ToolAnnotations, ToolError, ToolSpec,
    Toolbox, tool_fn,
};
use toolbooth_test::{FailingTool, FastTool, Recorder, SlowTool, count_ok};

use super::support::limits::ends;
use super::support::{call_all, ms, timeout};
use super::{policies, toolbox};
use crate::support::{error, error_of, texts};
use toolbooth_test::call;
use tower::ServiceExt;

/// Each tool has the limit of the default for itself, and the members of a group share theirs.
#[tokio::test(start_paused = true)]
async fn default_is_a_limit_of_each_tool_and_that_of_a_group_is_shared() {
    let toml = "
        default.concurrency = 2
        groups.pair = { tools = ['a', 'b'], concurrency = 3 }
    ";
    let tool = SlowTool::new(ms(100));
    let toolbox = toolbox(&["a", "b", "c"], &tool, toml);
    let calls = ["a", "a", "a", "b", "b", "b", "c", "c", "c"].map(call);
    let finished = call_all(toolbox, calls).await;
    // a and b run three calls at once together, but each at most two; c is alone. A call that waits
    // for the limit of its tool holds no permit of the group.
    assert_eq!(
        ends(&finished),
        [100, 100, 200, 100, 200, 200, 100, 100, 200]
    );
}

#[tokio::test(start_paused = true)]
async fn timeout_covers_all_attempts_and_attempt_timeout_each() {
    let toml = "
        [default]
        timeout = '350ms'
        attempt_timeout = '100ms'
        idempotent = true
        retry = { attempts = 10, backoff = '1ms', max_backoff = '1ms' }
    ";
    let tool = SlowTool::new(Duration::from_secs(5));
    let probe = tool.probe().clone();
    let toolbox = toolbox(&["slow"], &tool, toml);
    let error = error_of(toolbox, call("slow")).await;
    assert_eq!(timeout(&error), (TimeoutScope::Total, 350, 350));
    assert_eq!(probe.started(), 4);
    assert_eq!(error.layer(), Some("timeout of slow"));
}

/// A policy states whether a tool is idempotent, in place of its annotations.
#[tokio::test(start_paused = true)]
async fn idempotence_of_the_policy_comes_before_that_of_the_tool() {
    let attempts = Recorder::new();
    let failing = |name: &'static str| {
        let attempts = attempts.clone();
        tool_fn(name, move |context: CallContext, (): ()| {
            attempts.record(context.tool().to_owned());
            async { Err::<String, _>(ToolError::failed("it fails")) }
        })
    };
    let reads = ToolAnnotations::new().with_read_only(true);
    let toml = "
        default.retry = { attempts = 2, backoff = '1ms' }
        tools.policy = { idempotent = true }
        tools.neither = { idempotent = false }
    ";
    let toolbox = Toolbox::builder()
        .tool(
            ToolSpec::new("annotated").with_annotations(reads),
            failing("annotated"),
        )
        .tool("policy", failing("policy"))
        .tool(
            ToolSpec::new("neither").with_annotations(reads),
            failing("neither"),
        )
        .policies(policies(toml))
        .build()
        .unwrap();
    for (tool, expected) in [("annotated", 2), ("policy", 2), ("neither", 1)] {
        let before = attempts.times().len();
        error_of(toolbox.clone(), call(tool)).await;
        assert_eq!(attempts.times().len() - before, expected, "{tool}");
    }
}

/// Rejections carry the name of the group or the tool whose limit it is.
#[tokio::test(start_paused = true)]
async fn rejection_names_the_group_or_the_tool() {
    let toml = "
        default = { queue = 'none', concurrency = 2 }
        groups.pair = { tools = ['a', 'b'], concurrency = 1 }
        tools.d.rate = '1/s'
    ";
    let toolbox = toolbox(&["a", "b", "c", "d"], &SlowTool::new(ms(100)), toml);
    let finished = call_all(toolbox, ["a", "b", "c", "c", "c", "d", "d"].map(call)).await;
    let rejected = |at: usize| {
        let error = finished[at].result.as_ref().unwrap_err();
        (error.kind(), error.layer().unwrap().to_owned())
    };
    assert_eq!(
        rejected(1),
        (ErrorKind::Overloaded, "concurrency of pair".into())
    );
    assert_eq!(
        rejected(4),
        (ErrorKind::Overloaded, "concurrency of c".into())
    );
    assert_eq!(rejected(6), (ErrorKind::RateLimited, "rate of d".into()));
    assert_eq!(count_ok(&finished), 4);
}

/// The breakers are outside of the rates.
#[tokio::test(start_paused = true)]
async fn open_breaker_of_a_group_rejects_before_a_token_is_taken() {
    let toml = "
        default = { rate = '1/h', queue = 'none' }
        groups.pair = { tools = ['a', 'b'], breaker = 1 }
    ";
    let toolbox = toolbox(&["a", "b"], &FailingTool::new(0), toml);
    assert_eq!(
        error_of(toolbox.clone(), call("a")).await.kind(),
        ErrorKind::Tool
    );
    for tool in ["a", "b"] {
        let error = error_of(toolbox.clone(), call(tool)).await;
        assert_eq!(error.kind(), ErrorKind::CircuitOpen, "{tool}");
        assert_eq!(error.layer(), Some("breaker of pair"), "{tool}");
    }
}

/// A tool with a priority starts before the other members of its group.
#[tokio::test(start_paused = true)]
async fn tool_with_a_priority_precedes_the_others_of_its_group() {
    let toml = "
        groups.pair = { tools = ['slow', 'urgent'], concurrency = 1 }
        tools.urgent.priority = 5
    ";
    let toolbox = toolbox(&["slow", "urgent"], &SlowTool::new(ms(100)), toml);
    let calls = [
        call("slow"),
        call("slow"),
        call("urgent"),
        call("slow").with_priority(9),
        call("urgent").with_priority(1),
    ];
    let finished = call_all(toolbox, calls).await;
    assert_eq!(ends(&finished), [100, 500, 300, 200, 400]);
}

/// With four calls of tenant `a` in the queue, the first one of `b` is the second to start.
#[tokio::test(start_paused = true)]
async fn tenants_take_turns_in_a_fair_queue() {
    let fair = "tools.tool = { concurrency = 1, queue = { order = 'fair' } }";
    let calls = || ["a", "a", "a", "a", "a", "b"].map(|tenant| call("tool").with_tenant(tenant));
    let tool = SlowTool::new(ms(100));
    let finished = call_all(toolbox(&["tool"], &tool, fair), calls()).await;
    assert_eq!(ends(&finished), [100, 200, 400, 500, 600, 300]);
    // Control.
    let fifo = "tools.tool = { concurrency = 1 }";
    let finished = call_all(toolbox(&["tool"], &tool, fifo), calls()).await;
    assert_eq!(ends(&finished), [100, 200, 300, 400, 500, 600]);
}

#[tokio::test(start_paused = true)]
async fn partial_results_are_kept_within_the_bounds() {
    let tool = tool_fn("emits", async |call: CallContext, (): ()| {
        for item in 0..5 {
            call.emit(format!("{item}"));
        }
        Err::<String, _>(ToolError::failed("at the end"))
    });
    let toml = "
        tools.first.partial = 2
        tools.last.partial = { items = 2, keep = 'last' }
    ";
    let toolbox = toolbox(&["first", "last", "none"], &tool, toml);
    let kept = |name| {
        let response = toolbox.clone().oneshot(call(name));
        async move {
            let error = error(response.await);
            let partial = error.partial();
            partial.map(|partial| texts(partial.contents()).join(" "))
        }
    };
    assert_eq!(kept("first").await.as_deref(), Some("0 1"));
    assert_eq!(kept("last").await.as_deref(), Some("3 4"));
    assert_eq!(kept("none").await, None);
}

/// Layers of the toolbox are inside of the stack, so that cleanup is inside of the permit.
#[tokio::test(start_paused = true)]
async fn layers_of_the_toolbox_are_inside_of_the_stack() {
    let cleanup = CleanupLayer::new();
    let toolbox = Toolbox::builder()
        .tool("fast", FastTool::new())
        .layer(cleanup)
        .policies(policies("default.concurrency = 4"))
        .build()
        .unwrap();
    let stack = toolbox.stack("fast").unwrap();
    assert_eq!(
        stack.to_string(),
        "fast\n└ concurrency 4, queue 1024 (tool)\n  └ 1 layer of the toolbox, and the tool\n"
    );
    assert!(toolbox.stack("other").is_none());
    let output = toolbox
        .oneshot(toolbooth::ToolCall::new("fast", json!({})))
        .await;
    assert!(output.is_ok());
}

#[test]
fn group_names_tools_by_their_start_and_the_longest_start_applies() {
    let policies = Policies::from_toml(
        "
        groups.all = { tools = ['*'], timeout = '1s' }
        groups.x = { tools = ['x_*'], timeout = '2s' }
        groups.xy = { tools = ['x_y_*', 'other'], timeout = '3s' }
        ",
    )
    .unwrap();
    for (tool, timeout) in [
        ("a", "1s"),
        ("x", "1s"),
        ("x_", "2s"),
        ("x_1", "2s"),
        ("x_y", "2s"),
        ("x_y_1", "3s"),
        ("other", "3s"),
        ("others", "1s"),
    ] {
        let stack = policies.stack(tool).to_string();
        assert!(
            stack.contains(&format!("timeout {timeout}\n")),
            "{tool}: {stack}"
        );
    }
}

#[test]
fn absent_tools_are_allowed_on_request_and_found_by_a_check() {
    let text = "tools.serch = { timeout = '1s' }\ngroups.g = { tools = ['search', 'later'] }";
    let tool = SlowTool::new(ms(1));
    let toolbox = Toolbox::builder().tool("search", tool).build().unwrap();
    let policies = Policies::from_toml(text).unwrap();
    assert!(toolbox.apply(policies.clone()).is_err());

    let policies = policies.with_absent_tools(true);
    toolbox.apply(policies.clone()).unwrap();
    let error = toolbox.check(&policies).unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 2, column 33, in `groups.g.tools[1]`: there is no tool `later`"
    );
    // A tool that comes has the limits that wait for it.
    toolbox.insert("serch", SlowTool::new(ms(1))).unwrap();
    let stack = toolbox.stack("serch").unwrap().to_string();
    assert_eq!(stack, "serch\n└ timeout 1s\n  └ tool\n");
}
