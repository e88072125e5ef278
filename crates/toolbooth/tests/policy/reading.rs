//! Policies from TOML, JSON and code.

use std::time::Duration;

use toolbooth::policy::{
    BreakerSettings, Keep, PartialSettings, Policies, QueueOrder, QueueSettings, Rate,
    RateSettings, RetrySettings, Setting, ToolPolicy,
};
use toolbooth_test::ms;

/// Every setting in its long form.
const FULL: &str = r#"
[default]
timeout = "1m 30s"
attempt_timeout = "20s"
idle_timeout = "5s"
first_item_timeout = "1500ms"
grace = "500ms"
concurrency = 4
queue = { capacity = 64, max_wait = "5s", order = "priority", aging = "10s" }
rate = { per_second = 10, burst = 20 }
retry = { attempts = 4, backoff = "50ms", max_backoff = "2s", max_retry_after = "30s", budget = 0.1 }
priority = -1
partial = { items = 100, bytes = 4096, keep = "last" }
idempotent = true

[default.breaker]
failures = 3
failure_rate = 0.5
slow = "2s"
slow_rate = 0.25
window = "30s"
min_calls = 20
open = "10s"
probes = 2

[groups.github]
tools = ["search", "issues"]
concurrency = 8
rate = ["10/s", { per_day = 5000, burst = 100 }]

[tools.search]
timeout = "none"
queue = 16
rate = "600/m"
breaker = 5
retry = 3
partial = 10
"#;

fn full() -> Policies {
    let seconds = Duration::from_secs;
    let queue = QueueSettings::new()
        .with_capacity(64)
        .with_max_wait(seconds(5))
        .with_order(QueueOrder::Priority)
        .with_aging(seconds(10));
    let breaker = BreakerSettings::new()
        .with_failures(3)
        .with_failure_rate(0.5)
        .with_slow(seconds(2))
        .with_slow_rate(0.25)
        .with_window(seconds(30))
        .with_min_calls(20)
        .with_open(seconds(10))
        .with_probes(2);
    let retry = RetrySettings::new()
        .with_attempts(4)
        .with_backoff(ms(50))
        .with_max_backoff(seconds(2))
        .with_max_retry_after(seconds(30))
        .with_budget(0.1);
    let partial = PartialSettings::new()
        .with_items(100)
        .with_bytes(4_096)
        .with_keep(Keep::Last);
    let default = ToolPolicy::new()
        .with_timeout(seconds(90))
        .with_attempt_timeout(seconds(20))
        .with_idle_timeout(seconds(5))
        .with_first_item_timeout(ms(1_500))
        .with_grace(ms(500))
        .with_concurrency(4)
        .with_queue(queue)
        .with_rate(RateSettings::from(Rate::per_second(10).with_burst(20)))
        .with_breaker(breaker)
        .with_retry(retry)
        .with_priority(-1)
        .with_partial(partial)
        .with_idempotent(true);
    let rates = [Rate::per_second(10), Rate::per_day(5_000).with_burst(100)];
    let github = ToolPolicy::new()
        .with_concurrency(8)
        .with_rate(RateSettings::from_iter(rates));
    let search = ToolPolicy::new()
        .with_timeout(None)
        .with_queue(QueueSettings::new().with_capacity(16))
        .with_rate(RateSettings::from(Rate::per_minute(600)))
        .with_breaker(BreakerSettings::new().with_failures(5))
        .with_retry(RetrySettings::new().with_attempts(3))
        .with_partial(PartialSettings::new().with_items(10));
    Policies::new()
        .with_default(default)
        .with_group("github", ["search", "issues"], github)
        .with_tool("search", search)
}

#[test]
fn toml_and_code_give_the_same_policies() {
    assert_eq!(Policies::from_toml(FULL), Ok(full()));
}

