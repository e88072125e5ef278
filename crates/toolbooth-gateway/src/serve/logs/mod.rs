//! Logs, to the standard error.

mod writer;

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::ParseError;

use self::writer::Lines;
pub use self::writer::LogGuard;
use crate::config::{Log, LogFormat};

/// What is logged by default.
const DEFAULT_FILTER: &str = "info";
/// A library whose logs have contents, and addresses with their secrets.
const UNSAFE_TARGET: &str = "rmcp";

/// Installs the logger of the process: text, coloured in a terminal, or JSON.
///
/// Neither has arguments, results or secrets, unless the filter names `rmcp`, whose logs have them,
/// or has `trace`.
///
/// At most 4,096 lines wait to be written. Further ones are dropped, so that a reader of the
/// standard error that stalls, such as the host of an MCP server, stalls no call.
///
/// # Errors
/// If the filter is wrong. A second call has no effect.
pub fn init(log: &Log) -> Result<LogGuard, ParseError> {
    let filter = EnvFilter::try_new(filter(log))?;
    let (lines, guard) = Lines::new(io::stderr());
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(io::stderr().is_terminal())
        .with_writer(lines);
    let installed = match log.format {
        LogFormat::Text => builder.try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    if let Err(error) = installed {
        tracing::debug!(error, "another logger is installed");
    }
    Ok(guard)
}

fn filter(log: &Log) -> String {
    let filter = log.level.as_deref().unwrap_or(DEFAULT_FILTER);
    match filter.contains(UNSAFE_TARGET) {
        true => filter.to_owned(),
        false => format!("{filter},{UNSAFE_TARGET}=off"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logs_with_contents_are_off_unless_the_filter_names_them() {
        for (level, expected) in [
            (None, "info,rmcp=off"),
            (Some("debug"), "debug,rmcp=off"),
            (Some("warn,rmcp=info"), "warn,rmcp=info"),
        ] {
            let level = level.map(str::to_owned);
            let log = Log {
                level,
                ..Log::default()
            };
            assert_eq!(filter(&log), expected);
        }
    }
}
