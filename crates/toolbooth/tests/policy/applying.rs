//! New policies while calls run and wait.

use tokio::time::sleep;
use toolbooth::policy::{
    BreakerSettings, Policies, PolicyErrorKind, Rate, RateSettings, ToolPolicy,
};
use toolbooth::{ErrorKind, Toolbox};
use toolbooth_test::{FailingTool, FastTool, SlowTool, call, count_ok};

use super::support::limits::ends;
use super::support::{call_all, error_of, ms, text_of};
use super::{policies, toolbox};

fn apply(toolbox: &Toolbox, toml: &str) -> String {
    let change = toolbox
        .apply(policies(toml))
        .expect("they name tools that are there");
    change.to_string()
}

fn concurrency(limit: &str) -> String {
    format!("tools.tool.concurrency = {limit}")
}

#[tokio::test(start_paused = true)]
async fn raised_limit_starts_calls_that_wait() {
    let toolbox = toolbox(&["tool"], &SlowTool::new(ms(100)), &concurrency("1"));
    let running = tokio::spawn(call_all(toolbox.clone(), (0..5).map(|_| call("tool"))));
    sleep(ms(50)).await;
    apply(&toolbox, &concurrency("3"));
    assert_eq!(ends(&running.await.unwrap()), [100, 150, 150, 200, 250]);
}

/// Calls of the new stack and of the old one share the limit.
#[tokio::test(start_paused = true)]
async fn lowered_limit_starts_nothing_until_fewer_run() {
    let tool = SlowTool::new(ms(100));
    let toolbox = toolbox(&["tool"], &tool, &concurrency("4"));
    let old = tokio::spawn(call_all(toolbox.clone(), (0..6).map(|_| call("tool"))));
    sleep(ms(50)).await;
    apply(&toolbox, &concurrency("1"));
    let new = tokio::spawn(call_all(toolbox.clone(), [call("tool")]));
    sleep(ms(60)).await;
    assert_eq!(tool.probe().running(), 1);
    assert_eq!(ends(&old.await.unwrap()), [100, 100, 100, 100, 200, 300]);
    // 50 ms after the others.
    assert_eq!(ends(&new.await.unwrap()), [350]);
}

/// Without the limit its waiters start. Its permits are still counted when it comes back.
#[tokio::test(start_paused = true)]
async fn removed_limit_starts_what_waits_and_its_state_is_kept_while_it_is_used() {
    let tool = SlowTool::new(ms(100));
    let toolbox = toolbox(&["tool"], &tool, &concurrency("1"));
    let old = tokio::spawn(call_all(toolbox.clone(), (0..3).map(|_| call("tool"))));
    sleep(ms(50)).await;
    assert_eq!(
        apply(&toolbox, ""),
        "tool tool: concurrency 1, queue 1024 -> none"
    );
    sleep(ms(10)).await;
    assert_eq!(tool.probe().running(), 3);
    apply(&toolbox, &concurrency("2"));
    let new = tokio::spawn(call_all(toolbox.clone(), [call("tool")]));
    // The first one ends at 100 ms and the others at 150 ms: then fewer than 2 run.
    assert_eq!(ends(&old.await.unwrap()), [100, 150, 150]);
    assert_eq!(ends(&new.await.unwrap()), [190]);
}

/// Tokens stay missing, whatever else changes, also while no policy names the limit.
#[tokio::test(start_paused = true)]
async fn list_of_rates_keeps_its_tokens_when_it_grows_and_shrinks() {
    let policies = |rates: &str| format!("default = {{ queue = 'none', rate = {rates} }}");
    let toolbox = toolbox(&["tool"], &FastTool::new(), &policies("['4/h', '9/h']"));
    let calls = |count: usize| call_all(toolbox.clone(), (0..count).map(|_| call("tool")));
    assert_eq!(count_ok(&calls(3).await), 3);
    // The third rate begins full, and has two tokens.
    apply(&toolbox, &policies("['7/h', '9/h', '2/h']"));
    assert_eq!(count_ok(&calls(9).await), 2);
    // Seven tokens less five.
    apply(&toolbox, &policies("['7/h', '9/h']"));
    assert_eq!(count_ok(&calls(9).await), 2);
    apply(&toolbox, &policies("'8/h'"));
    assert_eq!(count_ok(&calls(9).await), 1);
    // It had limited nothing meanwhile.
    apply(&toolbox, &policies("['100/h', '3/h']"));
    assert_eq!(count_ok(&calls(9).await), 3);
}

#[tokio::test(start_paused = true)]
async fn tokens_that_are_spent_stay_spent() {
    let rate = "default = { rate = '3/h', queue = 'none' }";
    let toolbox = toolbox(&["tool"], &FastTool::new(), rate);
    let calls = |count: usize| call_all(toolbox.clone(), (0..count).map(|_| call("tool")));
    assert_eq!(count_ok(&calls(2).await), 2);
    for toml in [
        "default.timeout = '1m'",
        "",
        "default.concurrency = 9",
        rate,
    ] {
        apply(&toolbox, toml);
    }
    assert_eq!(count_ok(&calls(2).await), 1);
    // Two more tokens, of a higher burst: those that are spent stay spent.
    apply(
        &toolbox,
        "default = { queue = 'none', rate = { per_hour = 3, burst = 5 } }",
    );
    assert_eq!(count_ok(&calls(3).await), 2);
}

