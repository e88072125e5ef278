//! `toolbooth token`: a token for a client, and the line of the file for it.

use std::io::Write;

use clap::Args;

use super::Ended;
use crate::cli::{Exit, Failure};
use crate::config::{TokenHash, is_name, name_rule};

/// Make a token for a client, and the lines of the file for it
///
/// The token has 256 random bits. It is printed once and stored nowhere: the file has its SHA-256,
/// from which the token cannot be found. Clients send it as `Authorization: Bearer TOKEN`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  toolbooth token alice             print a token, and the table [tenants.alice]
  toolbooth token alice >> note     keep the token where only you can read it")]
pub(crate) struct Token {
    /// The name of the client in the file
    #[arg(value_name = "NAME", default_value = "client")]
    name: String,
}

/// The random bytes of a token.
const BYTES: usize = 32;

// === impl Token ===

impl Token {
    pub(crate) fn run(self, out: &mut dyn Write) -> Ended {
        if !is_name(&self.name) {
            return Err(Failure::new(Exit::Usage, name_rule()));
        }
        let mut bytes = [0; BYTES];
        getrandom::fill(&mut bytes).map_err(|error| Failure::new(Exit::Unavailable, error))?;
        let token = encode(&bytes);
        let hash = TokenHash::of(&token);
        let name = key(&self.name);
        writeln!(
            out,
            "# For the client, as `Authorization: Bearer`. Shown once; keep it out of the file."
        )?;
        writeln!(out, "# {token}")?;
        writeln!(out, "# For the file:")?;
        writeln!(out, "[tenants.{name}]")?;
        writeln!(out, "token_sha256 = \"{hash}\"")?;
        Ok(Exit::Success)
    }
}

/// Returns the token: its kind, which scanners for secrets find, and the bytes in hexadecimal.
fn encode(bytes: &[u8]) -> String {
    let mut token = "tbk_".to_owned();
    for byte in bytes {
        token.push_str(&format!("{byte:02x}"));
    }
    token
}

/// Returns the name as a key of TOML.
fn key(name: &str) -> String {
    match name.contains(['.', '/']) {
        true => format!("\"{name}\""),
        false => name.to_owned(),
    }
}
