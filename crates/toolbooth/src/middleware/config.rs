use std::time::Duration;

/// A setting that cannot work, rejected when it is made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A concurrency limit of 0.
    #[error("a concurrency limit of 0 rejects every call: use at least 1, or `None` for no limit")]
    ZeroLimit,
    /// A timeout that never expires.
    #[error("a timeout of {0:?} never expires: use `TimeoutLayer::unlimited()` for no limit")]
    EndlessTimeout(Duration),
    /// A new limit for a layer that was made without one.
    #[error("this layer was made without a limit: only the limit of a limited layer can change")]
    NoLimit,
    /// A limit for one tool or key, for a layer with one limit for all calls.
    #[error("this layer has one limit for all calls, not one for each tool or key")]
    NotByKey,
    /// A retry policy with 0 attempts.
    #[error("a call cannot have 0 attempts: use at least 1, which is a call without retries")]
    ZeroAttempts,
    /// A retry budget with a ratio that is not from 0 to 1,000.
    #[error("a retry budget allows from 0 to 1,000 retries for each call that succeeds")]
    RetryRatio,
    /// A template with an unmatched brace, or with no argument name between braces.
    #[error(
        "the template `{template}` is malformed at byte {at}: \
         braces enclose the name of an argument, and a literal brace is doubled"
    )]
    #[non_exhaustive]
    MalformedTemplate {
        /// The template.
        template: Box<str>,
        /// The offset of the malformed byte, from 0.
        at: usize,
    },
    /// A setting of a tool needs a program that is not in `PATH`.
    #[error("there is no program `{program}` in PATH, which this setting needs")]
    #[non_exhaustive]
    MissingProgram {
        /// The program, such as `prlimit`.
        program: &'static str,
    },
    /// A circuit breaker that opens after 0 failures.
    #[error("a circuit breaker cannot open after 0 failures: use at least 1")]
    ZeroFailures,
    /// A rate of calls that is not from 0 to 1.
    #[error("a rate of calls must be from 0 to 1")]
    RateOutOfRange,
    /// A window without calls or time, or with more than 1,000,000 calls.
    #[error("a window must have a length above 0, or 1 to 1,000,000 calls")]
    Window,
    /// A window of a rate limit without calls or time, or with more than 10,000 calls.
    #[error("a window of a rate limit must have 1 to 10,000 calls and a period above 0")]
    RateWindow,
    /// A slow call of 0 s.
    #[error("every call takes 0 s or longer: use a longer time for slow calls")]
    ZeroSlow,
    /// A growth factor below 1.
    #[error("an open time can only grow by a factor of 1 or more")]
    Growth,
    /// A circuit breaker with 0 probes.
    #[error("a circuit breaker with 0 probes never closes: use at least 1")]
    ZeroProbes,
    /// A circuit breaker with a limit of 0 s on its probes.
    #[error("a circuit breaker with 0 s for a probe never closes: use a longer time")]
    ZeroHalfOpenLimit,
}
