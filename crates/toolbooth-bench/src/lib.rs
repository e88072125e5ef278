//! The calls, stacks and tools that `ratios` times and `instructions` runs under a profiler.

#![expect(
    clippy::exhaustive_structs,
    clippy::missing_panics_doc,
    reason = "the package is not published"
)]

pub mod stacks;
pub mod storm;
pub mod tools;
pub mod waiting;

use std::fmt::Debug;

use tower::{Service, ServiceExt};

/// Makes `count` calls, one after the other.
pub async fn calls<R, S>(service: &mut S, request: impl Fn() -> R, count: u32)
where
    S: Service<R>,
    S::Error: Debug,
{
    for _ in 0..count {
        let ready = service.ready().await.expect("no stack rejects");
        ready.call(request()).await.expect("no stack rejects");
    }
}
