//! The commands of the program, one file for each.

pub(crate) mod call;
pub(crate) mod check;
pub(crate) mod guard;
pub(crate) mod init;
pub(crate) mod run;
pub(crate) mod token;

use crate::cli::{Exit, Failure};

/// How a command ends.
pub(crate) type Ended = Result<Exit, Failure>;

/// Runs a future on a runtime of its own. What it leaves behind ends with it.
fn block_on<F: Future>(future: F) -> Result<F::Output, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let output = runtime.block_on(future);
    // Reading standard input may block a thread for ever.
    runtime.shutdown_background();
    Ok(output)
}
