//! `toolbooth init`: a commented file to start from.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::PathBuf;

use clap::Args;

use super::Ended;
use crate::cli::{DEFAULT_FILE, Exit, Failure};

/// Write a commented booth.toml to start from
///
/// The file works as it is: it offers one command as a tool. Each other table is there as a
/// comment. A file that exists is never overwritten.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  toolbooth init                    write booth.toml
  toolbooth init tools/booth.toml   write another file
  toolbooth init -                  print it")]
pub(crate) struct Init {
    /// The file, or `-` for standard output
    #[arg(value_name = "FILE", default_value = DEFAULT_FILE)]
    file: PathBuf,
}

/// The file that `toolbooth init` writes.
pub(crate) const TEXT: &str = include_str!("init.toml");

// === impl Init ===

impl Init {
    pub(crate) fn run(self, out: &mut dyn Write) -> Ended {
        if self.file.as_os_str() == "-" {
            out.write_all(TEXT.as_bytes())?;
            return Ok(Exit::Success);
        }
        let file = self.file.display();
        let mut created = match OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&self.file)
        {
            Ok(created) => created,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let message = format!(
                    "{file} exists already, and is not overwritten: name another file, or `-` \
                     to print it"
                );
                return Err(Failure::new(Exit::Unavailable, message));
            }
            Err(error) => {
                let message = format!("{file} could not be written: {error}");
                return Err(Failure::new(Exit::Unavailable, message));
            }
        };
        created.write_all(TEXT.as_bytes())?;
        writeln!(out, "{file} is written. Next:")?;
        writeln!(out, "  toolbooth check {file}")?;
        writeln!(
            out,
            "  toolbooth call disk_usage '{{\"path\": \".\"}}' --config {file}"
        )?;
        writeln!(out, "  toolbooth run {file}")?;
        Ok(Exit::Success)
    }
}
