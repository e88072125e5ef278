//! The code of the child processes: this program, started with a special first argument.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use crate::{children, repository};

/// First argument: print each line of the repository that contains the second argument.
pub(crate) const SEARCH: &str = "child-search";
/// First argument: print a line every 200 ms for a minute.
pub(crate) const TICK: &str = "child-tick";

/// Runs as a child process if the arguments are those of one.
pub(crate) fn main(mut args: impl Iterator<Item = String>) -> Option<ExitCode> {
    let done = match args.next()?.as_str() {
        SEARCH => children::register().and_then(|()| search(&args.next().unwrap_or_default())),
        TICK => children::register().map(|()| tick()),
        _ => return None,
    };
    Some(match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    })
}

/// Searches like `grep -rn --fixed-strings`. Standard output is line-buffered, in a pipe as well.
fn search(pattern: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for file in repository::files()? {
        // Skips binary files.
        let Ok(text) = std::fs::read_to_string(&file) else {
            continue;
        };
        for (index, line) in text.lines().enumerate() {
            if line.contains(pattern) {
                let file = repository::relative(&file);
                writeln!(out, "{file}:{}:{}", index + 1, line.trim())?;
            }
        }
    }
    Ok(())
}

fn tick() {
    let mut out = io::stdout().lock();
    for tick in 1..=300 {
        // Ignores a closed pipe, so that only a signal ends the process.
        let _ = writeln!(out, "tick {tick}");
        #[expect(
            clippy::disallowed_methods,
            reason = "a separate process without a runtime"
        )]
        std::thread::sleep(Duration::from_millis(200));
    }
}
