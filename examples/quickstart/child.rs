//! The other side of the child processes: what this program does when it is started as one.

use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use crate::{children, repository};

/// First argument: print each line of the repository that holds the second one.
pub(crate) const SEARCH: &str = "child-search";
/// First argument: print a line every 200 ms, for a minute.
pub(crate) const TICK: &str = "child-tick";

/// Does a child's work if the arguments ask for it.
pub(crate) fn main(mut args: impl Iterator<Item = String>) -> Option<ExitCode> {
    let done = match args.next()?.as_str() {
        SEARCH => children::write_down().and_then(|()| search(&args.next().unwrap_or_default())),
        TICK => children::write_down().map(|()| tick()),
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

/// As `grep -rn --fixed-strings` does. The standard output is line-buffered, in a pipe as well.
fn search(pattern: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for file in repository::files()? {
        // What is no text has no lines to show.
        let Ok(text) = std::fs::read_to_string(&file) else {
            continue;
        };
        for (index, line) in text.lines().enumerate() {
            if line.contains(pattern) {
                let file = repository::shown(&file);
                writeln!(out, "{file}:{}:{}", index + 1, line.trim())?;
            }
        }
    }
    Ok(())
}

fn tick() {
    let mut out = io::stdout().lock();
    for tick in 1..=300 {
        // Should nobody listen any more, it goes on all the same: it ends when it is told to.
        let _ = writeln!(out, "tick {tick}");
        #[expect(
            clippy::disallowed_methods,
            reason = "a process of its own, without a runtime"
        )]
        std::thread::sleep(Duration::from_millis(200));
    }
}
