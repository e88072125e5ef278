//! What every layer stands on: one future, one way to start what is inside, settings by tool.

#[cfg(feature = "builder")]
mod builder_ext;
mod config;
#[cfg(any(feature = "catch-panic", feature = "spawn"))]
mod contained;
#[cfg(any(
    feature = "breaker",
    feature = "timeout",
    feature = "concurrency",
    feature = "rate",
    feature = "cleanup",
    feature = "partial",
    feature = "catch-panic",
    feature = "spawn"
))]
mod guarded;
#[cfg(any(feature = "breaker", feature = "concurrency", feature = "rate"))]
pub(crate) mod keys;
#[cfg(all(test, any(feature = "concurrency", feature = "rate")))]
mod keys_model;
mod per_tool;
#[cfg(any(
    feature = "breaker",
    feature = "timeout",
    feature = "concurrency",
    feature = "rate"
))]
mod refusal;
#[cfg(any(feature = "breaker", feature = "concurrency", feature = "rate"))]
pub(crate) mod sync;

#[cfg(feature = "builder")]
pub use builder_ext::ServiceBuilderExt;
pub use config::ConfigError;
#[cfg(any(feature = "catch-panic", feature = "spawn"))]
pub(crate) use contained::Contained;
#[cfg(any(feature = "concurrency", feature = "rate"))]
pub(crate) use guarded::Admit;
#[cfg(any(
    feature = "breaker",
    feature = "timeout",
    feature = "concurrency",
    feature = "rate"
))]
pub(crate) use guarded::Entry;
#[cfg(any(feature = "breaker", feature = "timeout"))]
pub(crate) use guarded::Never;
#[cfg(any(feature = "breaker", feature = "concurrency", feature = "rate"))]
pub(crate) use guarded::ask;
#[cfg(any(
    feature = "breaker",
    feature = "timeout",
    feature = "concurrency",
    feature = "rate",
    feature = "cleanup",
    feature = "partial",
    feature = "catch-panic",
    feature = "spawn"
))]
pub(crate) use guarded::{Guarded, LayerWatch};
pub use per_tool::PerTool;
#[cfg(any(
    feature = "breaker",
    feature = "timeout",
    feature = "concurrency",
    feature = "rate"
))]
pub(crate) use refusal::not_to_start;