/// What is written is read as the same policies, in JSON and as a value of serde.
#[test]
fn policies_are_written_as_they_are_read() {
    let json = serde_json::to_string_pretty(&full()).unwrap();
    assert_eq!(Policies::from_json(&json), Ok(full()));
    let value: Policies = serde_json::from_str(&json).unwrap();
    assert_eq!(value, full());
    let empty = serde_json::to_string(&Policies::new()).unwrap();
    assert_eq!(empty, r#"{"default":{},"groups":{},"tools":{}}"#);
}

#[test]
fn no_text_and_unset_settings_are_no_policy() {
    assert_eq!(Policies::from_toml(""), Ok(Policies::new()));
    assert_eq!(
        Policies::from_toml("# nothing\n[default]\n"),
        Ok(Policies::new())
    );
    assert_eq!(Policies::from_json("{}"), Ok(Policies::new()));
    assert_eq!(ToolPolicy::new().timeout, Setting::Unset);
}

#[test]
fn durations_have_units_and_may_have_several() {
    for (text, expected) in [
        ("1ms", 1),
        ("500ms", 500),
        ("30s", 30_000),
        ("2m", 120_000),
        ("1h 30m", 5_400_000),
        ("1h30m", 5_400_000),
        ("1d", 86_400_000),
        ("365d", 31_536_000_000),
    ] {
        let policies = Policies::from_toml(&format!("default.timeout = \"{text}\"")).unwrap();
        assert_eq!(
            policies.default.timeout,
            Setting::Value(ms(expected)),
            "{text}"
        );
    }
}

#[test]
fn rates_have_a_unit_and_a_burst() {
    for (text, calls, seconds, burst) in [
        (r#""10/s""#, 10, 1, None),
        (r#""600/m""#, 600, 60, None),
        (r#""1000/h""#, 1_000, 3_600, None),
        (r#""5000/d""#, 5_000, 86_400, None),
        (r#""10 / s""#, 10, 1, None),
        ("{ per_minute = 7 }", 7, 60, None),
        ("{ per_hour = 7, burst = 9 }", 7, 3_600, Some(9)),
    ] {
        let policies = Policies::from_toml(&format!("default.rate = {text}")).unwrap();
        let rates = &policies.default.rate.value().unwrap().rates;
        let [rate] = rates.as_slice() else {
            panic!("{text}: {rates:?}")
        };
        let read = (rate.calls, rate.per.as_secs(), rate.burst);
        assert_eq!(read, (calls, seconds, burst), "{text}");
    }
}

/// 0, `none` and an absent setting are three things.
#[test]
fn none_switches_a_setting_off() {
    let text = r#"
        default = { timeout = "30s", concurrency = 4, rate = "1/s", queue = "none" }
        groups.free = { tools = ["read", "write"], concurrency = "none" }
        tools.read = { timeout = "none", rate = "none" }
    "#;
    let policies = Policies::from_toml(text).unwrap();
    let stack = |tool| policies.stack(tool).to_string();
    assert_eq!(stack("read"), "read, group free\n└ tool\n");
    assert_eq!(
        stack("write"),
        "write, group free\n└ timeout 30s\n  └ rate 1/s, no queue (tool)\n    └ tool\n"
    );
    assert_eq!(
        stack("other"),
        "other\n└ timeout 30s\n  └ rate 1/s, no queue (tool)\n    \
         └ concurrency 4, no queue (tool)\n      └ tool\n"
    );
}

/// The recommended order, with the limits of the tool outside of the group's.
#[test]
fn stack_shows_each_layer_and_its_limits() {
    let policies = full();
    assert_eq!(
        policies.stack("issues").to_string(),
        "\
issues, group github, priority -1, idempotent
└ timeout 1m 30s
  └ retry 4 attempts, backoff 50ms to 2s, budget 0.1
    └ breaker 3 failures in a row or 0.5 of the calls of 30s fail or 0.25 of the calls of 30s take 2s, open 10s (tool)
      └ rate 10/s burst 20, queue 64, wait 5s, by priority, aging 10s (tool)
        └ rate 10/s and 5000/d burst 100, queue 64, wait 5s, by priority, aging 10s (group github)
          └ concurrency 4, queue 64, wait 5s, by priority, aging 10s (tool)
            └ concurrency 8, queue 64, wait 5s, by priority, aging 10s (group github)
              └ timeout of an attempt 20s, idle 5s, first item 1s 500ms, grace 500ms
                └ partial results last 100 items, 4096 bytes
                  └ tool
"
    );
    assert_eq!(
        policies.stack("search").to_string(),
        "\
search, group github, priority -1, idempotent
└ retry 3 attempts, backoff 100ms to 10s, budget 0.2
  └ breaker 5 failures in a row, open 30s (tool)
    └ rate 600/m, queue 16, by priority (tool)
      └ rate 10/s and 5000/d burst 100, queue 64, wait 5s, by priority, aging 10s (group github)
        └ concurrency 4, queue 16, by priority (tool)
          └ concurrency 8, queue 64, wait 5s, by priority, aging 10s (group github)
            └ timeout of an attempt 20s, idle 5s, first item 1s 500ms, grace 500ms
              └ partial results first 10 items, 1048576 bytes
                └ tool
"
    );
    assert_eq!(Policies::new().stack("a").to_string(), "a\n└ tool\n");
}

/// A megabyte of policies is read in linear time.
#[test]
fn megabyte_of_policies_is_read() {
    use std::fmt::Write;

    let mut text = String::new();
    for tool in 0..20_000 {
        let _ = write!(
            text,
            "[tools.tool_{tool}]\ntimeout = \"{}s\"\nrate = \"10/s\"\n",
            tool + 1
        );
    }
    assert!(text.len() > 1_000_000);
    let policies = Policies::from_toml(&text).unwrap();
    assert_eq!(policies.tools.len(), 20_000);
    let last = &policies.tools["tool_19999"];
    assert_eq!(last.timeout, Setting::Value(Duration::from_secs(20_000)));
}
