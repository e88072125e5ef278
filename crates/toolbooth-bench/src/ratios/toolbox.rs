//! A toolbox of 10 and of 10,000 tools, and one with policies compared with layers by hand.

use std::cell::Cell;
use std::collections::HashMap;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use toolbooth::policy::Policies;
use toolbooth::{
    ConcurrencyLimitLayer, Name, PartialResultLayer, TimeoutLayer, ToolCall, ToolError, ToolOutput,
    Toolbox,
};
use toolbooth_bench::stacks::{CONCURRENT, TIMEOUT, call_of};
use tower::util::{BoxCloneSyncService, Oneshot};
use tower::{Service, ServiceBuilder, ServiceExt};

use crate::contender::{Contender, count, rounds};
use crate::measure::ratio_of;
use crate::report::Report;
use crate::{CALLS, ROUNDS};

/// The number of tools with policies.
const TOOLS: usize = 50;

/// The step from one tool to the next.
const STRIDE: usize = 37;

/// The layers of each tool: those of [`by_hand`], with the same names.
const POLICIES: &str = r#"
[default]
timeout = "30s"
concurrency = 1000
partial = 1024
"#;

/// A tool whose response is ready at the first poll.
#[derive(Clone)]
struct Done;

/// Tools in a map, each with its type erased by tower.
#[derive(Clone)]
struct ByHand(Arc<HashMap<Name, Tool>>);

type Tool = BoxCloneSyncService<ToolCall, ToolOutput, ToolError>;

pub(crate) fn run(report: &mut Report) {
    lookup(report);
    policies(report);
}

/// Compares calls of ten tools among 10,000 with calls of ten among ten. Calls of all 10,000, one
/// after the other, also pay for tools that are in no cache of the processor.
fn lookup(report: &mut Report) {
    let (few_names, many_names) = (names(10), names(10_000));
    let mut few = Contender::of(|| toolbox(&few_names), in_turns(&few_names));
    let mut many = Contender::of(|| toolbox(&many_names), in_turns(&few_names));
    let mut all = Contender::of(|| toolbox(&many_names), in_turns(&many_names));
    rounds(ROUNDS, CALLS, &mut [&mut few, &mut many, &mut all]);
    report.ratio("toolbox_lookup", ratio_of(&many, &few));
    report.ratio("toolbox_lookup_all", ratio_of(&all, &few));
    report.nanos("toolbox_10", &few);
    report.nanos("toolbox_10k", &many);
    report.nanos("toolbox_10k_all", &all);
    count(
        report,
        "toolbox",
        || toolbox(&few_names),
        || call_of("tool-0"),
    );
}

fn policies(report: &mut Report) {
    let names = names(TOOLS);
    let mut ours = Contender::of(|| with_policies(&names), in_turns(&names));
    let mut hand = Contender::of(|| by_hand(&names), in_turns(&names));
    rounds(ROUNDS, CALLS, &mut [&mut ours, &mut hand]);
    report.ratio("toolbox_policies", ratio_of(&ours, &hand));
    report.nanos("toolbox_policies", &ours);
    report.nanos("toolbox_by_hand", &hand);
    let first = || call_of("tool-0");
    count(report, "toolbox_policies", || with_policies(&names), first);
    count(report, "toolbox_by_hand", || by_hand(&names), first);
}

fn names(tools: usize) -> Vec<Name> {
    (0..tools)
        .map(|tool| Name::from(format!("tool-{tool}")))
        .collect()
}

/// Returns calls of all tools, one after the other.
fn in_turns(names: &[Name]) -> impl Fn() -> ToolCall {
    let next = Cell::new(0);
    move || {
        let at = next.get();
        next.set((at + STRIDE) % names.len());
        call_of(names[at].clone())
    }
}

fn toolbox(names: &[Name]) -> Toolbox {
    let add =
        |builder: toolbooth::toolbox::ToolboxBuilder, name: &Name| builder.tool(&**name, Done);
    let builder = names.iter().fold(Toolbox::builder(), add);
    builder.build().expect("the names are unique")
}

fn with_policies(names: &[Name]) -> Toolbox {
    let policies = Policies::from_toml(POLICIES).expect("the policies are valid");
    let toolbox = toolbox(names);
    toolbox.apply(policies).expect("the policies name no tools");
    toolbox
}

fn by_hand(names: &[Name]) -> ByHand {
    let stack = |name: &str| {
        let timeout = TimeoutLayer::new(TIMEOUT).with_name(format!("timeout of {name}"));
        let concurrency = ConcurrencyLimitLayer::new(CONCURRENT);
        ServiceBuilder::new()
            .layer(timeout)
            .layer(concurrency.with_name(format!("concurrency of tool {name}")))
            .layer(PartialResultLayer::new())
            .service(Done)
    };
    let tools = names
        .iter()
        .map(|name| (name.clone(), Tool::new(stack(name))));
    ByHand(Arc::new(tools.collect()))
}

impl Service<ToolCall> for Done {
    type Response = ToolOutput;
    type Error = ToolError;
    type Future = Ready<Result<ToolOutput, ToolError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ToolError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: ToolCall) -> Self::Future {
        std::hint::black_box(&call);
        ready(Ok(ToolOutput::text("done")))
    }
}

impl Service<ToolCall> for ByHand {
    type Response = ToolOutput;
    type Error = ToolError;
    type Future = Oneshot<Tool, ToolCall>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ToolError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, call: ToolCall) -> Self::Future {
        let tool = self.0.get(call.name()).expect("each name has a tool");
        tool.clone().oneshot(call)
    }
}
