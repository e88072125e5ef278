//! `Toolbox`: many tools by name, a gate before them, and changes while calls run.

#[path = "../support/mod.rs"]
mod support;

mod arguments;
mod changes;
mod compose;
mod events;
mod gate;
mod idempotence;
mod load;
mod names;

use std::future::ready;

use serde_json::json;
use support::{Finished, Recorder, ScriptedTool, call_all, error_of, ms, text_of};
use toolbooth::toolbox::{Denied, GateRequest, Tool, ToolboxError, ToolboxFault};
use toolbooth::{
    ErrorKind, Outcome, PerTool, TimeoutLayer, ToolAnnotations, ToolCall, ToolError, ToolOutput,
    ToolSpec, Toolbox,
};
use toolbooth_test::call;
use tower::service_fn;

/// A tool that returns this text.
fn says(text: &'static str) -> impl Tool {
    service_fn(move |_: ToolCall| ready(Ok::<_, ToolError>(ToolOutput::text(text))))
}

/// A toolbox with these tools, each of which returns its name.
fn toolbox(names: impl IntoIterator<Item = &'static str>) -> Toolbox {
    let builder = Toolbox::builder();
    let with_tools = names
        .into_iter()
        .fold(builder, |builder, name| builder.tool(name, says(name)));
    with_tools.build().expect("valid tools")
}

/// The texts of the faults.
fn faults(error: &ToolboxError) -> Vec<String> {
    error.faults().iter().map(ToString::to_string).collect()
}
