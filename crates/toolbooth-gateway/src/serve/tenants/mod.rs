//! The clients: tenants with tokens, or all of loopback without any.
//!
//! Each tenant has a service of its own, with its sessions: the id of a session is unknown with
//! another tenant's token, and no list, progress or error leaves the service.

mod tenant;
mod tokens;
mod view;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use http::HeaderMap;
use toolbooth::toolbox::ToolboxError;

pub(crate) use self::tenant::{FrontSettings, Tenant};
pub(crate) use self::tokens::{NoToken, Tokens};
use super::calls::Calls;
use crate::config;

/// All tenants. They change when the file does.
#[derive(Debug)]
pub(crate) struct Tenants {
    calls: Calls,
    settings: FrontSettings,
    known: ArcSwap<Known>,
}

/// The tenants of one version of the file.
#[derive(Debug)]
struct Known {
    tokens: Tokens,
    /// Sorted by name.
    entries: Vec<Arc<Entry>>,
    /// The only tenant, if the file has none.
    open: Option<Arc<Entry>>,
}

/// A tenant, which is built with its first request.
#[derive(Debug)]
struct Entry {
    name: Option<String>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    config: Arc<config::Tenant>,
    built: Option<Arc<Tenant>>,
}

/// Why a request has no tenant.
#[derive(Debug)]
pub(crate) enum Denied {
    Token(NoToken),
    /// Its tools cannot be shown.
    Failed(ToolboxError),
}

/// Returns the settings of the only tenant: it needs no token, and may do anything.
const fn open() -> config::Tenant {
    config::Tenant {
        tokens: Vec::new(),
        priority: None,
        rate: None,
        concurrency: None,
        queue: None,
        tools: None,
    }
}

// === impl Tenants ===

impl Tenants {
    pub(crate) fn new(
        calls: Calls,
        settings: FrontSettings,
        tenants: &BTreeMap<String, config::Tenant>,
    ) -> Self {
        let known = ArcSwap::from_pointee(Known::new(tenants, None));
        Self {
            calls,
            settings,
            known,
        }
    }

    /// Returns the tenant of a request.
    pub(crate) fn of(&self, headers: &HeaderMap) -> Result<Arc<Tenant>, Denied> {
        let known = self.known.load();
        let entry = match &known.open {
            Some(open) => open,
            None => {
                let owner = known.tokens.owner(headers).map_err(Denied::Token)?;
                let owner = usize::try_from(owner).ok();
                let entry = owner.and_then(|owner| known.entries.get(owner));
                entry.ok_or(Denied::Token(NoToken::Invalid))?
            }
        };
        entry
            .tenant(&self.calls, &self.settings)
            .map_err(Denied::Failed)
    }

    /// Replaces the tenants. One that remains keeps its sessions, and the limits that are as before
    /// keep their state.
    pub(crate) fn apply(&self, tenants: &BTreeMap<String, config::Tenant>) {
        let before = self.known.load_full();
        self.known
            .store(Arc::new(Known::new(tenants, Some(&before))));
        for (name, entry) in before.entries() {
            if name.is_none_or(|name| !tenants.contains_key(name)) && !self.has(entry) {
                entry.close();
            }
        }
    }

    /// Updates the lists of tenants that may not call every tool.
    pub(crate) fn update_views(&self) {
        for (_, entry) in self.known.load().entries() {
            entry.update_view();
        }
    }

    /// Ends the sessions of all tenants.
    pub(crate) fn close(&self) {
        self.known
            .load()
            .entries()
            .for_each(|(_, entry)| entry.close());
    }

    fn has(&self, entry: &Arc<Entry>) -> bool {
        let known = self.known.load();
        known.entries().any(|(_, other)| Arc::ptr_eq(other, entry))
    }
}

// === impl Known ===

impl Known {
    fn new(tenants: &BTreeMap<String, config::Tenant>, before: Option<&Self>) -> Self {
        let mut known = Self {
            tokens: Tokens::default(),
            entries: Vec::with_capacity(tenants.len()),
            open: None,
        };
        let mut tokens = Vec::new();
        for (number, (name, tenant)) in (0..).zip(tenants) {
            tokens.extend(tenant.tokens.iter().map(|token| (*token, number)));
            let kept = before.and_then(|before| before.entry(name));
            let kept = kept.filter(|entry| entry.change(tenant));
            known
                .entries
                .push(kept.unwrap_or_else(|| Entry::new(Some(name), tenant.clone())));
        }
        known.tokens = Tokens::new(tokens);
        if tenants.is_empty() {
            let kept = before.and_then(|before| before.open.clone());
            let open = kept.unwrap_or_else(|| Entry::new(None, open()));
            known.open = Some(open);
        }
        known
    }

    fn entry(&self, name: &str) -> Option<Arc<Entry>> {
        let index = self
            .entries
            .binary_search_by(|entry| entry.name.as_deref().cmp(&Some(name)));
        self.entries.get(index.ok()?).cloned()
    }

    fn entries(&self) -> impl Iterator<Item = (Option<&str>, &Arc<Entry>)> {
        let entries = self.entries.iter().chain(&self.open);
        entries.map(|entry| (entry.name.as_deref(), entry))
    }
}

// === impl Entry ===

impl Entry {
    fn new(name: Option<&String>, config: config::Tenant) -> Arc<Self> {
        let config = Arc::new(config);
        let state = Mutex::new(State {
            config,
            built: None,
        });
        Arc::new(Self {
            name: name.cloned(),
            state,
        })
    }

    fn tenant(&self, calls: &Calls, settings: &FrontSettings) -> Result<Arc<Tenant>, ToolboxError> {
        let mut state = self.state();
        if let Some(tenant) = &state.built {
            return Ok(Arc::clone(tenant));
        }
        let tenant = Tenant::new(self.name.as_deref(), &state.config, calls, settings)?;
        let tenant = Arc::new(tenant);
        state.built = Some(Arc::clone(&tenant));
        Ok(tenant)
    }

    /// Applies other settings. Returns `false` if the tenant must be built again.
    fn change(&self, config: &config::Tenant) -> bool {
        let mut state = self.state();
        if state.config.tools.is_some() != config.tools.is_some() {
            return false;
        }
        if let Some(tenant) = &state.built {
            tenant.change(&state.config, config);
        }
        state.config = Arc::new(config.clone());
        true
    }

    fn update_view(&self) {
        let state = self.state();
        if let Some(tenant) = &state.built {
            tenant.update_view(&state.config);
        }
    }

    fn close(&self) {
        if let Some(tenant) = &self.state().built {
            tenant.close();
        }
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
