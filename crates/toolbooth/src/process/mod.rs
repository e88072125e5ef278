//! Any program as a tool.
//!
//! Use it for what there is a program for already: `rg`, `git`, `ffmpeg`, a script. Its arguments and its input are filled from the
//! call's arguments, its standard output is the answer, and it ends with the call, together with everything it has started.
//! On unix only: elsewhere the feature is there and this module is not.
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
//! let wait = CommandTool::new("wait", "sh").with_args(["-c", "echo begun; sleep 60 & sleep 60"])?;
//!
//! let text = json!({ "pattern": "b; rm -rf $HOME", "text": "a\nb; rm -rf $HOME\n" });
//! let answer = count.oneshot(ToolCall::new("count", text)).await?.collect().await?;
//! assert_eq!(answer.text(), "1\n");
//!
//! let cleanup = CleanupLayer::new();
//! let wait = ServiceBuilder::new()
//!     .layer(TimeoutLayer::new(Duration::from_millis(500)))
//!     .layer(cleanup.clone())
//!     .layer(PartialResultLayer::new())
//!     .service(wait.with_inherited_env(["PATH"]));
//! let timeout = wait.oneshot(ToolCall::new("wait", json!({}))).await.err().ok_or("it waits for a minute")?;
//! let partial = timeout.partial().ok_or("it said a word before")?;
//! assert_eq!(partial.contents(), ["begun".into()]);
//!
//! // When this returns, the shell and both of its children are gone.
//! assert_eq!(cleanup.drain(Duration::from_secs(5)).await.ran, 1);
//! # Ok(()) }
//! ```
//!
//! # Arguments
//! In an argument, and in the input, `{name}` stands for the call's argument `name`: a text, a number or a boolean. No shell is involved unless
//! it is the program: whatever is filled in stays part of the one argument that it stands in. A call that lacks an argument, or has
//! another kind of value for it, is `InvalidArguments`, names it, and starts nothing.
//! What is filled into the text of a `sh -c` is code: there let the shell see it as an argument of its own, `["-c", "wc -c < \"$1\"", "sh", "{file}"]`.
//!
//! # Environment
//! The program sees no variable of ours, but those that [`with_inherited_env`](CommandTool::with_inherited_env) names and
//! [`with_env`](CommandTool::with_env) sets. It is looked up in *our* `PATH`; a shell that is to find programs needs one of its own.
//!
//! # Output
//! [`CommandOutput`]: one text where nothing is said, lines as they come, JSON, or bytes. In every case no more than the
//! [cap](CommandTool::with_output_cap) is kept, of 1 MiB where nothing is said, and lines longer than [`MAX_LINE`] come in pieces. What
//! was read when the call is cut short is its partial result, where a [partial-result layer](crate::partial) stands around.
//! Whatever a program writes, on its standard error as well, is a [heartbeat](crate::CallContext::heartbeat).
//! A program whose lines nobody reads waits: there is no buffer but the system's.
//!
//! An exit code other than 0 is an answer that reports a failure, `is_error`: what the program wrote, then a text with the code and
//! the last [`STDERR_TAIL`] bytes of its standard error. The meta of an answer has the `exit_code`, or the `signal` that
//! ended the program. Of a stream of lines it is known too late for that: it ends in [`CommandError::Exited`], after the last line.
//!
//! # Cancellation
//! A program leads a process group of its own, and the call's end is the group's end. When the program exits, what it has left
//! behind gets SIGTERM. When the call is cut (by a limit, by its caller, by a panic next to it, by dropping its future or its stream), the
//! whole group gets SIGTERM before the caller sees the error; what it still says is read and dropped. What is left after the [grace](CommandTool::with_kill_grace)
//! gets SIGKILL. The program is reaped. A task does that, and a hook of the call waits for it: with a
//! [cleanup layer](crate::cleanup) around, no process of the group is alive when [`drain`](crate::CleanupLayer::drain) returns. A runtime
//! that is shut down before kills the group without grace.
//! What ends with a call, and what cannot be ended, is in the [guide to cleanup](crate::cleanup::guide).
//!
//! Three things are out of reach: a process that leaves the group, as daemons do, lives on, and its output is not waited for; a zombie whose
//! parent is not ours stays until that parent reaps it; and where our own process is killed, nothing ends the programs, to which a
//! terminal's Ctrl-C does not go either: catch it, and drain.
//!
//! # Errors
//! `InvalidArguments`, and `Tool` with a [`CommandError`] as its source: the program is missing, its output is too long or no JSON.
//!
//! # Readiness
//! Always ready. The program is started when the call's future is first polled.
//!
//! # Clone
//! Clones are the same tool. A tool holds nothing between calls.
//!
//! # Panics
//! Child processes need a tokio runtime with io and time enabled: where there is none, the call panics, as tokio's do. They know nothing of a paused clock.
//!
//! # Cost
//! Starting a process, which blocks the thread for about a millisecond. A hook, and with it a task at the end of the call; a second one for a program that is cut.

mod command_tool;
mod error;
mod group;
mod output;
mod pipes;
mod program;
mod response;
mod running;
mod start;
mod template;
mod zombies;

pub use command_tool::{CommandTool, ResponseFuture};
pub use error::CommandError;
pub use output::{CommandOutput, MAX_LINE, STDERR_TAIL};
