//! Policies: the limits of many tools as data, from code, TOML or JSON.
//!
//! [`Policies`] have a default for all tools, groups of tools, and single tools. A
//! [`Toolbox`](crate::Toolbox) builds the stack of each tool from them, in the recommended order,
//! and [applies](crate::Toolbox::apply) new ones while calls run. For a few layers around a few
//! tools, a stack in code is shorter.
//!
//! ```
//! use toolbooth::policy::Policies;
//!
//! # fn main() -> Result<(), toolbooth::policy::PolicyError> {
//! let policies = Policies::from_toml(
//!     r#"
//! ## The settings of all tools. Each tool has limits of its own.
//! [default]
//! timeout = "2m"            # a whole call: waits, all attempts, the streaming response
//! attempt_timeout = "30s"   # one attempt, from its start
//! idle_timeout = "10s"      # an attempt without activity
//! first_item_timeout = "5s" # until the first item of an attempt
//! grace = "500ms"           # to finish after a limit of an attempt
//! concurrency = 4           # calls that run at once
//! queue = 64                # calls that wait: 1024 by default; "none" rejects them
//! rate = "10/s"             # calls that start: also /m, /h and /d
//! breaker = 5               # failures in a row, after which a tool is not called for a while
//! retry = 3                 # attempts
//! partial = 1024            # items of a result that are kept if the call ends early
//!
//! ## The members share the limits: concurrency, rate and breaker, with their queues. They stand
//! ## inside of the limits of each tool. The other settings are defaults of the members.
//! [groups.github]
//! tools = ["github_search", "github_issue"]
//! concurrency = 8
//! rate = [{ per_second = 10, burst = 20 }, "5000/h"] # a call needs a token of each
//! timeout = "1m"
//!
//! ## The settings of a tool.
//! [tools.github_search]
//! timeout = "none"          # off, although the group and the default have one
//! idempotent = true         # may be called twice; in place of the tool's annotations
//! priority = 10             # of its calls that have none of their own
//! ## Orders: "fifo", "priority", and "fair", with which tenants take turns.
//! queue = { capacity = 16, max_wait = "5s", order = "priority", aging = "10s" }
//! partial = { items = 100, bytes = 65536, keep = "last" }
//!
//! [tools.github_search.retry]
//! attempts = 5
//! backoff = "100ms"
//! max_backoff = "10s"
//! max_retry_after = "1m"
//! budget = 0.2              # retries for each call that succeeds
//!
//! [tools.github_search.breaker]
//! failure_rate = 0.5        # of the calls of the window
//! slow = "5s"
//! slow_rate = 0.8
//! window = "1m"
//! min_calls = 20
//! open = "30s"
//! probes = 2
//! "#,
//! )?;
//! assert_eq!(
//!     policies.stack("github_issue").to_string(),
//!     "github_issue, group github
//! └ timeout 1m
//!   └ retry 3 attempts, backoff 100ms to 10s, budget 0.2
//!     └ breaker 5 failures in a row, open 30s (tool)
//!       └ rate 10/s, queue 64 (tool)
//!         └ rate 10/s burst 20 and 5000/h, queue 64, by priority (group github)
//!           └ concurrency 4, queue 64 (tool)
//!             └ concurrency 8, queue 64, by priority (group github)
//!               └ timeout of an attempt 30s, idle 10s, first item 5s, grace 500ms
//!                 └ partial results first 1024 items, 1048576 bytes
//!                   └ tool
//! "
//! );
//! # Ok(()) }
//! ```
//!
//! # Which setting applies
//! That of the tool, otherwise that of its group, otherwise the default. `"none"` switches a
//! setting off that would be inherited. Limits are different in one point: those of a group are
//! shared by its members, beside the limit that each member has of its own or by default.
//! `concurrency = "none"` in a group takes the default off its members.
//!
//! Of two limits of a kind, that of the tool is the outer one. A call that waits for it takes no
//! permit and no token of the group from the other members. A tool is in one group at most. In the
//! list of a group, `"github_*"` stands for all tools whose names begin so.
//!
//! A layer of which no policy says anything is absent. A `queue` of a tool without a limit, and a
//! `grace` without a timeout, have no effect. Cleanup has no settings here: add a
//! [`CleanupLayer`](crate::CleanupLayer) to the toolbox.
//!
//! # Events
//! An [`EventsLayer`](crate::EventsLayer) around the toolbox receives what the layers do to calls,
//! with the name of the layer, such as `concurrency of search`. Changes of breakers and limits
//! belong to no call:
//! [`ToolboxBuilder::with_events`](crate::toolbox::ToolboxBuilder::with_events) delivers them.
//!
//! # Values
//! | setting | values |
//! |---|---|
//! | a duration | `"500ms"`, `"30s"`, `"2m"`, `"1h 30m"`, `"1d"`: from 1 ms to 365 days |
//! | a rate | `"10/s"`, `"600/m"`, `"1000/h"`, `"5000/d"`, or a table of [`Rate`]; up to 8 in a list |
//! | a number of calls, attempts or items | from 1 to 1,000,000 |
//! | a part of calls | from 0 to 1 |
//! | a table | [`QueueSettings`], [`BreakerSettings`], [`RetrySettings`], [`PartialSettings`], or the number that its first key is |
//!
//! # Errors
//! [`PolicyError`]: for a text, with the line, the column, the keys, and what is allowed there. In
//! JSON the place is the end of the value. A text of more than 4 MiB is not read.

mod apply;
mod change;
mod check;
mod data;
mod document;
mod error;
mod layers;
mod pattern;
mod plan;
mod read;
mod setting;
mod show;
mod stack;
mod store;
mod text;
mod value;
mod values;
mod write;

pub use change::{PolicyChange, SettingChange};
pub use data::{GroupPolicy, Policies, ToolPolicy};
pub use document::Document;
pub use error::{PolicyError, PolicyErrorKind};
pub use pattern::name_matches;
pub use setting::Setting;
pub use show::ToolStack;
pub use text::MAX_TEXT;
pub use values::{
    BreakerSettings, Keep, PartialSettings, QueueOrder, QueueSettings, Rate, RateSettings,
    RetrySettings,
};
