//! The policies of a toolbox: how they are installed and replaced.
//!
//! Invariants:
//! 1. A version of the toolbox has all stacks of its policies: it is replaced as a whole.
//! 2. Everything that can fail comes before the first number changes.
//! 3. Lock order: the writer of the toolbox, then the store. Events of layers are held back while
//!    these are locked.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use toolbooth_core::Name;

use super::change::PolicyChange;
use super::check;
use super::data::Policies;
use super::error::PolicyError;
use super::plan::{Plan, Planner};
use super::show::ToolStack;
use super::stack::stack;
use super::store::Store;
use crate::middleware::sync::{Mutex, lock};
use crate::toolbox::{Stacked, Stacks, ToolService, Toolbox, ToolboxBuilder, Version};

/// The policies of one version, and the state of the limits, which all versions share.
#[derive(Debug, Clone)]
struct Current {
    policies: Arc<Policies>,
    store: Arc<Mutex<Store>>,
}

impl ToolboxBuilder {
    /// Sets the policies: the limits of each tool, which [`Toolbox::apply`] replaces while calls
    /// run.
    ///
    /// The layers for all tools are inner layers of the stack of the policies.
    ///
    /// ```
    /// use toolbooth::policy::Policies;
    /// use toolbooth::{Toolbox, tool_fn};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let search = tool_fn("search", async |_: ()| Ok::<_, std::io::Error>("a result"));
    /// let builder = || Toolbox::builder().tool("search", search.clone());
    ///
    /// let policies = Policies::from_toml("tools.search = { concurrency = 4 }")?;
    /// let toolbox = builder().policies(policies).build()?;
    /// let stack = toolbox.stack("search").ok_or("it is there")?;
    /// assert_eq!(stack.to_string(), "search\n└ concurrency 4, queue 1024 (tool)\n  └ tool\n");
    ///
    /// let wrong = Policies::from_toml("tools.serch = { concurrency = 4 }")?;
    /// let error = builder().policies(wrong).build().err().ok_or("there is no such tool")?;
    /// assert_eq!(
    ///     error.to_string(),
    ///     "the policies are invalid: line 1, column 7, in `tools.serch`: \
    ///      there is no tool `serch`: did you mean `search`?"
    /// );
    /// # Ok(()) }
    /// ```
    pub fn policies(self, policies: Policies) -> Self {
        self.with_stacks(move |version| {
            let installed = check::check(&policies);
            let installed =
                installed.and_then(|()| Current::of(version).replace(version, policies));
            installed.map_err(|error| error.to_string())
        })
    }
}

impl Toolbox {
    /// Replaces the policies. Calls that come later get the new stacks.
    ///
    /// A call in flight keeps the stack that it was resolved to. Its limits have the new numbers at
    /// once: a limit that was raised starts waiting calls, one that was lowered starts none until
    /// fewer run. Timeouts, retries and partial results of a call in flight stay as they are.
    ///
    /// The state of a limit belongs to the tool or the group: its permits, its tokens, its queue,
    /// whether it is open, and the budget of retries. New policies keep it. If they have no such
    /// limit, calls that wait for it start, and its state is kept until it is unused, for policies
    /// that name it again. A breaker that is closed counts as unused.
    ///
    /// The rates of a list keep their tokens by their position, and one that is added begins full.
    /// If a single rate becomes a list, calls that wait keep the earlier one, and later calls begin
    /// with full buckets.
    ///
    /// Returns what changed.
    ///
    /// ```
    /// use toolbooth::policy::Policies;
    /// use toolbooth::{Toolbox, tool_fn};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let search = tool_fn("search", async |_: ()| Ok::<_, std::io::Error>("a result"));
    /// let toolbox = Toolbox::builder().tool("search", search).build()?;
    ///
    /// toolbox.apply(Policies::from_toml("default = { timeout = \"30s\", rate = \"10/s\" }")?)?;
    /// let change = toolbox.apply(Policies::from_toml("default.rate = \"20/s\"")?)?;
    /// assert_eq!(
    ///     change.to_string(),
    ///     "tool search: timeout 30s -> none\n\
    ///      tool search: rate 10/s, queue 1024 -> 20/s, queue 1024"
    /// );
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`PolicyError`] for a value that is out of range, or a name that no tool has. Then nothing
    /// changes.
    pub fn apply(&self, policies: Policies) -> Result<PolicyChange, PolicyError> {
        check::check(&policies)?;
        let (before, after, names) = self.change_stacks(|version| {
            let current = Current::of(version);
            current.replace(version, policies)?;
            let names: Vec<Name> = version.names().cloned().collect();
            Ok((current.policies, Current::of(version).policies, names))
        })?;
        let plans = |policies: &Policies| -> BTreeMap<Name, Plan> {
            let planner = Planner::new(policies);
            let plans = names.iter();
            plans
                .map(|name| (name.clone(), planner.plan(name)))
                .collect()
        };
        Ok(PolicyChange::between(&plans(&before), &plans(&after)))
    }

    /// Checks policies against the tools as they are now, also if they may name
    /// [tools that are not there](Policies::with_absent_tools). Nothing changes.
    ///
    /// # Errors
    /// As [`apply`](Self::apply).
    pub fn check(&self, policies: &Policies) -> Result<(), PolicyError> {
        check::check(policies)?;
        self.read(|version, _| check::check_names(policies, version))
    }

    /// Returns the policies.
    #[must_use]
    pub fn policies(&self) -> Arc<Policies> {
        self.read(|version, _| Current::of(version).policies)
    }

    /// Returns the layers that the policies give to a tool, if there is a tool of this name.
    /// `Display` draws them.
    #[must_use]
    pub fn stack(&self, tool: &str) -> Option<ToolStack> {
        self.read(|version, layers| {
            let name = version.names().find(|name| name.as_str() == tool)?;
            let policies = Current::of(version).policies;
            let plan = Planner::new(&policies).plan(tool);
            Some(ToolStack::new(name.clone(), plan).with_layers(layers))
        })
    }
}

