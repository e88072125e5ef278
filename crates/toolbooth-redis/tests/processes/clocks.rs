//! Processes whose clocks differ by an hour.

use std::path::Path;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::worker::{Work, Worker};

/// Starts every second worker with a clock an hour ahead.
pub(crate) fn start_apart(number: u32, work: &Work) -> Worker {
    if number.is_multiple_of(2) {
        return work.start();
    }
    let faketime = Path::new("/usr/bin/faketime");
    assert!(faketime.exists(), "install the Debian package faketime");
    let mut command = Command::new(faketime);
    // Only the clock of the calendar: all processes of a machine share the other one.
    command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    command.env("DONT_FAKE_MONOTONIC", "1");
    command.args(["-f", "+1h"]);
    command.arg(std::env::current_exe().expect("this program"));
    work.start_by(command)
}

/// Asserts that the clock of a worker that has ended is right, or an hour ahead.
pub(crate) fn assert_apart(number: u32, clock: u64) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let ahead = clock.saturating_sub(now.expect("after 1970").as_secs());
    assert_eq!(ahead > 3_000, !number.is_multiple_of(2), "{ahead} s");
}
