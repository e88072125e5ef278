//! Pages of the list of tools.
//!
//! A cursor contains the name of the last tool of its page, and the next page begins after that
//! name. So it stays valid when tools are inserted or removed in between, and a tool that stays is
//! neither repeated nor left out.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rmcp::ErrorData;
use rmcp::model::ListToolsResult;
use toolbooth::ToolSpec;

use crate::convert::to_tool;

/// The maximum length of a cursor, in bytes. Those of this module are shorter.
const MAX_CURSOR: usize = 256;

/// The first byte of the contents of a cursor.
const VERSION: u8 = 1;

/// Returns the page at this cursor. The descriptions are sorted by name.
pub(super) fn page(
    specs: &[ToolSpec],
    cursor: Option<&str>,
    size: usize,
) -> Result<ListToolsResult, ErrorData> {
    let after = match cursor {
        None => None,
        Some(cursor) => Some(parse(cursor).ok_or_else(invalid)?),
    };
    let begin = after.map_or(0, |after| {
        specs.partition_point(|spec| spec.name() <= after.as_str())
    });
    let rest = &specs[begin..];
    let page = &rest[..size.min(rest.len())];
    let last = page.last().filter(|_| rest.len() > page.len());
    let mut result = ListToolsResult::with_all_items(page.iter().map(to_tool).collect());
    result.next_cursor = last.map(|spec| write(spec.name()));
    Ok(result)
}

fn invalid() -> ErrorData {
    ErrorData::invalid_params("the cursor is not one of this server's", None)
}

fn write(name: &str) -> String {
    let mut bytes = vec![VERSION];
    bytes.extend_from_slice(name.as_bytes());
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}

fn parse(cursor: &str) -> Option<String> {
    let cursor = Some(cursor).filter(|cursor| cursor.len() <= MAX_CURSOR)?;
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let (version, name) = bytes.split_first()?;
    let name = Some(name).filter(|name| *version == VERSION && !name.is_empty())?;
    String::from_utf8(name.to_vec()).ok()
}
