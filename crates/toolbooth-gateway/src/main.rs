//! The program `toolbooth`.

use std::process::ExitCode;

use toolbooth_gateway::cli::Cli;

fn main() -> ExitCode {
    Cli::main()
}
