//! Detects process groups of which only zombies remain.
//!
//! A zombie has ended and is not reaped. Signals do not distinguish it from a live process. Orphans
//! of a program are reaped by the init process, and that of a container often reaps late or never.
//! On systems with Linux's `/proc`, the state of a process is read there.

use std::fs;
use std::io;

/// Returns whether a process group has only zombies left. False if that is not known.
pub(super) fn only_zombies(group: i32) -> bool {
    members_live(group).is_ok_and(|live| !live.is_empty() && live.iter().all(|lives| !lives))
}

/// Returns for each member of the group whether it is alive.
fn members_live(group: i32) -> io::Result<Vec<bool>> {
    let mut live = Vec::new();
    for entry in fs::read_dir("/proc")? {
        // Other entries have no such file, nor does a process that was reaped meanwhile.
        let Ok(stat) = fs::read_to_string(entry?.path().join("stat")) else {
            continue;
        };
        if let Some((state, of)) = state_and_group(&stat) {
            if of == group {
                live.push(!matches!(state, "Z" | "X"));
            }
        }
    }
    Ok(live)
}

/// Parses `pid (name) state parent group ...`. The name may contain any character.
fn state_and_group(stat: &str) -> Option<(&str, i32)> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_whitespace();
    let state = fields.next()?;
    Some((state, fields.nth(1)?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn state_and_group_are_parsed() {
        let stat = "12 (a) b (c)) Z 1 345 345 0 -1";
        assert_eq!(state_and_group(stat), Some(("Z", 345)));
        assert_eq!(state_and_group("12 (a"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn only_zombies_is_true_for_a_group_of_zombies() {
        use std::os::unix::process::CommandExt;
        use std::process::{Command, Stdio};

        let mut cat = Command::new("cat");
        let cat = cat.stdin(Stdio::piped()).process_group(0);
        let mut cat = cat.spawn().unwrap();
        let group = i32::try_from(cat.id()).unwrap();
        assert!(!only_zombies(group), "alive, waits for its input");
        drop(cat.stdin.take());
        while !only_zombies(group) {
            std::thread::yield_now();
        }
        cat.wait().unwrap();
        assert!(!only_zombies(group), "no such group");
    }
}
