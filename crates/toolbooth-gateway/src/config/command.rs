//! The settings of a single command, without a file.

use std::collections::BTreeMap;

use toolbooth::policy::Document;

use super::upstream::CONNECT_TIMEOUT;
use super::{Config, ConfigError, Listen, Log, Secret, Shutdown, Transport, Upstream};

impl Config {
    /// The policies of a server that is started without a file.
    ///
    /// A tool has 2 minutes, and one that reports no progress a minute. The server runs 4 calls at
    /// once: many servers take calls one by one, and a queue here has an order and limits. A tool
    /// that fails five times in a row is not called for 30 s. Nothing is repeated.
    pub const COMMAND_POLICIES: &'static str = "\
[policies.default]
timeout = \"2m\"
idle_timeout = \"1m\"
breaker = 5
partial = 1024

[policies.groups.server]
tools = [\"*\"]
concurrency = 4
queue = { capacity = 256, order = \"fair\" }
";
}

pub(super) fn config(command: Vec<String>) -> Result<Config, ConfigError> {
    let mut command = command.into_iter();
    let program = command.next().filter(|program| !program.is_empty());
    let program = program.ok_or_else(|| ConfigError::command("there is no command after `--`"))?;
    let document = Document::new(Config::COMMAND_POLICIES)?;
    let policies = super::file::read(&document, &|_| None)?.policies;
    let upstream = Upstream {
        transport: Transport::Stdio {
            program,
            args: command.map(Secret::new).collect(),
            env: BTreeMap::new(),
            inherit_env: None,
            current_dir: None,
        },
        prefix: String::new(),
        trust_annotations: false,
        connect_timeout: CONNECT_TIMEOUT,
    };
    Ok(Config {
        upstreams: BTreeMap::from([("server".to_owned(), upstream)]),
        tools: BTreeMap::new(),
        policies,
        listen: Listen::default(),
        tenants: BTreeMap::new(),
        admin: None,
        log: Log::default(),
        shutdown: Shutdown::default(),
    })
}
