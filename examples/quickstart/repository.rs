//! The input of the tools: the files of the repository that this program was built from.

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

/// Returns the folder of the workspace.
pub(crate) fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_owned()
}

/// Returns the files of the repository in order, without build products and hidden files.
pub(crate) fn files() -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == "target" || name.as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                files.push(entry.path());
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Returns the files with an extension, such as `rs`.
pub(crate) fn files_with(extension: &str) -> io::Result<Vec<PathBuf>> {
    let mut files = files()?;
    files.retain(|file| file.extension() == Some(OsStr::new(extension)));
    Ok(files)
}

/// Returns the path of a file relative to the root.
pub(crate) fn relative(file: &Path) -> String {
    file.strip_prefix(root())
        .unwrap_or(file)
        .display()
        .to_string()
}
