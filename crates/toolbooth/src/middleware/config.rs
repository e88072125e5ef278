use std::time::Duration;

/// A setting that cannot work, refused where it is given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A limit of no calls at all.
    #[error("a concurrency limit of 0 lets no call run: give at least 1, or `None` for no limit")]
    ZeroLimit,
    /// A time limit that is no limit.
    #[error(
        "a time limit of {0:?} cannot be waited for: say `TimeoutLayer::unlimited()` for no limit"
    )]
    EndlessTimeout(Duration),
    /// A limit for a layer that was made without one, and so has nothing to change.
    #[error(
        "this layer was made without a limit: make one with a limit, which can then be changed"
    )]
    NoLimit,
    /// A limit for one tool or key, of a layer whose limit is one for all calls.
    #[error("this layer has one limit for all calls, and none by tool or by key")]
    NotByKey,
    /// A retry of no attempts.
    #[error("a call of 0 attempts cannot be: give at least 1, which is a call without retries")]
    ZeroAttempts,
    /// A template of which a brace stands where it means nothing.
    #[error(
        "the template `{template}` is malformed at byte {at}: braces stand around the name of an argument, and a brace that is meant as one is doubled"
    )]
    #[non_exhaustive]
    MalformedTemplate {
        /// The template.
        template: Box<str>,
        /// At which of its bytes, from 0.
        at: usize,
    },
    /// A circuit breaker that opens after no failure.
    #[error("a circuit breaker cannot open after 0 failures: give at least 1")]
    ZeroFailures,
    /// A rate that is no part of all calls.
    #[error("a rate of calls must be from 0 to 1")]
    RateOutOfRange,
    /// A window that a rate cannot be over.
    #[error("a window must be of some time, or of 1 to 1,000,000 calls")]
    Window,
    /// A time that every call takes.
    #[error("every call takes 0 s or longer: say which calls are slow")]
    ZeroSlow,
    /// A growth that is none.
    #[error("an open time can only grow by a factor of 1 or more")]
    Growth,
    /// A circuit breaker that never closes.
    #[error("with 0 probes a circuit breaker would never close: give at least 1")]
    ZeroProbes,
    /// A circuit breaker of which every probe hangs.
    #[error("with 0 s for a probe a circuit breaker would never close: give it some time")]
    ZeroHalfOpenLimit,
}
