//! The commands of the program, one file for each.

pub(crate) mod call;
pub(crate) mod check;
pub(crate) mod guard;
pub(crate) mod init;
pub(crate) mod run;
pub(crate) mod token;

use tokio::runtime::Builder;

use crate::cli::{Exit, Failure};

/// How a command ends.
pub(crate) type Ended = Result<Exit, Failure>;

/// Runs a future on a runtime of its own. What it leaves behind ends with it.
fn block_on<F: Future>(future: F) -> Result<F::Output, Failure> {
    run_on(&mut Builder::new_multi_thread(), future)
}

/// As [`block_on`], for a program with one client. Its calls wait for servers: a second thread
/// would be woken several times in each, and have nothing to do.
fn block_on_one_worker<F: Future>(future: F) -> Result<F::Output, Failure> {
    run_on(Builder::new_multi_thread().worker_threads(1), future)
}

fn run_on<F: Future>(builder: &mut Builder, future: F) -> Result<F::Output, Failure> {
    let runtime = builder.enable_all().build()?;
    let output = runtime.block_on(future);
    // Reading standard input may block a thread for ever.
    runtime.shutdown_background();
    Ok(output)
}
