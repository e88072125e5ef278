//! Checks of policies as a whole, and of values that were set in code.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use toolbooth_core::Name;

use super::Setting;
use super::data::{Policies, ToolPolicy};
use super::error::{PolicyError, PolicyErrorKind, did_you_mean};
use super::pattern::is_pattern;
use super::value::Value;
use super::values::{BreakerSettings, PartialSettings, QueueSettings, RateSettings, RetrySettings};
use crate::toolbox::Version;
use crate::toolbox::nearest::nearest;

/// The longest name of a group, in bytes.
const MAX_NAME: usize = 128;

/// What is wrong, and the keys that lead to it, the innermost first.
struct Fault {
    kind: PolicyErrorKind,
    keys: Vec<String>,
    /// The position in the list that the innermost key names.
    index: Option<usize>,
    message: String,
}

type Checked = Result<(), Fault>;

/// Checks everything that does not depend on the tools of a toolbox.
pub(super) fn check(policies: &Policies) -> Result<(), PolicyError> {
    all(policies).map_err(|fault| fault.error(policies))
}

/// Checks that each tool that is named is there.
pub(super) fn check_names(policies: &Policies, version: &Version) -> Result<(), PolicyError> {
    let names: HashSet<&str> = version.names().map(Name::as_str).collect();
    let unknown = |name: &String| !names.contains(name.as_str()) && !is_pattern(name);
    let fault = |name: &str| {
        let nearest = did_you_mean(&nearest(name, version.names()));
        let message = format!("there is no tool `{name}`{nearest}");
        Fault::new(PolicyErrorKind::UnknownTool, message)
    };
    let in_groups = policies.groups.iter().find_map(|(group, policy)| {
        let at = policy.tools.iter().position(unknown)?;
        let fault = fault(&policy.tools[at]).of_index(at).within("tools");
        Some(fault.within(group).within("groups"))
    });
    let in_tools = || policies.tools.keys().find(|name| unknown(name));
    let fault =
        in_groups.or_else(|| in_tools().map(|name| fault(name).within(name).within("tools")));
    match fault {
        Some(fault) => Err(fault.error(policies)),
        None => Ok(()),
    }
}

fn all(policies: &Policies) -> Checked {
    settings(&policies.default).map_err(|fault| fault.within("default"))?;
    let mut groups = HashMap::new();
    for (name, group) in &policies.groups {
        let in_group = |fault: Fault| fault.within(name).within("groups");
        if name.is_empty() || name.len() > MAX_NAME {
            let message = format!("the name of a group has from 1 to {MAX_NAME} bytes");
            return Err(in_group(Fault::invalid(message)));
        }
        for (at, tool) in group.tools.iter().enumerate() {
            if let Some(other) = groups.insert(tool, name) {
                let message = format!("`{tool}` is in the group `{other}`: a tool is in one group");
                return Err(in_group(
                    Fault::invalid(message).of_index(at).within("tools"),
                ));
            }
        }
        settings(&group.policy).map_err(in_group)?;
    }
    for (name, tool) in &policies.tools {
        settings(tool).map_err(|fault| fault.within(name).within("tools"))?;
    }
    Ok(())
}

fn settings(policy: &ToolPolicy) -> Checked {
    setting("timeout", &policy.timeout)?;
    setting("attempt_timeout", &policy.attempt_timeout)?;
    setting("idle_timeout", &policy.idle_timeout)?;
    setting("first_item_timeout", &policy.first_item_timeout)?;
    setting("grace", &policy.grace)?;
    setting("concurrency", &policy.concurrency)?;
    setting("queue", &policy.queue)?;
    setting("rate", &policy.rate)?;
    setting("breaker", &policy.breaker)?;
    setting("retry", &policy.retry)?;
    setting("partial", &policy.partial)
}

fn setting<T: Check>(key: &str, setting: &Setting<T>) -> Checked {
    given(key, setting.value())
}

fn given<T: Check>(key: &str, value: Option<&T>) -> Checked {
    value.map_or(Ok(()), |value| {
        value.check().map_err(|fault| fault.within(key))
    })
}

trait Check {
    fn check(&self) -> Checked;
}

macro_rules! check_range {
    ($($type:ty),*) => {$(
        impl Check for $type {
            fn check(&self) -> Checked {
                match self.is_in_range() {
                    true => Ok(()),
                    false => Err(Fault::invalid(format!("{self:?} is not {}", Self::EXPECTED))),
                }
            }
        }
    )*};
}

check_range!(Duration, u32, u64, f64);

impl Check for RateSettings {
    fn check(&self) -> Checked {
        if self.is_in_range() {
            return Ok(());
        }
        let rates: Vec<_> = self.rates.iter().map(ToString::to_string).collect();
        Err(Fault::invalid(format!(
            "{rates:?} is not {}",
            Self::EXPECTED
        )))
    }
}

macro_rules! check_fields {
    ($($type:ty: $($field:ident),*;)*) => {$(
        impl Check for $type {
            fn check(&self) -> Checked {
                $(given(stringify!($field), self.$field.as_ref())?;)*
                Ok(())
            }
        }
    )*};
}

check_fields! {
    QueueSettings: capacity, max_wait, aging;
    BreakerSettings: failures, failure_rate, slow, slow_rate, window, min_calls, open, probes;
    RetrySettings: attempts, backoff, max_backoff, max_retry_after, budget;
    PartialSettings: items, bytes;
}

// === impl Fault ===

impl Fault {
    const fn new(kind: PolicyErrorKind, message: String) -> Self {
        Self {
            kind,
            keys: Vec::new(),
            index: None,
            message,
        }
    }

    const fn invalid(message: String) -> Self {
        Self::new(PolicyErrorKind::Invalid, message)
    }

    const fn of_index(mut self, index: usize) -> Self {
        self.index = Some(index);
        self
    }

    fn within(mut self, key: &str) -> Self {
        self.keys.push(key.to_owned());
        self
    }

    fn error(self, policies: &Policies) -> PolicyError {
        let mut keys: Vec<_> = self.keys.into_iter().rev().collect();
        keys.extend(self.index.map(|index| index.to_string()));
        policies.source.fault(self.kind, &keys, self.message)
    }
}
