//! Names that are similar to an unknown one.

use toolbooth_core::Name;

use super::error::MAX_NAME;

/// The maximum number of names that an error lists.
const MAX_NEAREST: usize = 3;

/// The maximum work for one unknown name, in pairs of bytes that are compared. About 5 ms.
const MAX_WORK: usize = 1 << 20;

/// Returns the names that are most similar to `name`, the nearest first.
///
/// A name is similar if few edits turn it into the other, or if it contains the other. The work is
/// bounded: of many thousand names of the same length, not all are compared.
pub(crate) fn nearest<'a>(name: &str, names: impl IntoIterator<Item = &'a Name>) -> Vec<Name> {
    if name.is_empty() || name.len() > MAX_NAME {
        return Vec::new();
    }
    let max_edits = name.len().div_ceil(3);
    let mut work = 0;
    let mut similar = Vec::new();
    for candidate in names {
        let edits = candidate.len().abs_diff(name.len());
        if edits > max_edits {
            let contains = candidate.contains(name) || name.contains(candidate.as_str());
            if contains && name.len().min(candidate.len()) > 2 {
                similar.push((edits, candidate));
            }
            continue;
        }
        work += name.len() * candidate.len();
        if work > MAX_WORK {
            continue;
        }
        let edits = strsim::osa_distance(name, candidate);
        if edits <= max_edits {
            similar.push((edits, candidate));
        }
    }
    similar.sort_unstable();
    similar.truncate(MAX_NEAREST);
    similar.into_iter().map(|(_, name)| name.clone()).collect()
}
