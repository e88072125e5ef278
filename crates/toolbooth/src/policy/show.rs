//! Stacks and changes as text.

use std::fmt;
use std::time::Duration;

use humantime::format_duration;
use toolbooth_core::Name;

use super::plan::{AttemptLimits, Limits, Plan, Queue, Scope};
use super::values::{BreakerSettings, Keep, PartialSettings, RateSettings, RetrySettings};

/// The layers of one tool, as its policies result in: `Display` draws them, the outermost first.
///
/// ```
/// use toolbooth::policy::Policies;
///
/// # fn main() -> Result<(), toolbooth::policy::PolicyError> {
/// let policies = Policies::from_toml(
///     r#"
///     default = { timeout = "30s", concurrency = 4 }
///     groups.github = { tools = ["search"], rate = { per_second = 10, burst = 20 } }
///     "#,
/// )?;
/// assert_eq!(
///     policies.stack("search").to_string(),
///     "search, group github
/// └ timeout 30s
///   └ rate 10/s burst 20, queue 1024 (group github)
///     └ concurrency 4, queue 1024 (tool)
///       └ tool
/// ",
/// );
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ToolStack {
    tool: Name,
    plan: Plan,
    /// How many layers of the toolbox there are between the plan and the tool.
    layers: usize,
}

/// A setting as it is shown, in the order of the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Group,
    Priority,
    Idempotent,
    Timeout,
    Retry,
    Breaker,
    Rate,
    Concurrency,
    Attempt,
    Partial,
}

// === impl ToolStack ===

impl ToolStack {
    pub(super) const fn new(tool: Name, plan: Plan) -> Self {
        Self {
            tool,
            plan,
            layers: 0,
        }
    }

    pub(super) const fn with_layers(mut self, layers: usize) -> Self {
        self.layers = layers;
        self
    }

    /// Returns the name of the tool.
    #[must_use]
    pub fn tool(&self) -> &str {
        &self.tool
    }
}

impl fmt::Display for ToolStack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.tool)?;
        let settings = self.plan.settings(&self.tool);
        let (head, layers): (Vec<_>, _) = settings
            .iter()
            .partition(|(_, kind, _)| *kind <= Kind::Idempotent);
        for (_, kind, value) in head {
            match kind {
                Kind::Idempotent if value == "true" => f.write_str(", idempotent")?,
                Kind::Idempotent => f.write_str(", not idempotent")?,
                _ => write!(f, ", {} {value}", kind.as_str())?,
            }
        }
        let mut depth = 0;
        for (scope, kind, value) in layers {
            write!(f, "\n{:depth$}└ {} {value}", "", kind.as_str())?;
            match scope {
                Scope::Group(_) => write!(f, " ({scope})")?,
                Scope::Tool(_) if kind.is_limit() => f.write_str(" (tool)")?,
                Scope::Tool(_) => {}
            }
            depth += 2;
        }
        match self.layers {
            0 => writeln!(f, "\n{:depth$}└ tool", ""),
            1 => writeln!(f, "\n{:depth$}└ 1 layer of the toolbox, and the tool", ""),
            layers => writeln!(
                f,
                "\n{:depth$}└ {layers} layers of the toolbox, and the tool",
                ""
            ),
        }
    }
}

// === impl Plan ===

impl Plan {
    /// Returns all settings of a tool as text, in the order of the stack.
    pub(super) fn settings(&self, tool: &str) -> Vec<(Scope, Kind, String)> {
        let own = Scope::Tool(tool.into());
        let mut all = Vec::new();
        let mut add = |scope: &Scope, kind, value: Option<String>| {
            all.extend(value.map(|value| (scope.clone(), kind, value)));
        };
        let group = self.group.as_ref().map(|(name, _)| name.to_string());
        add(&own, Kind::Group, group);
        add(
            &own,
            Kind::Priority,
            self.priority.map(|priority| priority.to_string()),
        );
        add(
            &own,
            Kind::Idempotent,
            self.idempotent.map(|is| is.to_string()),
        );
        add(&own, Kind::Timeout, self.timeout.map(time));
        add(&own, Kind::Retry, self.retry.as_ref().map(retry));
        for kind in [Kind::Breaker, Kind::Rate, Kind::Concurrency] {
            for (scope, limits) in self.scopes(tool) {
                add(&scope, kind, limits.show(kind));
            }
        }
        add(&own, Kind::Attempt, self.attempt.show());
        add(&own, Kind::Partial, self.partial.as_ref().map(partial));
        all
    }
}

