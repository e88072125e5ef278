//! The limits that a tool has by default.

use toolbooth::policy::{Policies, PolicyError, Setting, ToolPolicy, name_matches};

use super::Config;

/// The name of the group of all commands.
const COMMANDS: &str = "commands";

impl Config {
    /// The default limits, as policies.
    ///
    /// A call has 2 minutes, and one that reports no progress a minute. A tool that fails five
    /// times in a row is not called for 30 s. Of a call that ends early, 1,024 items are kept.
    /// Nothing is repeated.
    ///
    /// Each server is a group of its name with the settings of the group here, and so are all
    /// commands together, as the group `commands`: 4 calls run at once, and 256 wait. Many servers
    /// run calls one by one. A queue here has an order and limits.
    ///
    /// A setting of `[policies.default]` in a file replaces the default of this setting. If
    /// `concurrency` is there, these groups are not. A group of the file replaces one of these if
    /// it has its name, or names all its tools.
    pub const DEFAULT_POLICIES: &'static str = "\
[default]
timeout = \"2m\"
idle_timeout = \"1m\"
breaker = 5
partial = 1024

[groups.server]
tools = [\"*\"]
concurrency = 4
queue = { capacity = 256, order = \"fair\" }
";
}

/// Adds the default limits to those of the file.
pub(super) fn add_defaults(config: &mut Config) -> Result<(), PolicyError> {
    let defaults = Policies::from_toml(Config::DEFAULT_POLICIES)?;
    let policies = &mut config.policies;
    let given = &mut policies.default;
    fill(&mut given.timeout, &defaults.default.timeout);
    fill(&mut given.idle_timeout, &defaults.default.idle_timeout);
    fill(&mut given.breaker, &defaults.default.breaker);
    fill(&mut given.partial, &defaults.default.partial);
    if !given.concurrency.is_unset() {
        return Ok(());
    }
    for mut shared in defaults.groups.into_values().map(|group| group.policy) {
        if !policies.default.queue.is_unset() {
            shared.queue = Setting::Unset;
        }
        let commands = config.tools.keys();
        let others = commands.filter(|name| !has_group(policies, |of| name_matches(of, name)));
        let others: Vec<_> = others.cloned().collect();
        add_group(policies, COMMANDS, others, &shared);
        for (name, upstream) in &config.upstreams {
            let has_all = |of: &str| {
                let start = of.strip_suffix('*');
                start.is_some_and(|start| upstream.prefix.starts_with(start))
            };
            if !has_group(policies, has_all) {
                add_group(
                    policies,
                    name,
                    vec![format!("{}*", upstream.prefix)],
                    &shared,
                );
            }
        }
    }
    Ok(())
}

fn fill<T: Clone>(given: &mut Setting<T>, default: &Setting<T>) {
    if given.is_unset() {
        given.clone_from(default);
    }
}

/// Returns whether a group of the file names tools as `is_named` decides.
fn has_group(policies: &Policies, is_named: impl Fn(&str) -> bool) -> bool {
    let mut named = policies.groups.values().flat_map(|group| &group.tools);
    named.any(|name| is_named(name))
}

/// Adds a group, unless there is one of its name.
fn add_group(policies: &mut Policies, name: &str, tools: Vec<String>, shared: &ToolPolicy) {
    if !tools.is_empty() && !policies.groups.contains_key(name) {
        let all = std::mem::take(policies);
        *policies = all.with_group(name, tools, shared.clone());
    }
}
