//! Tool calls in the shapes of language models: OpenAI Chat Completions, OpenAI Responses and
//! Anthropic Messages.
//!
//! Each shape is a module with the same functions. `tools` writes the definitions of the tools of a
//! toolbox (feature `toolbox`, on by default), `calls` reads the calls of a model's message, and
//! `result` writes what the model reads of a call. [`ModelCall::run`] is between them. It
//! returns a result for every call: one that timed out, was rejected or was cancelled, and one
//! whose arguments are not JSON. The APIs require a result for each id, so that a conversation
//! ends if one is missing.
//!
//! ```
//! use serde::Deserialize;
//! use serde_json::json;
//! use toolbooth::model::openai_chat;
//! use toolbooth::{ToolError, tool_fn};
//!
//! #[derive(Deserialize)]
//! struct Double { number: i64 }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), toolbooth::BoxError> {
//! let double = tool_fn("double", async |Double { number }| Ok::<_, ToolError>(2 * number));
//! let message = json!({
//!     "role": "assistant",
//!     "content": null,
//!     "tool_calls": [
//!         {
//!             "id": "call_1",
//!             "type": "function",
//!             "function": { "name": "double", "arguments": "{\"number\": 21}" },
//!         },
//!         {
//!             "id": "call_2",
//!             "type": "function",
//!             "function": { "name": "double", "arguments": "{\"number" },
//!         },
//!     ],
//! });
//! let mut results = Vec::new();
//! for call in openai_chat::calls(&message)? {
//!     results.push(openai_chat::result(&call.run(double.clone()).await));
//! }
//! assert_eq!(
//!     results[0],
//!     json!({ "role": "tool", "tool_call_id": "call_1", "content": "42" })
//! );
//! assert_eq!(
//!     results[1]["content"],
//!     "The call of the tool \"double\" has invalid arguments at `.`: not JSON: EOF while parsing a \
//!      string at line 1 column 8. The tool had not started, so the call had no effect. Correct the \
//!      arguments before you try again."
//! );
//! # Ok(()) }
//! ```
//!
//! # Tools
//! A definition has the name, the description and the JSON Schema of the arguments, which gets the
//! type `object` and no properties if it has neither. Names are written as they are. OpenAI accepts
//! letters, digits, `_` and `-`, at most 64 of them, and Anthropic at most 128.
//!
//! # Calls
//! The model's id of a call is the [id](crate::CallContext::id) of the [`ToolCall`], so logs and
//! errors have it, and the id of its result. Arguments are JSON or a text of JSON, and absent,
//! `null` and empty ones are `null`. Fields that are not known are ignored.
//!
//! A call without a name, with a name or an id of more than [`MAX_NAME`](crate::MAX_NAME) bytes, or
//! with arguments that are not JSON or nest deeper than [`MAX_JSON_DEPTH`](crate::MAX_JSON_DEPTH)
//! does not run. Its result has the error, and the other calls of the message run.
//!
//! # Results
//! The text of a response is [`Collected::text`](crate::Collected::text). If the response reports a
//! failure, a line follows that states so, since not every shape has a flag.
//!
//! The text of an error starts with the [partial result](crate::Partial::text), if there is one,
//! and a line follows: that the content is incomplete, what happened, whether the tool had started,
//! and when to try again ([`ToolError::model_message`]). It never has the error of the tool, the
//! message of a panic, or names and limits of the operator. A tool whose failure the model may read
//! returns [`ToolOutput::error`].
//!
//! Images (JPEG, PNG, GIF and WebP) follow the text where the shape has them. In the text
//! `[image/png, 5 bytes]` is in the place of each. Other bytes are in the text in the same way.
//!
//! # Cancel safety
//! Dropping the future of [`ModelCall::run`] ends the call, and its result is lost. For a model
//! that goes on, a [`Canceller`](crate::Canceller) ends the call instead, or [`ModelResult::new`]
//! makes the result from `ToolError::cancelled`.
//!
//! # Panics
//! A panic of the tool unwinds through [`ModelCall::run`]. With a
//! [`CatchPanicLayer`](crate::CatchPanicLayer) it is a result as well.

pub mod anthropic;
mod call;
mod message;
pub mod openai_chat;
pub mod openai_responses;
mod result;
#[cfg(feature = "toolbox")]
mod tools;

pub use call::ModelCall;
pub use message::MessageError;
pub use result::ModelResult;
#[cfg(doc)]
use toolbooth_core::{ToolCall, ToolError, ToolOutput};