#[tokio::test(start_paused = true)]
async fn each_rate_of_a_list_changes() {
    let toolbox = toolbox(
        &["tool"],
        &FastTool::new(),
        "default = { queue = 'none', rate = ['100/h', '1/h'] }",
    );
    let calls = |count: usize| call_all(toolbox.clone(), (0..count).map(|_| call("tool")));
    assert_eq!(count_ok(&calls(3).await), 1);
    apply(
        &toolbox,
        "default = { queue = 'none', rate = ['100/h', '3/h'] }",
    );
    assert_eq!(count_ok(&calls(5).await), 2);
    apply(
        &toolbox,
        "default = { queue = 'none', rate = ['4/h', '100/h'] }",
    );
    assert_eq!(count_ok(&calls(5).await), 1);
}

#[tokio::test(start_paused = true)]
async fn open_breaker_stays_open_under_other_rules() {
    let toolbox = toolbox(&["tool"], &FailingTool::new(0), "default.breaker = 2");
    let kind = || async { error_of(toolbox.clone(), call("tool")).await.kind() };
    assert_eq!(kind().await, ErrorKind::Tool);
    // One failure is counted.
    apply(&toolbox, "default.breaker = { failures = 2, open = '10s' }");
    assert_eq!(kind().await, ErrorKind::Tool);
    assert_eq!(kind().await, ErrorKind::CircuitOpen);
    apply(&toolbox, "");
    assert_eq!(kind().await, ErrorKind::Tool);
    apply(&toolbox, "default.breaker = 5");
    assert_eq!(kind().await, ErrorKind::CircuitOpen);
    sleep(ms(10_000)).await;
    assert_eq!(kind().await, ErrorKind::Tool);
}

