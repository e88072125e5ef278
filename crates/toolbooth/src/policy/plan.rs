//! What policies mean for each tool: pure data, before any layer is made.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use toolbooth_core::Name;

use super::Setting;
use super::data::{Policies, ToolPolicy};
use super::pattern::ByName;
use super::values::{
    BreakerSettings, PartialSettings, QueueOrder, QueueSettings, RateSettings, RetrySettings,
};

/// What the state of a limit belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Scope {
    Group(Name),
    Tool(Name),
}

/// The settings of one tool.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Plan {
    pub(super) priority: Option<i32>,
    pub(super) idempotent: Option<bool>,
    pub(super) timeout: Option<Duration>,
    pub(super) retry: Option<RetrySettings>,
    /// The name of the group, and the limits that its members share.
    pub(super) group: Option<(Name, Limits)>,
    /// The limits of the tool alone.
    pub(super) limits: Limits,
    pub(super) attempt: AttemptLimits,
    pub(super) partial: Option<PartialSettings>,
}

/// The limits of one scope.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Limits {
    pub(super) breaker: Option<BreakerSettings>,
    pub(super) rate: Option<RateSettings>,
    pub(super) concurrency: Option<u32>,
    pub(super) queue: Queue,
}

/// The queues of one scope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Queue {
    /// `None`: calls do not wait.
    pub(super) capacity: Option<u32>,
    pub(super) max_wait: Option<Duration>,
    /// The priorities of tools, if the queue is ordered by priority.
    pub(super) priorities: Option<Arc<BTreeMap<Name, i32>>>,
    /// Whether tenants take turns.
    pub(super) fair: bool,
    pub(super) aging: Option<Duration>,
}

/// The limits on the time of an attempt.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct AttemptLimits {
    pub(super) timeout: Option<Duration>,
    pub(super) idle: Option<Duration>,
    pub(super) first_item: Option<Duration>,
    pub(super) grace: Option<Duration>,
}

/// Makes the plans of tools.
pub(super) struct Planner<'a> {
    policies: &'a Policies,
    /// The group of each tool that has one.
    groups: ByName<'a, Group<'a>>,
    /// The priorities of the members of each group.
    priorities: HashMap<&'a str, Arc<BTreeMap<Name, i32>>>,
}

#[derive(Clone, Copy)]
struct Group<'a> {
    name: &'a str,
    policy: &'a ToolPolicy,
}

const DEFAULT_CAPACITY: u32 = 1_024;

// === impl Planner ===

impl<'a> Planner<'a> {
    pub(super) fn new(policies: &'a Policies) -> Self {
        let members = policies.groups.iter().flat_map(|(name, group)| {
            let policy = &group.policy;
            let members = group.tools.iter();
            members.map(move |tool| (tool.as_str(), Group { name, policy }))
        });
        let mut planner = Self {
            policies,
            groups: ByName::new(members),
            priorities: HashMap::new(),
        };
        let members = policies.groups.iter().flat_map(|(name, group)| {
            let tools = group.tools.iter();
            tools.map(move |tool| (name.as_str(), tool))
        });
        // Tools that are members by a pattern.
        let matched = policies.tools.keys().filter_map(|tool| {
            let group = planner.groups.get(tool)?;
            Some((group.name, tool))
        });
        let mut priorities: HashMap<&str, BTreeMap<Name, i32>> = HashMap::new();
        for (group, tool) in members.chain(matched) {
            if let Some(priority) = planner.given(tool, |policy| policy.priority) {
                let group = priorities.entry(group).or_default();
                group.insert(Name::from(tool.as_str()), priority);
            }
        }
        let priorities = priorities.into_iter();
        planner.priorities = priorities
            .map(|(name, all)| (name, Arc::new(all)))
            .collect();
        planner
    }

    /// Returns the plan of a tool.
    pub(super) fn plan(&self, tool: &str) -> Plan {
        let priority = self.given(tool, |policy| policy.priority);
        let priorities = priority.map(|priority| (Name::from(tool), priority));
        let group = self.groups.get(tool).map(|group| {
            let priorities = self.priorities.get(group.name).cloned().unwrap_or_default();
            (
                Name::from(group.name),
                self.group_limits(group.policy, priorities),
            )
        });
        Plan {
            priority,
            idempotent: self.given(tool, |policy| policy.idempotent),
            timeout: self.setting(tool, |policy| &policy.timeout),
            retry: self.setting(tool, |policy| &policy.retry),
            group,
            limits: self.tool_limits(tool, Arc::new(priorities.into_iter().collect())),
            attempt: AttemptLimits {
                timeout: self.setting(tool, |policy| &policy.attempt_timeout),
                idle: self.setting(tool, |policy| &policy.idle_timeout),
                first_item: self.setting(tool, |policy| &policy.first_item_timeout),
                grace: self.setting(tool, |policy| &policy.grace),
            },
            partial: self.setting(tool, |policy| &policy.partial),
        }
    }