impl Limits {
    fn show(&self, kind: Kind) -> Option<String> {
        match kind {
            Kind::Breaker => self.breaker.as_ref().map(breaker),
            Kind::Rate => {
                let rates = rates(self.rate.as_ref()?);
                Some(format!("{rates}, {}", self.queue))
            }
            Kind::Concurrency => Some(format!("{}, {}", self.concurrency?, self.queue)),
            _ => None,
        }
    }
}

impl AttemptLimits {
    fn show(&self) -> Option<String> {
        let total = self.timeout.map(time);
        let idle = self.idle.map(|limit| format!("idle {}", time(limit)));
        let first = self
            .first_item
            .map(|limit| format!("first item {}", time(limit)));
        let grace = self.grace.map(|limit| format!("grace {}", time(limit)));
        let all: Vec<_> = [total, idle, first, grace].into_iter().flatten().collect();
        (!all.is_empty()).then(|| all.join(", "))
    }
}

fn time(time: Duration) -> String {
    format_duration(time).to_string()
}

fn or(given: Option<Duration>, default: Duration) -> String {
    time(given.unwrap_or(default))
}

fn rates(settings: &RateSettings) -> String {
    let rates: Vec<_> = settings.rates.iter().map(ToString::to_string).collect();
    rates.join(" and ")
}

fn retry(settings: &RetrySettings) -> String {
    let first = time(settings.backoff());
    let max = time(settings.max_backoff());
    let (attempts, budget) = (settings.attempts(), settings.budget());
    format!("{attempts} attempts, backoff {first} to {max}, budget {budget}")
}

fn breaker(settings: &BreakerSettings) -> String {
    let window = or(settings.window, BreakerSettings::WINDOW);
    let in_a_row = settings.failures_in_a_row();
    let in_a_row = in_a_row.map(|failures| format!("{failures} failures in a row"));
    let failures = settings.failure_rate;
    let failures = failures.map(|rate| format!("{rate} of the calls of {window} fail"));
    let slow = settings.slow.map(|slow| {
        let rate = settings.slow_rate();
        format!("{rate} of the calls of {window} take {}", time(slow))
    });
    let opens: Vec<_> = [in_a_row, failures, slow].into_iter().flatten().collect();
    let open = or(settings.open, BreakerSettings::OPEN);
    format!("{}, open {open}", opens.join(" or "))
}

fn partial(settings: &PartialSettings) -> String {
    let keep = match settings.keep {
        Some(Keep::Last) => "last",
        Some(Keep::First) | None => "first",
    };
    format!(
        "{keep} {} items, {} bytes",
        settings.items(),
        settings.bytes()
    )
}

impl fmt::Display for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(capacity) = self.capacity else {
            return f.write_str("no queue");
        };
        write!(f, "queue {capacity}")?;
        if let Some(max_wait) = self.max_wait {
            write!(f, ", wait {}", time(max_wait))?;
        }
        if self.priorities.is_some() {
            f.write_str(", by priority")?;
        }
        if self.fair {
            f.write_str(", tenants in turns")?;
        }
        if let Some(aging) = self.aging {
            write!(f, ", aging {}", time(aging))?;
        }
        Ok(())
    }
}

// === impl Kind ===

impl Kind {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Group => "group",
            Self::Priority => "priority",
            Self::Idempotent => "idempotent",
            Self::Timeout => "timeout",
            Self::Retry => "retry",
            Self::Breaker => "breaker",
            Self::Rate => "rate",
            Self::Concurrency => "concurrency",
            Self::Attempt => "timeout of an attempt",
            Self::Partial => "partial results",
        }
    }

    const fn is_limit(self) -> bool {
        matches!(self, Self::Breaker | Self::Rate | Self::Concurrency)
    }
}