// === impl Current ===

impl Current {
    /// Returns the policies of a version; none if it has none.
    fn of(version: &Version) -> Self {
        let stacks = version.stacks().map(Stacks::as_any);
        let current = stacks.and_then(<dyn Any>::downcast_ref::<Self>);
        current.cloned().unwrap_or_else(|| Self {
            policies: Arc::default(),
            store: Arc::new(Mutex::new(Store::new(version))),
        })
    }

    /// Installs policies, which are checked, in place of these.
    fn replace(&self, version: &mut Version, policies: Policies) -> Result<(), PolicyError> {
        if !policies.absent_tools {
            check::check_names(&policies, version)?;
        }
        let policies = Arc::new(policies);
        let planner = Planner::new(&policies);
        let plans = version
            .names()
            .map(|name| (name.clone(), planner.plan(name)));
        let plans: Vec<(Name, Plan)> = plans.collect();

        let mut store = lock(&self.store);
        for (name, plan) in &plans {
            store.update(name, plan);
        }
        let new = Self {
            policies: Arc::clone(&policies),
            store: Arc::clone(&self.store),
        };
        version.set_stacks(Arc::new(new), |name, tool| {
            stacked(name, &planner.plan(name), &store, tool)
        });
        store.retire(plans.iter().map(|(name, plan)| (name, plan)));
        Ok(())
    }
}

impl Stacks for Current {
    fn stack(&self, name: &str, tool: ToolService) -> Stacked {
        let plan = Planner::new(&self.policies).plan(name);
        let mut store = lock(&self.store);
        store.update(name, &plan);
        stacked(name, &plan, &store, tool)
    }

    fn forget(&self, is_there: &dyn Fn(&str) -> bool) {
        lock(&self.store).forget(is_there);
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

fn stacked(name: &str, plan: &Plan, store: &Store, tool: ToolService) -> Stacked {
    Stacked {
        service: stack(name, plan, store, tool),
        is_idempotent: plan.idempotent,
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use serde_json::Value;
    use toolbooth_core::ToolCall;
    use toolbooth_test::ScriptedTool;
    use tower_service::Service;

    use super::*;

    fn scopes(toolbox: &Toolbox) -> usize {
        toolbox.read(|version, _| lock(&Current::of(version).store).len())
    }

    #[tokio::test(start_paused = true)]
    async fn state_of_a_removed_tool_is_forgotten_unless_it_is_used() {
        let policies = Policies::from_toml(
            "default = { rate = \"1/h\", concurrency = 1, breaker = 1, retry = 2 }",
        );
        let toolbox = Toolbox::builder().policies(policies.unwrap());
        let toolbox = toolbox.build().unwrap();
        for tool in 0..100 {
            let name = format!("tool {tool}");
            toolbox
                .insert(name.as_str(), ScriptedTool::ready())
                .unwrap();
            assert_eq!(scopes(&toolbox), 1);
            toolbox.remove(&name);
            assert_eq!(scopes(&toolbox), 0);
        }

        toolbox.insert("used", ScriptedTool::ready()).unwrap();
        let call = |name| toolbox.clone().call(ToolCall::new(name, Value::Null));
        assert!(call("used").await.is_ok());
        toolbox.remove("used");
        toolbox.insert("used", ScriptedTool::ready()).unwrap();
        // It waits for the token that the removed tool has taken.
        assert!(call("used").now_or_never().is_none());
        toolbox.remove("used");
        assert_eq!(scopes(&toolbox), 1);
        tokio::time::advance(std::time::Duration::from_secs(3_600)).await;
        toolbox.insert("other", ScriptedTool::ready()).unwrap();
        toolbox.remove("other");
        assert_eq!(scopes(&toolbox), 0);
    }
}
