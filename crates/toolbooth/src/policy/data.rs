use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::plan::Planner;
use super::read::{self, given, setting};
use super::show::ToolStack;
use super::text::Source;
use super::{
    BreakerSettings, PartialSettings, QueueSettings, RateSettings, RetrySettings, Setting,
};

/// The policies of a toolbox: a default, groups of tools, and tools. See the [module](super).
///
/// ```
/// use std::time::Duration;
/// use toolbooth::policy::{Policies, ToolPolicy};
///
/// # fn main() -> Result<(), toolbooth::policy::PolicyError> {
/// let given = Policies::new()
///     .with_default(ToolPolicy::new().with_timeout(Duration::from_secs(30)))
///     .with_group("github", ["search", "issues"], ToolPolicy::new().with_concurrency(8))
///     .with_tool("search", ToolPolicy::new().with_timeout(None));
///
/// let parsed = Policies::from_toml(
///     r#"
///     default = { timeout = "30s" }
///     groups.github = { tools = ["search", "issues"], concurrency = 8 }
///     tools.search = { timeout = "none" }
///     "#,
/// )?;
/// assert_eq!(given, parsed);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table of policies")]
#[non_exhaustive]
#[expect(
    clippy::partial_pub_fields,
    reason = "where the data came from is no part of it"
)]
pub struct Policies {
    /// The settings of all tools. Each tool has limits of its own.
    #[serde(default)]
    pub default: ToolPolicy,
    /// Groups of tools, by name.
    #[serde(default, deserialize_with = "read::unique")]
    pub groups: BTreeMap<String, GroupPolicy>,
    /// The settings of single tools, by name.
    #[serde(default, deserialize_with = "read::unique")]
    pub tools: BTreeMap<String, ToolPolicy>,
    #[serde(skip)]
    pub(super) source: Source,
    #[serde(skip)]
    pub(super) absent_tools: bool,
}

/// The policy of a group of tools.
///
/// The members share its limits: `concurrency`, `rate` and `breaker`, and the queues of the two
/// former. The other settings are defaults of the members, and so is a limit that is
/// [`Setting::Off`].
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "GroupTable", into = "GroupTable")]
#[non_exhaustive]
pub struct GroupPolicy {
    /// The names of the members. A tool is in one group at most.
    ///
    /// A name that ends with `*` stands for all names that begin with what is before it. A tool
    /// that several groups name so is in that of its full name, otherwise of the longest start.
    pub tools: Vec<String>,
    /// The settings.
    pub policy: ToolPolicy,
}

