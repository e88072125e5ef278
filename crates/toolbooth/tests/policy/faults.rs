//! Policies that cannot be used: each error has the place of the fault, and what is allowed.

use toolbooth::policy::{MAX_TEXT, Policies, PolicyErrorKind, Rate};

const SETTINGS: &str = "expected one of `timeout`, `attempt_timeout`, `idle_timeout`, \
    `first_item_timeout`, `grace`, `concurrency`, `queue`, `rate`, `breaker`, `retry`, \
    `priority`, `partial`, `idempotent`";
const DURATION: &str =
    "expected a duration from 1ms to 365d, such as \"500ms\", \"30s\" or \"1h 30m\", or \"none\"";
const RATE: &str = "expected a rate such as \"10/s\", \"600/m\", \"1000/h\" or \"5000/d\", \
    { per_second = 10, burst = 20 }, or a list of 1 to 8 rates, or \"none\"";
const COUNT: &str = "expected a whole number from 1 to 1000000";

/// Asserts that each text of `faults` has this place, this path and this message.
fn assert_faults(faults: &[(&str, (usize, usize), &str, &str)]) {
    for (text, at, path, message) in faults {
        let error = Policies::from_toml(text).expect_err("a fault");
        let place = error.line().zip(error.column());
        let found = (place, error.path(), error.message());
        assert_eq!(found, (Some(*at), *path, *message), "{text}");
        assert_eq!(error.kind(), PolicyErrorKind::Invalid, "{text}");
    }
}

#[test]
fn value_out_of_range_or_without_a_unit_is_an_error_at_its_place() {
    let wrong = |value: &str, expected: &str| format!("invalid value: {value}, {expected}");
    let count_or_none = format!("{COUNT}, or \"none\"");
    assert_faults(&[
        (
            "[tools.search]\ntimeout = 30",
            (2, 11),
            "tools.search.timeout",
            &wrong("integer `30`", DURATION),
        ),
        (
            "[tools.search]\n  timeout = \"30\"",
            (2, 13),
            "tools.search.timeout",
            &wrong("string \"30\"", DURATION),
        ),
        (
            "default.timeout = \"0s\"",
            (1, 19),
            "default.timeout",
            &wrong("string \"0s\"", DURATION),
        ),
        (
            "default.timeout = \"-1s\"",
            (1, 19),
            "default.timeout",
            &wrong("string \"-1s\"", DURATION),
        ),
        (
            "default.timeout = \"100years\"",
            (1, 19),
            "default.timeout",
            &wrong("string \"100years\"", DURATION),
        ),
        (
            "default.timeout = nan",
            (1, 19),
            "default.timeout",
            &wrong("floating point `NaN`", DURATION),
        ),
        (
            "# \u{fc}\ndefault.rate = \"10/x\"",
            (2, 16),
            "default.rate",
            &wrong("string \"10/x\"", RATE),
        ),
        (
            "default.rate = \"0/s\"",
            (1, 16),
            "default.rate",
            &wrong("string \"0/s\"", RATE),
        ),
        (
            "default.rate = []",
            (1, 16),
            "default.rate",
            &wrong("sequence", RATE),
        ),
        (
            "[default]\nrate = { per_second = 0 }",
            (2, 23),
            "default.rate.per_second",
            &wrong("integer `0`", COUNT),
        ),
        (
            "default.concurrency = 0",
            (1, 23),
            "default.concurrency",
            &wrong("integer `0`", &count_or_none),
        ),
        (
            "default.concurrency = -4",
            (1, 23),
            "default.concurrency",
            &wrong("integer `-4`", &count_or_none),
        ),
        (
            "default.concurrency = 1.5",
            (1, 23),
            "default.concurrency",
            &wrong("floating point `1.5`", &count_or_none),
        ),
        (
            "default.breaker = { failure_rate = 50.0 }",
            (1, 36),
            "default.breaker.failure_rate",
            &wrong("floating point `50.0`", "expected a number from 0 to 1"),
        ),
        (
            "default.breaker = { failure_rate = nan }",
            (1, 36),
            "default.breaker.failure_rate",
            &wrong("floating point `NaN`", "expected a number from 0 to 1"),
        ),
        (
            "default.breaker = { probes = 0 }",
            (1, 30),
            "default.breaker.probes",
            &wrong("integer `0`", COUNT),
        ),
        (
            "default.priority = \"high\"",
            (1, 20),
            "default.priority",
            &wrong(
                "string \"high\"",
                "expected a whole number such as 10 or -1",
            ),
        ),
    ]);
}

#[test]
fn unknown_key_is_an_error_with_the_keys_that_are_allowed_and_the_nearest() {
    let unknown = |key: &str, nearest: &str| {
        format!("unknown field `{key}`, {SETTINGS}: did you mean {nearest}?")
    };
    assert_faults(&[
        (
            "[tools.search]\ntimout = \"30s\"",
            (2, 1),
            "tools.search.timout",
            &unknown("timout", "`timeout`"),
        ),
        (
            "[tool.search]\ntimeout = \"30s\"",
            (1, 2),
            "tool",
            "unknown field `tool`, expected one of `default`, `groups`, `tools`: did you mean `tools`?",
        ),
        (
            "[groups.github]\ntools = []\nxyz = 1",
            (3, 1),
            "groups.github.xyz",
            &format!(
                "unknown field `xyz`, {}",
                SETTINGS.replace("of ", "of `tools`, ")
            ),
        ),
        (
            "default.queue = { order = \"lifo\" }",
            (1, 27),
            "default.queue.order",
            "unknown variant `lifo`, expected one of `fifo`, `priority`, `fair`",
        ),
    ]);
}

