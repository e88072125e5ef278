//! The tables of the file as they are written, and what they mean.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;
use toolbooth::policy::{Document, Policies, PolicyError, Setting};

use super::listen::{AdminTable, ListenTable, LogTable, ShutdownTable};
use super::secret::{Environment, Template};
use super::store::LimitsTable;
use super::tenant::TenantTable;
use super::tool::ToolTable;
use super::upstream::UpstreamTable;
use super::{Config, Secret};

/// The whole file.
#[derive(Default, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "the tables of a booth")]
struct File {
    upstreams: BTreeMap<String, UpstreamTable>,
    tools: BTreeMap<String, ToolTable>,
    policies: Policies,
    limits: Option<LimitsTable>,
    listen: ListenTable,
    tenants: BTreeMap<String, TenantTable>,
    admin: Option<AdminTable>,
    log: LogTable,
    shutdown: ShutdownTable,
}

/// What the tables are read with.
pub(super) struct Reader<'a> {
    document: &'a Document,
    environment: Environment<'a>,
}

/// Reads the settings. What depends on several of them is not checked.
pub(super) fn read(
    document: &Document,
    environment: Environment<'_>,
) -> Result<Config, PolicyError> {
    // Policies have no secrets.
    let file = document.read::<File>();
    let file = file.map_err(|error| match error.path().starts_with("policies") {
        true => error,
        false => error.without_value(),
    })?;
    let reader = Reader {
        document,
        environment,
    };
    let mut upstreams = BTreeMap::new();
    for (name, table) in file.upstreams {
        let upstream = table.read(&reader, &["upstreams", &name])?;
        upstreams.insert(name, upstream);
    }
    let mut tools = BTreeMap::new();
    for (name, table) in file.tools {
        let tool = table.read(&reader, &["tools", &name])?;
        tools.insert(name, tool);
    }
    let mut tenants = BTreeMap::new();
    for (name, table) in file.tenants {
        let tenant = table.read(&reader, &["tenants", &name])?;
        tenants.insert(name, tenant);
    }
    Ok(Config {
        upstreams,
        tools,
        policies: document
            .policies(file.policies, &["policies"])?
            .with_absent_tools(true),
        limits: file.limits.map(|limits| limits.read(&reader)).transpose()?,
        listen: file.listen.read(&reader)?,
        tenants,
        admin: file.admin.map(AdminTable::read),
        log: file.log.read(&reader)?,
        shutdown: file.shutdown.read(&reader)?,
    })
}

// === impl Reader ===

impl Reader<'_> {
    /// Returns the error of a fault at a key of the table at `keys`.
    pub(super) fn fault(
        &self,
        keys: &[&str],
        key: &str,
        message: impl Into<String>,
    ) -> PolicyError {
        self.document.fault(&[keys, &[key]].concat(), message)
    }

    /// Returns the error of a fault at an element, or a key, of the table at `key`.
    pub(super) fn fault_in(
        &self,
        keys: &[&str],
        key: &str,
        element: &str,
        message: impl Into<String>,
    ) -> PolicyError {
        self.document
            .fault(&[keys, &[key, element]].concat(), message)
    }

    /// Fills in the variables of a text.
    pub(super) fn text(
        &self,
        keys: &[&str],
        key: &str,
        text: &Template,
    ) -> Result<Secret, PolicyError> {
        let text = text.resolve(self.environment);
        text.map_err(|message| self.fault(keys, key, message))
    }

    /// Fills in the variables of an element of a list, with the values converted.
    pub(super) fn element(
        &self,
        keys: &[&str],
        key: &str,
        index: usize,
        text: &Template,
        convert: impl Fn(String) -> String,
    ) -> Result<String, PolicyError> {
        let text = text.fill(self.environment, convert);
        text.map_err(|message| self.fault_in(keys, key, &index.to_string(), message))
    }

    /// Fills in the variables of a table.
    pub(super) fn table(
        &self,
        keys: &[&str],
        key: &str,
        table: &BTreeMap<String, Template>,
    ) -> Result<BTreeMap<String, Secret>, PolicyError> {
        let texts = table.iter().map(|(name, text)| {
            let text = text.resolve(self.environment);
            let text = text.map_err(|message| self.fault_in(keys, key, name, message))?;
            Ok((name.clone(), text))
        });
        texts.collect()
    }

    /// Returns a duration that cannot be switched off, or its default.
    pub(super) fn duration(
        &self,
        keys: &[&str],
        key: &str,
        given: &Setting<Duration>,
        default: Duration,
    ) -> Result<Duration, PolicyError> {
        match given {
            Setting::Unset => Ok(default),
            Setting::Value(value) => Ok(*value),
            Setting::Off => Err(self.fault(keys, key, "it cannot be \"none\"")),
        }
    }

    /// Returns a count of bytes or connections that cannot be switched off, or its default.
    pub(super) fn size<T: Copy + TryInto<usize>>(
        &self,
        keys: &[&str],
        key: &str,
        given: &Setting<T>,
        default: usize,
    ) -> Result<usize, PolicyError> {
        match given {
            Setting::Unset => Ok(default),
            Setting::Value(value) => Ok((*value).try_into().unwrap_or(usize::MAX)),
            Setting::Off => Err(self.fault(keys, key, "it cannot be \"none\"")),
        }
    }
}
