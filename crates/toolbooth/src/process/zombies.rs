//! Telling the dead from the living.
//!
//! A process that is dead and not reaped is a zombie, and to signals as good as a living one. A program's orphans are reaped by the system's
//! first process, and that of a container often does so late, or never. Where the system lists its processes as Linux does, they are told apart.

use std::fs;
use std::io;

/// Whether all that is left of a process group are zombies. False where that is not known.
pub(super) fn only_zombies(group: i32) -> bool {
    members_live(group).is_ok_and(|live| !live.is_empty() && live.iter().all(|lives| !lives))
}

/// Of each member of the group, whether it lives.
fn members_live(group: i32) -> io::Result<Vec<bool>> {
    let mut live = Vec::new();
    for entry in fs::read_dir("/proc")? {
        // What is no process has no such file, and one that has been reaped since has none either.
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

/// `pid (name) state parent group ...`, where the name may hold anything.
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
    fn a_process_is_told_by_its_state_and_group() {
        let stat = "12 (a) b (c)) Z 1 345 345 0 -1";
        assert_eq!(state_and_group(stat), Some(("Z", 345)));
        assert_eq!(state_and_group("12 (a"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn only_a_group_of_zombies_is_one() {
        use std::os::unix::process::CommandExt;
        use std::process::{Command, Stdio};

        let mut cat = Command::new("cat");
        let cat = cat.stdin(Stdio::piped()).process_group(0);
        let mut cat = cat.spawn().unwrap();
        let group = i32::try_from(cat.id()).unwrap();
        assert!(!only_zombies(group), "it waits for its input");
        drop(cat.stdin.take());
        while !only_zombies(group) {
            std::thread::yield_now();
        }
        cat.wait().unwrap();
        assert!(!only_zombies(group), "there is none");
    }
}