/// Declares the settings of [`ToolPolicy`], and the table of a group, which has the same keys and
/// the names of its members. A flattened structure would lose the positions of errors.
macro_rules! settings {
    ($($(#[$attribute:meta])* $name:ident: $type:ty,)*) => {
        /// The settings of a tool, or the defaults of tools.
        ///
        /// A setting that is not given is that of the tool's group, otherwise that of the default.
        #[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
        #[serde(default, deny_unknown_fields, expecting = "a table of settings")]
        #[non_exhaustive]
        pub struct ToolPolicy {
            $($(#[$attribute])* pub $name: $type,)*
        }

        #[derive(Clone, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, expecting = "a table of tools and settings")]
        struct GroupTable {
            tools: Vec<String>,
            $($(#[$attribute])* #[serde(default)] $name: $type,)*
        }

        impl From<GroupTable> for GroupPolicy {
            fn from(table: GroupTable) -> Self {
                let policy = ToolPolicy { $($name: table.$name,)* };
                Self { tools: table.tools, policy }
            }
        }

        impl From<GroupPolicy> for GroupTable {
            fn from(GroupPolicy { tools, policy }: GroupPolicy) -> Self {
                Self { tools, $($name: policy.$name,)* }
            }
        }
    };
}

settings! {
    /// The limit on a whole call: waits, all attempts, and a streaming response to its last byte.
    #[serde(with = "setting", skip_serializing_if = "Setting::is_unset")]
    timeout: Setting<Duration>,
    /// The limit on one attempt, from its start.
    #[serde(with = "setting", skip_serializing_if = "Setting::is_unset")]
    attempt_timeout: Setting<Duration>,
    /// The limit on the time that an attempt goes without activity.
    #[serde(with = "setting", skip_serializing_if = "Setting::is_unset")]
    idle_timeout: Setting<Duration>,
    /// The limit on the time until the first item of an attempt's result.
    #[serde(with = "setting", skip_serializing_if = "Setting::is_unset")]
    first_item_timeout: Setting<Duration>,
    /// The time after a limit of an attempt in which the tool may finish.
    #[serde(with = "setting", skip_serializing_if = "Setting::is_unset")]
    grace: Setting<Duration>,
    /// How many calls run at once.
    #[serde(with = "setting", skip_serializing_if = "Setting::is_unset")]
    concurrency: Setting<u32>,
    /// The queues of `concurrency` and `rate`. With [`Setting::Off`], no call waits.
    #[serde(with = "setting", skip_serializing_if = "Setting::is_unset")]
    queue: Setting<QueueSettings>,
    /// How many calls start in a time.
    #[serde(with = "setting", skip_serializing_if = "Setting::is_unset")]
    rate: Setting<RateSettings>,
    /// When a tool that keeps failing is not called for a while.
    #[serde(with = "setting", skip_serializing_if = "Setting::is_unset")]
    breaker: Setting<BreakerSettings>,
    /// How often a call that failed is tried again.
    #[serde(with = "setting", skip_serializing_if = "Setting::is_unset")]
    retry: Setting<RetrySettings>,
    /// The priority of calls that have none of their own: 0 by default.
    ///
    /// A queue in which calls of a tool with a priority wait is ordered by priority, unless
    /// [`QueueSettings::order`] is set.
    #[serde(with = "given", skip_serializing_if = "Option::is_none")]
    priority: Option<i32>,
    /// How much of the result of a call that ends early is kept.
    #[serde(with = "setting", skip_serializing_if = "Setting::is_unset")]
    partial: Setting<PartialSettings>,
    /// Whether calling the tool twice has the same effect as calling it once. It takes precedence
    /// over the tool's annotations.
    #[serde(skip_serializing_if = "Option::is_none")]
    idempotent: Option<bool>,
}

// === impl Policies ===

impl Policies {
    /// Creates policies without any setting.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns the layers that these policies give to a tool.
    #[must_use]
    pub fn stack(&self, tool: &str) -> ToolStack {
        ToolStack::new(tool.into(), Planner::new(self).plan(tool))
    }

    /// Sets whether the policies may name tools that are not there. False by default: then they
    /// are an error.
    ///
    /// For tools that come later, such as those of a server. Then
    /// [`Toolbox::check`](crate::Toolbox::check) finds the names that no tool has yet.
    #[must_use]
    pub const fn with_absent_tools(mut self, allowed: bool) -> Self {
        self.absent_tools = allowed;
        self
    }

    /// Sets the default of all tools.
    #[must_use]
    pub fn with_default(mut self, policy: ToolPolicy) -> Self {
        self.default = policy;
        self
    }

    /// Adds a group, or replaces the one of this name.
    #[must_use]
    pub fn with_group<N: Into<String>>(
        mut self,
        name: impl Into<String>,
        tools: impl IntoIterator<Item = N>,
        policy: ToolPolicy,
    ) -> Self {
        let tools = tools.into_iter().map(Into::into).collect();
        self.groups
            .insert(name.into(), GroupPolicy { tools, policy });
        self
    }

    /// Adds the settings of a tool, or replaces them.
    #[must_use]
    pub fn with_tool(mut self, name: impl Into<String>, policy: ToolPolicy) -> Self {
        self.tools.insert(name.into(), policy);
        self
    }
}

// === impl ToolPolicy ===

/// Defines a setter for each setting.
macro_rules! setters {
    ($($(#[$attribute:meta])* $setter:ident($name:ident: $type:ty);)*) => {
        impl ToolPolicy {
            /// Creates a policy without any setting.
            #[must_use]
            pub fn new() -> Self {
                Self::default()
            }

            $($(#[$attribute])*
            #[must_use]
            pub fn $setter(mut self, $name: impl Into<$type>) -> Self {
                self.$name = $name.into();
                self
            })*
        }
    };
}

setters! {
    /// Limits a whole call. `None` is no limit.
    with_timeout(timeout: Setting<Duration>);
    /// Limits an attempt. `None` is no limit.
    with_attempt_timeout(attempt_timeout: Setting<Duration>);
    /// Limits the time without activity. `None` is no limit.
    with_idle_timeout(idle_timeout: Setting<Duration>);
    /// Limits the time until the first item. `None` is no limit.
    with_first_item_timeout(first_item_timeout: Setting<Duration>);
    /// Sets the time after a limit in which the tool may finish. `None` is no time.
    with_grace(grace: Setting<Duration>);
    /// Limits how many calls run at once. `None` is no limit.
    with_concurrency(concurrency: Setting<u32>);
    /// Sets the queues of the limits. With `None`, no call waits.
    with_queue(queue: Setting<QueueSettings>);
    /// Limits how many calls start in a time. `None` is no limit.
    with_rate(rate: Setting<RateSettings>);
    /// Adds a circuit breaker. `None` is none.
    with_breaker(breaker: Setting<BreakerSettings>);
    /// Sets how often a call is tried again. `None` is a single attempt.
    with_retry(retry: Setting<RetrySettings>);
    /// Sets the priority of calls that have none of their own.
    with_priority(priority: Option<i32>);
    /// Sets how much of a result is kept. `None` is nothing.
    with_partial(partial: Setting<PartialSettings>);
    /// Sets whether calling the tool twice has the same effect as calling it once.
    with_idempotent(idempotent: Option<bool>);
}
