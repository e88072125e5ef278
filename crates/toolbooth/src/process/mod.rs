//! Runs programs as tools.
//!
//! Use it for existing programs: `rg`, `git`, `ffmpeg`, a script. The arguments and the input of
//! the program are filled from the arguments of the call. Its standard output is the response. The
//! program ends with the call, together with all processes that it has started. This module exists
//! on unix only; elsewhere the feature `process` has no effect.
//!
//! ```
//! use std::time::Duration;
//! use serde_json::json;
//! use toolbooth::{BoxError, CleanupLayer, CommandTool, PartialResultLayer, TimeoutLayer, ToolCall};
//! use tower::{ServiceBuilder, ServiceExt};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! let count = CommandTool::new("count", "grep").with_args(["-c", "--", "{pattern}"])?.with_stdin("{text}")?;
//! let wait = CommandTool::new("wait", "sh").with_args(["-c", "echo started; sleep 60 & sleep 60"])?;
//!
//! let text = json!({ "pattern": "b; rm -rf $HOME", "text": "a\nb; rm -rf $HOME\n" });
//! let response = count.oneshot(ToolCall::new("count", text)).await?.collect().await?;
//! assert_eq!(response.text(), "1\n");
//!
//! let cleanup = CleanupLayer::new();
//! let wait = ServiceBuilder::new()
//!     .layer(TimeoutLayer::new(Duration::from_millis(500)))
//!     .layer(cleanup.clone())
//!     .layer(PartialResultLayer::new())
//!     .service(wait.with_inherited_env(["PATH"]));
//! let timeout = wait.oneshot(ToolCall::new("wait", json!({}))).await.err().ok_or("no timeout")?;
//! let partial = timeout.partial().ok_or("no output")?;
//! assert_eq!(partial.contents(), ["started".into()]);
//!
//! // When `drain` returns, the shell and both of its children have ended.
//! assert_eq!(cleanup.drain(Duration::from_secs(5)).await.ran, 1);
//! # Ok(()) }
//! ```
//!
//! # Arguments
//! In an argument and in the input, `{name}` is replaced by the argument `name` of the call: a
//! string, a number or a boolean. No shell is involved unless it is the program: a value always
//! stays within its one argument. A call without the argument, or with a value of another type,
//! fails with `InvalidArguments`, which names the argument. Then no program is started. A value
//! within the script of `sh -c` would be code. Pass it to the shell as an argument of its own
//! instead: `["-c", "wc -c < \"$1\"", "sh", "{file}"]`.
//!
//! A number with a zero fraction is an integer: `2.0` is filled in as `2`. An argument that is
//! longer than the system allows, 128 KiB on Linux, fails with `InvalidArguments` as well. Pass
//! long values as the [input](CommandTool::with_stdin).
//!
//! # Environment
//! The program has only the variables that
//! [`with_inherited_env`](CommandTool::with_inherited_env) passes and
//! [`with_env`](CommandTool::with_env) sets. If none of them is `LC_ALL`, `LC_CTYPE` or `LANG`, it
//! has a UTF-8 locale: `LANG` is `C.UTF-8`. The program itself is looked up in the `PATH` of this
//! process. A shell that starts programs needs a `PATH` of its own.
//!
//! A program leads a session of its own, which has no controlling terminal. So a program that reads
//! a password from `/dev/tty` fails instead of waiting.
//!
//! # Output
//! [`CommandOutput`] is one text (the default), a stream of lines, JSON, or bytes. At most the
//! [cap](CommandTool::with_output_cap) is kept, by default 1 MiB. A longer text has its start and
//! its end, and a line that states how much is missing. Lines longer than [`MAX_LINE`] are split
//! into several items. The text of collected lines has a line end between two lines. If the
//! consumer does not read the stream of lines, the program blocks on its full pipe: there is no
//! buffer but that of the system, 4 KiB on Linux.
//!
//! The standard error is a content of its own after the output, by default. [`CommandStderr`]
//! merges it into the output, in order, or keeps only its end. The metadata has the index of that
//! content as `stderr`. A stream of lines ends with `{"stderr": text}` instead.
//!
//! With an outer [partial-result layer](crate::partial), the output of a call that failed is its
//! partial result, with an unfinished line, such as a prompt, and the last [`STDERR_TAIL`] bytes of
//! standard error. All output, that on standard error as well, is a
//! [heartbeat](crate::CallContext::heartbeat).
//!
//! With an exit code other than 0, or those of
//! [`with_ok_exit_codes`](CommandTool::with_ok_exit_codes), the response reports a failure,
//! `is_error`. A text with the code is its last content. The metadata has the `exit_code`, or the
//! `signal` that ended the program. A stream of lines has begun before the exit code is known. It
//! ends with [`CommandError::Exited`] after the last line. Neither is a failure in a [circuit
//! breaker](crate::breaker).
//!
//! When the program exits, what its pipes hold is the end of the output. Output that other
//! processes write later is not read. At most 64 KiB are read per poll.
//!
//! # Cancellation
//! A program leads a process group of its own, which ends with the call. When the program exits,
//! the remaining processes of the group receive SIGTERM, whether or not the consumer reads. When
//! the call ends early, the whole group receives SIGTERM before the caller receives the error, and
//! its further output is read and dropped. A call ends early by an expired limit, by cancellation,
//! by a panic, or because its future or its stream is dropped. A stopped process continues, to
//! receive the signal.
//!
//! With the [grace](crate::TimeoutLayer::with_grace) of a timeout layer, the group receives SIGTERM
//! at the limit, and the call waits within the grace. What the program writes then is in the
//! partial result. A JSON value or bytes of a program that exits with success are the partial
//! result as a whole.
//!
//! A concurrency limit outside counts a program until the caller receives the outcome, by default.
//! During the grace the next program may run beside it, so that a program that ends slowly delays
//! no other call. With
//! [`with_hold_until_ended`](crate::ConcurrencyLimitLayer::with_hold_until_ended) it is counted
//! until its group has ended, also beyond the limit of hooks.
//!
//! Processes that are alive after the [grace](CommandTool::with_kill_grace) receive SIGKILL. A task
//! sends these signals and reaps the program, and a cleanup hook of the call waits for that task.
//! So with an outer [cleanup layer](crate::cleanup), no process of the group is alive when
//! [`drain`](crate::CleanupLayer::drain) returns. A runtime that is shut down before kills the
//! group without grace. The [guide to cleanup](crate::cleanup::guide) lists what ends with a call
//! and what cannot be ended.
//!
//! Three cases are not covered:
//!
//! - A process that leaves the group, such as by `setsid`, continues to run. Its output is not
//!   awaited.
//! - A zombie whose parent is another process stays until that parent reaps it.
//! - If this process is killed, its programs continue to run, unless
//!   [`with_kill_on_host_exit`](CommandTool::with_kill_on_host_exit) is set. The Ctrl-C of a
//!   terminal is not sent to them either: handle it, and drain.
//!
//! # Limits
//! On Linux a program can have limits on [CPU time](CommandTool::with_cpu_limit),
//! [address space](CommandTool::with_memory_limit),
//! [processes](CommandTool::with_process_limit) and the
//! [size of files](CommandTool::with_file_size_limit). There is none by default.
//!
//! # Errors
//! `InvalidArguments`, and `Tool` with a [`CommandError`] as its source, such as for a missing
//! program or output that is too long or not JSON. A failure to start is retryable where a retry
//! can help: too many processes or open files, no memory, or a file that is being written.
//!
//! # Readiness
//! Always ready. The program is started by the first poll of the call's future.
//!
//! # Clone
//! Clones are the same tool. A tool has no state between calls.
//!
//! # Panics
//! Child processes need a tokio runtime with io and time enabled. Without one the call panics, as
//! tokio's own child processes do. A paused clock does not pause them.
//!
//! # Cost
//! Starting a process blocks the thread for about a millisecond, and longer in a process with
//! gigabytes of memory in use: a new session needs `fork`, which copies the page tables. Each
//! program has a task, and a cleanup hook needs one at the end of the call.

mod buffered;
mod child;
mod command_tool;
mod error;
mod group;
mod kept;
mod limits;
mod lines;
mod output;
mod pipes;
mod program;
mod response;
mod running;
mod start;
mod stream;
mod supervisor;
mod template;
mod zombies;

pub use child::{ChildPipes, ChildProgram};
pub use command_tool::{CommandTool, ResponseFuture};
pub use error::CommandError;
pub use output::{CommandOutput, CommandStderr, MAX_LINE, STDERR_TAIL};
pub use start::{INHERITED_VARIABLES, UTF_8};