    fn group_limits(&self, group: &ToolPolicy, priorities: Arc<BTreeMap<Name, i32>>) -> Limits {
        let queue = group.queue.or(&self.policies.default.queue);
        Limits {
            breaker: group.breaker.value().cloned(),
            rate: group.rate.value().cloned(),
            concurrency: group.concurrency.value().copied(),
            queue: Queue::new(queue, priorities),
        }
    }

    fn tool_limits(&self, tool: &str, priorities: Arc<BTreeMap<Name, i32>>) -> Limits {
        Limits {
            breaker: self.own(tool, |policy| &policy.breaker).value().cloned(),
            rate: self.own(tool, |policy| &policy.rate).value().cloned(),
            concurrency: self
                .own(tool, |policy| &policy.concurrency)
                .value()
                .copied(),
            queue: Queue::new(self.own(tool, |policy| &policy.queue), priorities),
        }
    }

    /// Returns a limit of the tool alone. A limit of the group is shared, and not inherited; the
    /// group can only switch off the default.
    fn own<T>(&self, tool: &str, of: impl Fn(&'a ToolPolicy) -> &'a Setting<T>) -> &'a Setting<T> {
        let own = self.policies.tools.get(tool).map(&of);
        let group = self.groups.get(tool).map(|group| of(group.policy));
        let off = group.filter(|setting| matches!(setting, Setting::Off));
        let default = of(&self.policies.default);
        own.unwrap_or(&Setting::Unset).or(off.unwrap_or(default))
    }

    /// Returns a setting that is no limit: of the tool, the group or the default.
    fn setting<T: Clone + 'a>(
        &self,
        tool: &str,
        of: impl Fn(&'a ToolPolicy) -> &'a Setting<T>,
    ) -> Option<T> {
        let mut policies = self.policies_of(tool);
        let given = policies.find_map(|policy| Some(of(policy)).filter(|given| !given.is_unset()));
        given?.value().cloned()
    }

    fn given<T>(&self, tool: &str, of: impl Fn(&ToolPolicy) -> Option<T>) -> Option<T> {
        self.policies_of(tool).find_map(of)
    }

    /// Iterates over the policies that apply to a tool, the most specific first.
    fn policies_of(&self, tool: &str) -> impl Iterator<Item = &'a ToolPolicy> {
        let own = self.policies.tools.get(tool);
        let group = self.groups.get(tool).map(|group| group.policy);
        own.into_iter().chain(group).chain([&self.policies.default])
    }
}

// === impl Plan ===

impl Plan {
    /// Returns the limits of each scope, the outer one first.
    ///
    /// That of the tool is the outer one: a call that waits for it takes nothing from the other
    /// members of the group.
    pub(super) fn scopes(&self, tool: &str) -> impl Iterator<Item = (Scope, &Limits)> {
        let group = self.group.iter();
        let group = group.map(|(name, limits)| (Scope::Group(name.clone()), limits));
        std::iter::once((Scope::Tool(tool.into()), &self.limits)).chain(group)
    }
}

// === impl Queue ===

impl Queue {
    fn new(setting: &Setting<QueueSettings>, priorities: Arc<BTreeMap<Name, i32>>) -> Self {
        let given = match setting {
            Setting::Unset => QueueSettings::default(),
            Setting::Off => {
                return Self {
                    capacity: None,
                    ..Self::default()
                };
            }
            Setting::Value(given) => given.clone(),
        };
        let by_priority = match given.order {
            Some(order) => order == QueueOrder::Priority,
            None => !priorities.is_empty(),
        };
        Self {
            capacity: Some(given.capacity.unwrap_or(DEFAULT_CAPACITY)),
            max_wait: given.max_wait,
            priorities: by_priority.then_some(priorities),
            fair: given.order == Some(QueueOrder::Fair),
            aging: given.aging,
        }
    }
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            capacity: Some(DEFAULT_CAPACITY),
            max_wait: None,
            priorities: None,
            fair: false,
            aging: None,
        }
    }
}

// === impl Scope ===

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group(name) => write!(f, "group {}", name.as_str()),
            Self::Tool(name) => write!(f, "tool {}", name.as_str()),
        }
    }
}
