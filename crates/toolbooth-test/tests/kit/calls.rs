use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;
use toolbooth::ToolCall;
use toolbooth_test::{CallFactory, call, ms};

/// What the settings of a call are, without its id.
fn settings(call: &ToolCall) -> (String, Option<String>, i32, Option<bool>, Option<Duration>) {
    let context = call.context();
    (
        context.tool().to_owned(),
        context.tenant().map(str::to_owned),
        context.priority(),
        context.idempotent(),
        context.remaining(),
    )
}

/// D1.
#[tokio::test(start_paused = true)]
async fn call_needs_only_a_name_and_each_field_is_set_alone() {
    let made = call("search");
    let default = ("search".to_owned(), None, 0, None, None);
    assert_eq!(settings(&made), default);
    assert_eq!(*made.args(), serde_json::Value::Null);

    let tenant = settings(&call("search").with_tenant("acme"));
    assert_eq!(
        tenant,
        (default.0.clone(), Some("acme".to_owned()), 0, None, None)
    );
    let priority = settings(&call("search").with_priority(5));
    assert_eq!(priority, (default.0.clone(), None, 5, None, None));
    let idempotent = settings(&call("search").with_idempotent(true));
    assert_eq!(idempotent, (default.0.clone(), None, 0, Some(true), None));
    let deadline = call("search").with_deadline(Instant::now() + ms(70));
    assert_eq!(
        settings(&deadline),
        (default.0.clone(), None, 0, None, Some(ms(70)))
    );
    let id = call("search").with_id("mine");
    assert_eq!(
        (id.context().id().as_str(), settings(&id)),
        ("mine", default)
    );
}

/// D1.
#[test]
fn ids_are_unique() {
    let ids: HashSet<_> = (0..10_000).map(|_| call("search").context().id()).collect();
    assert_eq!(ids.len(), 10_000);
}

/// D1.
#[test]
fn ids_of_a_seed_are_unique_and_the_same_in_each_run() {
    let ids = |seed| {
        let calls = CallFactory::seeded(seed);
        let other = calls.clone();
        let made = [calls.calls("search", 500), other.calls("fetch", 500)].concat();
        made.iter()
            .map(|call| call.context().id())
            .collect::<Vec<_>>()
    };
    let first = ids(7);
    assert_eq!(first.iter().collect::<HashSet<_>>().len(), 1_000);
    assert_eq!(ids(7), first);
    assert!(ids(8).iter().all(|id| !first.contains(id)));
    let typed = CallFactory::seeded(7).call_with("search", 42_u32);
    assert_eq!(
        (typed.context().id(), *typed.args()),
        (first[0].clone(), 42)
    );
}

/// D2 and D3: the root of the crate has all of it, and the documentation of `toolbooth` names it.
#[test]
fn all_is_importable_from_one_place_that_the_root_docs_name() {
    #[expect(unused_imports, reason = "the test is that they exist")]
    use toolbooth_test::{
        CallFactory, CallTable, ChainedTool, ConfigurableConcurrencyTool, ConfigurableTimeoutTool,
        ErrorInjectionTool, FailingTool, FastTool, FaultLayer, GeneratorTool, HeartbeatTool,
        Outcomes, PartialResultTool, PriorityTool, Probe, RaceConditionTool, RateLimitedTool,
        Recorder, ResourceCleanupTool, ResourceIntensiveTool, Script, ScriptedTool, SlowTool,
        Stopwatch, StreamingTool, VariableDelayTool, assert_outcomes, call, call_all, ms,
    };
    let root = include_str!("../../../toolbooth/src/lib.rs");
    assert!(root.contains("//! # Testing") && root.contains("toolbooth-test"));
    let kit = include_str!("../../src/lib.rs");
    let (docs, code) = kit.split_at(kit.find("#![cfg_attr").expect("attributes"));
    // Each exported name is in the crate's documentation, or is part of another one's.
    let parts = [
        "Fault",
        "FaultService",
        "Faults",
        "Finished",
        "InjectedError",
        "InjectedFault",
        "Inside",
        "MockBehavior",
        "MockRecord",
        "Readiness",
        "ScriptedFuture",
        "StoreSnapshot",
        "ToolFuture",
        "ToolLog",
    ];
    let exported = code.split("pub use ").skip(1).flat_map(|item| {
        let item = item.split(';').next().expect("an item");
        let names = item.split_once("::").expect("a path").1;
        names.split(|char: char| !char.is_alphanumeric() && char != '_')
    });
    let missing: Vec<_> = exported
        .filter(|name| !name.is_empty() && !parts.contains(name))
        .filter(|name| !docs.contains(&format!("[`{name}`]")))
        .collect();
    assert_eq!(missing, [""; 0]);
}