/// A breaker that is half-open closes if as many probes as now suffice have succeeded.
#[tokio::test(start_paused = true)]
async fn half_open_breaker_closes_if_fewer_probes_suffice() {
    let tool = FailingTool::new(0);
    let fails = toolbox(
        &["tool"],
        &tool,
        "default.breaker = { failures = 1, open = '1s', probes = 3 }",
    );
    assert_eq!(
        error_of(fails.clone(), call("tool")).await.kind(),
        ErrorKind::Tool
    );
    fails.replace("tool", FastTool::new()).unwrap();
    assert_eq!(
        error_of(fails.clone(), call("tool")).await.kind(),
        ErrorKind::CircuitOpen
    );
    sleep(ms(1_000)).await;
    text_of(fails.clone(), call("tool")).await;
    apply(
        &fails,
        "default.breaker = { failures = 1, open = '1s', probes = 1 }",
    );
    for _ in 0..3 {
        text_of(fails.clone(), call("tool")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn queue_changes_for_calls_that_wait() {
    let waits = |wait: &str| {
        format!("default = {{ concurrency = 1, queue = {{ capacity = 9, max_wait = '{wait}' }} }}")
    };
    let toolbox = toolbox(&["tool"], &SlowTool::new(ms(100)), &waits("1s"));
    let running = tokio::spawn(call_all(toolbox.clone(), (0..4).map(|_| call("tool"))));
    sleep(ms(50)).await;
    apply(&toolbox, &waits("150ms"));
    let finished = running.await.unwrap();
    assert_eq!(ends(&finished), [100, 200, 150, 150]);
    assert_eq!(finished[3].error_kind(), Some(ErrorKind::Overloaded));
}

/// A call keeps the timeout that its stack had; later calls have the new one.
#[tokio::test(start_paused = true)]
async fn call_in_flight_keeps_its_stack() {
    let toolbox = toolbox(&["tool"], &SlowTool::new(ms(100)), "default.timeout = '1s'");
    let old = tokio::spawn(call_all(toolbox.clone(), [call("tool")]));
    sleep(ms(50)).await;
    apply(&toolbox, "default.timeout = '10ms'");
    let new = call_all(toolbox.clone(), [call("tool")]).await;
    assert_eq!(
        (ends(&new), new[0].error_kind()),
        (vec![10], Some(ErrorKind::Timeout))
    );
    assert_eq!(ends(&old.await.unwrap()), [100]);
}

#[tokio::test(start_paused = true)]
async fn tools_that_come_later_get_the_policies_and_a_replaced_one_keeps_its_limits() {
    let tool = SlowTool::new(ms(100));
    let toolbox = toolbox(&["tool"], &tool, "default.concurrency = 1");
    toolbox.insert("later", tool.clone()).unwrap();
    assert_eq!(
        toolbox.stack("later").unwrap().to_string(),
        "later\n└ concurrency 1, queue 1024 (tool)\n  └ tool\n"
    );
    let old = tokio::spawn(call_all(toolbox.clone(), [call("tool"), call("later")]));
    sleep(ms(50)).await;
    toolbox.replace("tool", tool.clone()).unwrap();
    let new = call_all(toolbox.clone(), [call("tool"), call("later")]).await;
    assert_eq!(ends(&old.await.unwrap()), [100, 100]);
    assert_eq!(ends(&new), [150, 150]);
}

#[tokio::test(start_paused = true)]
async fn fault_changes_nothing_and_has_its_place() {
    let toml = "default = { concurrency = 1, timeout = '1m' }";
    let toolbox = toolbox(&["search", "download"], &SlowTool::new(ms(100)), toml);
    let running = tokio::spawn(call_all(toolbox.clone(), (0..3).map(|_| call("search"))));
    sleep(ms(50)).await;
    let before = toolbox.stack("search");

    let unknown = "default.concurrency = 9\n[tools.serch]\nconcurrency = 3\n";
    let error = toolbox.apply(policies(unknown)).unwrap_err();
    assert_eq!(error.kind(), PolicyErrorKind::UnknownTool);
    assert_eq!(
        error.to_string(),
        "line 2, column 8, in `tools.serch`: there is no tool `serch`: did you mean `search`?"
    );
    let member = "[groups.web]\ntools = [\n  'search',\n  'downlod',\n]\nconcurrency = 9\n";
    let error = toolbox.apply(policies(member)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 4, column 3, in `groups.web.tools[1]`: there is no tool `downlod`: did you mean `download`?"
    );
    // Values that are set in code are checked when they are applied.
    let limited = |policy| Policies::new().with_default(policy);
    let of = RateSettings::from(Rate::per_second(0));
    let breaker = BreakerSettings::new().with_failure_rate(f64::NAN);
    for (policy, text) in [
        (
            ToolPolicy::new().with_concurrency(0),
            "in `default.concurrency`: 0 is not a whole number from 1 to 1000000",
        ),
        (
            ToolPolicy::new().with_timeout(ms(0)),
            "in `default.timeout`: 0ns is not a duration from 1ms to 365d, such as \"500ms\", \
             \"30s\" or \"1h 30m\"",
        ),
        (
            ToolPolicy::new().with_rate(of),
            "in `default.rate`: [\"0/s\"] is not a rate such as \"10/s\", \"600/m\", \"1000/h\" or \
             \"5000/d\", { per_second = 10, burst = 20 }, or a list of 1 to 8 rates",
        ),
        (
            ToolPolicy::new().with_breaker(breaker),
            "in `default.breaker.failure_rate`: NaN is not a number from 0 to 1",
        ),
    ] {
        let error = toolbox.apply(limited(policy)).unwrap_err();
        assert_eq!((error.to_string().as_str(), error.line()), (text, None));
    }

    assert_eq!(toolbox.stack("search"), before);
    assert_eq!(*toolbox.policies(), policies(toml));
    assert_eq!(ends(&running.await.unwrap()), [100, 200, 300]);
}

#[tokio::test(start_paused = true)]
async fn report_lists_what_changed() {
    let toolbox = toolbox(&["a", "b", "c"], &FastTool::new(), "");
    assert!(toolbox.apply(policies("")).unwrap().is_empty());
    assert_eq!(apply(&toolbox, ""), "nothing changed");
    let first = "
        default.timeout = '30s'
        groups.pair = { tools = ['a', 'b'], rate = '10/s' }
    ";
    assert_eq!(
        apply(&toolbox, first),
        "group pair: rate none -> 10/s, queue 1024\n\
         tool a: group none -> pair\n\
         tool a: timeout none -> 30s\n\
         tool b: group none -> pair\n\
         tool b: timeout none -> 30s\n\
         tool c: timeout none -> 30s"
    );
    let second = "
        default.timeout = '30s'
        groups.pair = { tools = ['a'], rate = '20/s' }
        tools.c = { priority = 3, idempotent = true }
    ";
    let change = toolbox.apply(policies(second)).unwrap();
    assert_eq!(
        change.to_string(),
        "group pair: rate 10/s, queue 1024 -> 20/s, queue 1024\n\
         tool b: group pair -> none\n\
         tool c: priority none -> 3\n\
         tool c: idempotent none -> true"
    );
    let rate = &change.settings()[0];
    assert_eq!(
        (rate.group.as_deref(), rate.tool.as_deref()),
        (Some("pair"), None)
    );
    assert_eq!(
        (rate.setting, rate.to.as_deref()),
        ("rate", Some("20/s, queue 1024"))
    );
    // The change of a limit is no change of the tools.
    let mut changes = toolbox.changes();
    apply(&toolbox, first);
    let changed = tokio::time::timeout(ms(10), changes.changed()).await;
    assert!(changed.is_err());
}

/// Policies that name a tool which is not there are an error of the builder.
#[test]
fn builder_rejects_policies_of_unknown_tools() {
    let builder = Toolbox::builder().tool("search", FastTool::new());
    let error = builder
        .policies(policies("tools.serch = {}"))
        .build()
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the policies are invalid: line 1, column 7, in `tools.serch`: there is no tool `serch`: \
         did you mean `search`?"
    );
}