#[test]
fn wrong_shape_is_an_error() {
    assert_faults(&[
        (
            "default = 5",
            (1, 11),
            "default",
            "invalid type: integer `5`, expected a table of settings",
        ),
        (
            "[tools]\na = \"b\"",
            (2, 5),
            "tools.a",
            "invalid type: string \"b\", expected a table of settings",
        ),
        (
            "[groups.a]\nconcurrency = 1",
            (1, 1),
            "groups.a",
            "missing field `tools`",
        ),
        (
            "default.rate = { per_second = 1, per_day = 2 }",
            (1, 16),
            "default.rate",
            "a rate has one of per_second, per_minute, per_hour and per_day",
        ),
        (
            "default.rate = [\"1/s\", 3]",
            (1, 24),
            "default.rate[1]",
            "invalid value: integer `3`, expected a rate such as \"10/s\", \"600/m\", \"1000/h\" \
             or \"5000/d\", or { per_second = 10, burst = 20 }",
        ),
        (
            "default.timeout = [\"1s\"]",
            (1, 19),
            "default.timeout",
            "invalid type: sequence, expected a duration from 1ms to 365d, such as \"500ms\", \
             \"30s\" or \"1h 30m\"",
        ),
    ]);
}

#[test]
fn tool_in_two_groups_is_an_error() {
    assert_faults(&[
        (
            "[groups.a]\ntools = [\"x\"]\n[groups.b]\ntools = [\"y\", \"x\"]",
            (4, 15),
            "groups.b.tools[1]",
            "`x` is in the group `a`: a tool is in one group",
        ),
        (
            "groups.a.tools = [\"x\", \"x\"]",
            (1, 24),
            "groups.a.tools[1]",
            "`x` is in the group `a`: a tool is in one group",
        ),
        (
            "[groups.\"\"]\ntools = []",
            (1, 9),
            "groups.",
            "the name of a group has from 1 to 128 bytes",
        ),
    ]);
}

#[test]
fn text_that_is_no_toml_is_an_error_of_syntax() {
    let error = Policies::from_toml("default.timeout = \"1s\"\n[default").unwrap_err();
    assert_eq!((error.kind(), error.path()), (PolicyErrorKind::Syntax, ""));
    assert_eq!(
        error.to_string(),
        "line 2, column 9: this is no TOML: unclosed table, expected `]`"
    );
    let error = Policies::from_toml("a = 1\na = 2").unwrap_err();
    assert_eq!(
        error.to_string(),
        "line 2, column 1: this is no TOML: duplicate key"
    );
    // Nesting is bounded.
    let nested = format!("a = {}{}", "[".repeat(10_000), "]".repeat(10_000));
    assert_eq!(
        Policies::from_toml(&nested).unwrap_err().kind(),
        PolicyErrorKind::Syntax
    );
}

#[test]
fn faults_of_json_have_a_line_and_a_column() {
    let text = |json| Policies::from_json(json).unwrap_err().to_string();
    assert_eq!(
        text("{\"default\":\n {\"timeout\": 30}}"),
        format!("line 2, column 15, in `default.timeout`: invalid value: integer `30`, {DURATION}")
    );
    assert_eq!(
        text("{\"tools\": {\"a\": {}, \"a\": {}}}"),
        "line 1, column 23, in `tools`: `a` is given twice"
    );
    assert_eq!(
        text("{"),
        "line 1, column 1: this is no JSON: EOF while parsing an object"
    );
    assert_eq!(
        text("{} {}"),
        "line 1, column 4: this is no JSON: trailing characters"
    );
    let nested = format!("{{\"a\": {}", "[".repeat(10_000));
    assert_eq!(
        Policies::from_json(&nested).unwrap_err().kind(),
        PolicyErrorKind::Invalid
    );
}

#[test]
fn text_above_the_bound_is_not_read() {
    let text = " ".repeat(MAX_TEXT + 1);
    for error in [Policies::from_toml(&text), Policies::from_json(&text)] {
        let error = error.unwrap_err();
        assert_eq!(error.kind(), PolicyErrorKind::TooLarge);
        assert_eq!(
            error.to_string(),
            "the text has 4194305 bytes, and 4194304 are allowed"
        );
    }
    assert_eq!(Policies::from_toml(&text[1..]), Ok(Policies::new()));
}

/// An error repeats a bounded part of the text.
#[test]
fn error_of_a_key_of_a_megabyte_is_short() {
    let key = "k".repeat(1 << 20);
    for text in [
        format!("{key} = 1"),
        format!("default.{key} = 1"),
        format!("tools.{key} = 1"),
    ] {
        let error = Policies::from_toml(&text).unwrap_err();
        assert!(
            error.to_string().len() < 2_000,
            "{}",
            error.to_string().len()
        );
    }
}

/// The values of policies that are made in code are checked when they are used.
#[test]
fn rate_is_parsed_with_the_same_rules() {
    let error = "10".parse::<Rate>().unwrap_err();
    assert_eq!(
        error.to_string(),
        "`10` is not a rate such as \"10/s\", \"600/m\", \"1000/h\" or \"5000/d\", \
         or { per_second = 10, burst = 20 }"
    );
    assert_eq!("10/m".parse(), Ok(Rate::per_minute(10)));
}
