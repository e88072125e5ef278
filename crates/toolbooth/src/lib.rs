#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc(test(attr(deny(warnings))))]
//! placeholder

#[cfg(feature = "cleanup")]
pub mod cleanup;
#[cfg(feature = "concurrency")]
pub mod concurrency;
#[cfg(feature = "handler")]
pub mod handler;
#[cfg(any(feature = "concurrency", feature = "rate"))]
mod line;
#[cfg(feature = "partial")]
pub mod partial;
#[cfg(feature = "rate")]
pub mod rate;
mod shell;
#[cfg(feature = "timeout")]
pub mod timeout;

#[cfg(feature = "cleanup")]
pub use cleanup::{CleanupLayer, DrainReport};
#[cfg(feature = "concurrency")]
pub use concurrency::ConcurrencyLimitLayer;
#[cfg(feature = "handler")]
pub use handler::{stream_tool_fn, tool_fn};
#[cfg(feature = "partial")]
pub use partial::PartialResultLayer;
#[cfg(feature = "rate")]
pub use rate::RateLimitLayer;
pub use shell::{ConfigError, PerTool};
#[cfg(feature = "timeout")]
pub use timeout::TimeoutLayer;
pub use toolbooth_core::*;
