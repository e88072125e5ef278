//! Checks of the settings as a whole.

use std::net::SocketAddr;

use toolbooth::policy::{Document, PolicyError};

use super::{Config, MAX_TENANTS, MAX_TOOLS, MAX_UPSTREAMS};

type Checked = Result<(), PolicyError>;

/// The longest name, in bytes, as MCP has it.
const MAX_NAME: usize = 128;

pub(super) fn check(config: &Config, document: &Document) -> Checked {
    count(document, "upstreams", config.upstreams.len(), MAX_UPSTREAMS)?;
    count(document, "tools", config.tools.len(), MAX_TOOLS)?;
    count(document, "tenants", config.tenants.len(), MAX_TENANTS)?;
    for name in config.upstreams.keys() {
        self::name(document, &["upstreams", name], name)?;
    }
    for name in config.tools.keys() {
        self::name(document, &["tools", name], name)?;
    }
    for name in config.tenants.keys() {
        self::name(document, &["tenants", name], name)?;
    }
    something(config, document)?;
    prefixes(config, document)?;
    policies(config, document)?;
    tokens(config, document)?;
    addresses(config, document)
}

fn count(document: &Document, key: &str, found: usize, max: usize) -> Checked {
    match found <= max {
        true => Ok(()),
        false => {
            let message = format!("there are {found}, and {max} are allowed");
            Err(document.fault(&[key], message))
        }
    }
}

fn name(document: &Document, keys: &[&str], name: &str) -> Checked {
    match is_name(name) {
        true => Ok(()),
        false => Err(document.fault(keys, name_rule())),
    }
}

/// Returns whether it can be the name of a tool, as MCP has them.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty() && is_start(name)
}

/// Returns whether the name of a tool can begin so.
fn is_start(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_-./".contains(&byte);
    name.len() <= MAX_NAME && name.bytes().all(allowed)
}

pub(crate) fn name_rule() -> String {
    format!("a name has 1 to {MAX_NAME} characters: letters, digits, `_`, `-`, `.` and `/`")
}

fn something(config: &Config, document: &Document) -> Checked {
    match config.upstreams.is_empty() && config.tools.is_empty() {
        true => {
            let message = "there is no tool: add a server such as [upstreams.time], or a command \
                 such as [tools.disk_usage]";
            Err(document.fault(&[], message))
        }
        false => Ok(()),
    }
}

/// Checks that a server cannot offer a tool under the name of another server's tool.
fn prefixes(config: &Config, document: &Document) -> Checked {
    for (name, upstream) in &config.upstreams {
        let at = ["upstreams", name, "prefix"];
        if !is_start(&upstream.prefix) {
            return Err(document.fault(&at, name_rule()));
        }
        if config.upstreams.len() > 1 && upstream.prefix.is_empty() {
            let message = format!(
                "with several servers each has a prefix of its own, so that none can take the \
                 name of another's tool: add `prefix = \"{name}_\"`"
            );
            return Err(document.fault(&at, message));
        }
        let others = config.upstreams.iter().filter(|(other, _)| *other != name);
        for (other, another) in others {
            if another.prefix.starts_with(&upstream.prefix) {
                let message = format!(
                    "`{}` is a start of the prefix of `{other}`: each server has a prefix of its \
                     own",
                    upstream.prefix
                );
                return Err(document.fault(&at, message));
            }
        }
    }
    Ok(())
}

/// Checks that no policy is for a tool that can never be there, as a misspelt one.
fn policies(config: &Config, document: &Document) -> Checked {
    for name in config.policies.tools.keys() {
        policy(config, document, &["policies", "tools", name], name)?;
    }
    for (group, policy) in &config.policies.groups {
        for (index, name) in policy.tools.iter().enumerate() {
            let index = index.to_string();
            let at = ["policies", "groups", group, "tools", &index];
            self::policy(config, document, &at, name)?;
        }
    }
    Ok(())
}

fn policy(config: &Config, document: &Document, keys: &[&str], name: &str) -> Checked {
    let mut prefixes = config.upstreams.values().map(|upstream| &upstream.prefix);
    let can_be = match name.strip_suffix('*') {
        Some(start) => {
            config.tools.keys().any(|tool| tool.starts_with(start))
                || prefixes.any(|prefix| prefix.starts_with(start) || start.starts_with(prefix))
        }
        None => config.tools.contains_key(name) || prefixes.any(|prefix| name.starts_with(prefix)),
    };
    match can_be {
        true => Ok(()),
        false => {
            let message = format!(
                "there is no tool `{name}`: no command has this name, and no server a prefix of it"
            );
            Err(document.fault(keys, message))
        }
    }
}

fn tokens(config: &Config, document: &Document) -> Checked {
    let mut seen = std::collections::HashMap::new();
    for (name, tenant) in &config.tenants {
        let at = ["tenants", name, "token_sha256"];
        for token in &tenant.tokens {
            if let Some(other) = seen.insert(token, name) {
                let message = match other == name {
                    true => "a token is given twice".to_owned(),
                    false => format!("it is the token of `{other}`, too"),
                };
                return Err(document.fault(&at, message));
            }
        }
    }
    let admin = config.admin.iter().flat_map(|admin| &admin.tokens);
    match admin.filter_map(|token| seen.get(token)).next() {
        Some(tenant) => {
            let message = format!("it is the token of the tenant `{tenant}`, too");
            Err(document.fault(&["admin", "token_sha256"], message))
        }
        None => Ok(()),
    }
}

/// Returns whether other machines reach an address of clients without a token.
pub(super) fn is_open(http: SocketAddr, config: &Config) -> bool {
    !http.ip().is_loopback() && config.tenants.is_empty()
}

/// Checks that everything that is reachable from elsewhere needs a token.
fn addresses(config: &Config, document: &Document) -> Checked {
    let listen = &config.listen;
    if !listen.path.starts_with('/') || listen.path.len() > MAX_NAME {
        let message = "a path such as \"/mcp\" begins with `/`";
        return Err(document.fault(&["listen", "path"], message));
    }
    if let Some(http) = listen.http.filter(|http| is_open(*http, config)) {
        let message = format!(
            "{http} is reachable from other machines, so clients need tokens: add \
             [tenants.NAME] with the line that `toolbooth token` prints, or listen on 127.0.0.1"
        );
        return Err(document.fault(&["listen", "http"], message));
    }
    let Some(admin) = &config.admin else {
        return Ok(());
    };
    if !admin.listen.ip().is_loopback() && admin.tokens.is_empty() {
        let message = format!(
            "{} is reachable from other machines, so it needs a token: add `token_sha256` with \
             the value that `toolbooth token` prints, or listen on 127.0.0.1",
            admin.listen
        );
        return Err(document.fault(&["admin", "listen"], message));
    }
    let is_same = listen.http == Some(admin.listen) && admin.listen.port() != 0;
    match is_same {
        true => {
            let message = "it is the address of [listen], too";
            Err(document.fault(&["admin", "listen"], message))
        }
        false => Ok(()),
    }
}
