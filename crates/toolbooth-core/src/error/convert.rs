use std::any::Any;
use std::time::Duration;

use super::{BoxError, Origin, OverloadReason, Source, TimeoutScope, ToolError};

impl ToolError {
    /// Converts the error of an inner service. A `ToolError` is returned as it is, without boxing;
    /// any other error is converted by
    /// [`From<BoxError>`](#impl-From<Box<dyn+Error+%2B+Send+%2B+Sync>>-for-ToolError).
    #[must_use]
    #[expect(clippy::missing_panics_doc, reason = "the one `expect` cannot fail")]
    pub fn from_error<E: Into<BoxError> + 'static>(error: E) -> Self {
        let mut slot = Some(error);
        let ours = (&mut slot as &mut dyn Any).downcast_mut::<Option<Self>>();
        match ours.and_then(Option::take) {
            Some(ours) => ours,
            None => Self::from(slot.expect("only a `ToolError` was taken out").into()),
        }
    }
}

impl From<BoxError> for ToolError {
    /// Downcasts to a `ToolError`. tower's `Elapsed` becomes a timeout, its `Overloaded` an
    /// overload. Any other error, such as a tool's own timeout, becomes a failure of the tool.
    fn from(error: BoxError) -> Self {
        let error = match error.downcast::<Self>() {
            Ok(ours) => return *ours,
            Err(error) => error,
        };
        if error.is::<tower::timeout::error::Elapsed>() {
            return Self::timeout(TimeoutScope::Foreign, Duration::ZERO, Duration::ZERO);
        }
        if error.is::<tower::load_shed::error::Overloaded>() {
            return Self::overloaded(OverloadReason::Foreign);
        }
        Self::Tool {
            source: Source::new(error),
            retryable: false,
            outage: true,
            retry_after: None,
            origin: Origin::default(),
        }
    }
}
