//! The settings of a single command, without a file.

use std::collections::BTreeMap;

use toolbooth::Policies;

use super::upstream::CONNECT_TIMEOUT;
use super::{Config, ConfigError, Listen, Log, Secret, Shutdown, Transport, Upstream};

pub(super) fn config(command: Vec<String>) -> Result<Config, ConfigError> {
    let mut command = command.into_iter();
    let program = command.next().filter(|program| !program.is_empty());
    let program = program.ok_or_else(|| ConfigError::command("there is no command after `--`"))?;
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
    let mut config = Config {
        upstreams: BTreeMap::from([("server".to_owned(), upstream)]),
        tools: BTreeMap::new(),
        policies: Policies::new().with_absent_tools(true),
        limits: None,
        listen: Listen::default(),
        tenants: BTreeMap::new(),
        admin: None,
        log: Log::default(),
        shutdown: Shutdown::default(),
    };
    super::limits::add_defaults(&mut config)?;
    Ok(config)
}
