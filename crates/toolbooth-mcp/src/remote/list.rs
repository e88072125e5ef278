//! The list of the tools of a server.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use rmcp::model::Tool;
use toolbooth::ToolSpec;

use super::builder::Settings;
use super::connection::Connection;
use super::error::bounded;
use super::server::Shared;
use super::{RemoteError, RemoteTool};
use crate::convert::from_tool;

/// The maximum number of tools of a server.
pub const MAX_TOOLS: usize = 10_000;

/// The maximum size of the list of a server, as JSON, in bytes.
const MAX_BYTES: usize = 32 * 1_024 * 1_024;

/// The maximum number of pages of a list.
const MAX_PAGES: usize = 1_000;

/// The maximum length of the name of a tool, with its prefix, in bytes.
const MAX_NAME: usize = 128;

/// The tools of a server by their names here.
pub(super) type Tools = BTreeMap<String, Listed>;

/// A tool of a list.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Listed {
    /// Its name at the server.
    pub(super) remote: Arc<str>,
    pub(super) spec: ToolSpec,
}

// === impl Listed ===

impl Listed {
    pub(super) fn tool(&self, shared: &Arc<Shared>) -> RemoteTool {
        RemoteTool::new(Arc::clone(shared), Arc::clone(&self.remote))
    }
}

/// Reads the whole list.
pub(super) async fn fetch(
    connection: &Connection,
    settings: &Settings,
) -> Result<Tools, RemoteError> {
    let unusable = |message: String| RemoteError::Tools {
        server: settings.name.clone(),
        message: message.into(),
    };
    let mut tools = Tools::new();
    let mut cursors = HashSet::new();
    let mut size = 0_usize;
    let mut cursor = None;
    for _ in 0..MAX_PAGES {
        let page = connection.page(cursor).await?;
        for tool in page.tools {
            let name = format!("{}{}", settings.prefix, tool.name);
            check_name(&name).map_err(|fault| unusable(fault.to_owned()))?;
            if tools.len() == MAX_TOOLS {
                return Err(unusable(format!("there are more than {MAX_TOOLS}")));
            }
            size = size.saturating_add(size_of(&tool));
            if size > MAX_BYTES {
                return Err(unusable(format!("they have more than {MAX_BYTES} bytes")));
            }
            let listed = Listed {
                remote: Arc::from(&*tool.name),
                spec: from_tool(tool, &name).with_trusted_annotations(settings.trusts_annotations),
            };
            if tools.insert(name, listed).is_some() {
                return Err(unusable("two of them have the same name".to_owned()));
            }
        }
        let Some(next) = page.next_cursor else {
            return Ok(tools);
        };
        if !cursors.insert(next.clone()) {
            let cursor = bounded(&next);
            return Err(unusable(format!("the list repeats the page `{cursor}`")));
        }
        cursor = Some(next);
    }
    Err(unusable(format!(
        "the list has more than {MAX_PAGES} pages"
    )))
}

fn size_of(tool: &Tool) -> usize {
    // What cannot be written cannot be shown to clients.
    serde_json::to_vec(tool).map_or(usize::MAX, |json| json.len())
}

fn check_name(name: &str) -> Result<(), &'static str> {
    match name.is_empty() || name.len() > MAX_NAME || name.contains(char::is_control) {
        true => Err("a name is empty, longer than 128 bytes, or has control characters"),
        false => Ok(()),
    }
}
