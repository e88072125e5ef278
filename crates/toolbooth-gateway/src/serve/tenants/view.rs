//! The tools that a tenant may call.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use toolbooth::toolbox::{ToolService, ToolboxError};
use toolbooth::{ErrorKind, ToolError, ToolSpec, Toolbox};

use crate::config;

/// A toolbox of those tools of another one that a tenant may call. The others are unknown in it:
/// neither its list nor its errors name them.
#[derive(Debug)]
pub(crate) struct View {
    all: Toolbox,
    allowed: Toolbox,
    tenant: Arc<ArcSwap<config::Tenant>>,
}

// === impl View ===

impl View {
    pub(crate) fn new(all: Toolbox, tenant: &config::Tenant) -> Result<Self, ToolboxError> {
        let tool = ToolService::new(all.clone());
        let specs = all
            .specs()
            .into_iter()
            .filter(|spec| tenant.allows(spec.name()));
        let allowed = specs.fold(Toolbox::builder(), |builder, spec| {
            builder.tool(spec, tool.clone())
        });
        let tenant = Arc::new(ArcSwap::from_pointee(tenant.clone()));
        let (others, current) = (all.clone(), Arc::clone(&tenant));
        // Of a tool whose server is away. The names that are near to an unknown one are not its.
        let error = move |name: &str| {
            let error = others.resolve(name).err();
            let is_away = |error: &ToolError| error.kind() != ErrorKind::UnknownTool;
            error.filter(|error| is_away(error) && current.load().allows(name))
        };
        let allowed = allowed.with_unknown_tool(error).build()?;
        Ok(Self {
            all,
            allowed,
            tenant,
        })
    }

    pub(crate) const fn toolbox(&self) -> &Toolbox {
        &self.allowed
    }

    /// Inserts, replaces and removes tools as the tenant and the other toolbox now have them.
    ///
    /// The caller does not call it twice at once.
    pub(crate) fn update(&self, tenant: &config::Tenant) {
        self.tenant.store(Arc::new(tenant.clone()));
        let specs = self
            .all
            .specs()
            .into_iter()
            .filter(|spec| tenant.allows(spec.name()));
        let specs: BTreeMap<Arc<str>, ToolSpec> =
            specs.map(|spec| (Arc::from(spec.name()), spec)).collect();
        for name in self.allowed.names() {
            if !specs.contains_key(name.as_str()) {
                self.allowed.remove(name.as_str());
            }
        }
        let tool = ToolService::new(self.all.clone());
        for spec in specs.into_values() {
            let changed = match self.allowed.get(spec.name()) {
                None => self.allowed.insert(spec, tool.clone()),
                Some(known) if *known.spec() == spec => Ok(()),
                Some(_) => self.allowed.replace(spec, tool.clone()).map(drop),
            };
            if let Err(error) = changed {
                // The other toolbox has accepted the same description.
                tracing::error!(%error, "a tool is not shown to a tenant");
            }
        }
    }
}
