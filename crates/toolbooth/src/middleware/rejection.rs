use std::time::Duration;

use toolbooth_core::{Bound, LayerName, OverloadReason, Part, ToolError};

use super::keys::MAX_KEY_BYTES;

/// Why there is no value for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyRejection {
    /// The key is too long; with its bytes.
    TooLong(usize),
    /// The map is full and no key is at rest; with the most keys.
    TooMany(usize),
}

/// The default time after which a call that was rejected by a shutdown may be tried again.
pub(crate) const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(5);

/// Returns the error of a call that must not start: it was cancelled before it was made, or its
/// deadline has passed.
///
/// For layers that acquire something in `decide`: called first, it keeps such a call from using a
/// token or a probe. [`LayerFuture::new`](super::LayerFuture::new) checks cancellation again for
/// the layers that do not call it.
#[inline(always)]
pub(crate) fn not_to_start(part: &Part, layer: &LayerName) -> Option<ToolError> {
    if let Some(reason) = part.cancelled_before_start() {
        return Some(ToolError::cancelled(reason));
    }
    let bound = part.passed_deadline()?;
    Some(deadline_passed(part, bound, layer))
}

#[cold]
fn deadline_passed(part: &Part, bound: Bound, layer: &LayerName) -> ToolError {
    let context = part.context();
    tracing::debug!(
        tool = context.tool(),
        call_id = %context.id(),
        %layer,
        limit = ?bound.limit(),
        waited = ?context.elapsed(),
        "rejected: the deadline has passed"
    );
    bound.error(context).with_layer(layer)
}

// === impl KeyRejection ===

impl KeyRejection {
    pub(crate) fn error(self) -> ToolError {
        match self {
            Self::TooLong(bytes) => {
                let message =
                    format!("a key may have {MAX_KEY_BYTES} bytes, and this one has {bytes}");
                ToolError::invalid_arguments("key", message)
            }
            Self::TooMany(keys) => ToolError::overloaded(OverloadReason::too_many_keys(keys)),
        }
    }
}
