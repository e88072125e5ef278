//! Policies: how they are read, what they mean for a tool, and what a change of them keeps.

#[path = "../support/mod.rs"]
mod support;

mod applying;
mod events;
mod faults;
mod reading;
mod stacks;

use toolbooth::Toolbox;
use toolbooth::policy::Policies;
use toolbooth::toolbox::Tool;

/// Policies that are valid.
fn policies(toml: &str) -> Policies {
    Policies::from_toml(toml).expect("valid policies")
}

/// A toolbox whose tools, by name, are clones of one, with policies.
fn toolbox(names: &[&str], tool: &impl Tool, toml: &str) -> Toolbox {
    let builder = Toolbox::builder().policies(policies(toml));
    let builder = names
        .iter()
        .fold(builder, |builder, name| builder.tool(*name, tool.clone()));
    builder
        .build()
        .expect("the policies name tools that are there")
}
