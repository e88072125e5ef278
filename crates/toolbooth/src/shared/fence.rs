/// The fencing number of a permit: a tool reads it from its context.
///
/// Each permit that the store grants has a higher number than those before. A storage that is
/// passed the number with each write, and rejects a number below the highest that it has seen, is
/// safe from a call that goes on after its permit was lost (Kleppmann, "How to do distributed
/// locking", 2016).
///
/// A limit that the store does not know begins with the time of the store in microseconds. So the
/// numbers go on to increase after the limit was unused, or the store has lost its data, unless its
/// clock was set back.
///
/// A call has none while the store is away. Of several shared limits around a tool it is that of
/// the innermost. A call that takes several permits has the number of the last.
///
/// ```
/// use toolbooth::shared::FencingNumber;
/// use toolbooth::{CallContext, tool_fn};
///
/// let write = tool_fn("write", async |call: CallContext, row: String| {
///     let number = call.extension::<FencingNumber>().map(|fence| fence.get());
///     Ok::<_, std::io::Error>(format!("{row} by {number:?}"))
/// });
/// # drop(write);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FencingNumber(u64);

// === impl FencingNumber ===

impl FencingNumber {
    pub(crate) const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Returns the number: 1 or more.
    #[must_use]
    pub const fn get(self) -> u64 {
        self.0
    }
}
