//! Lookup of programs.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Returns the file of `program`. A name without a slash is looked up in the `PATH` of this
/// process; a path is relative to the working directory of this process.
///
/// The lookup of the system would depend on the environment and the directory of the program.
pub(super) fn find(program: &OsStr) -> io::Result<PathBuf> {
    if program.as_encoded_bytes().contains(&b'/') {
        return std::path::absolute(program);
    }
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| is_executable(file))
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "there is no such program in PATH"))
        .and_then(std::path::absolute)
}

/// Returns the file of `program` if it can be executed, for a program that another one executes.
pub(super) fn find_executable(program: &OsStr) -> io::Result<PathBuf> {
    let file = find(program)?;
    std::fs::metadata(&file)?;
    match is_executable(&file) {
        true => Ok(file),
        false => Err(io::ErrorKind::PermissionDenied.into()),
    }
}

fn is_executable(file: &Path) -> bool {
    let meta = std::fs::metadata(file);
    meta.is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_looked_up_in_path_and_paths_become_absolute() {
        let sh = find(OsStr::new("sh")).unwrap();
        assert!(sh.is_absolute() && sh.ends_with("sh"), "{sh:?}");
        let here = find(OsStr::new("./nothing")).unwrap();
        assert_eq!(here, env::current_dir().unwrap().join("nothing"));
        for missing in ["", "no-such-program-anywhere"] {
            let missing = find(OsStr::new(missing)).unwrap_err();
            assert_eq!(missing.kind(), io::ErrorKind::NotFound);
        }
    }
}
