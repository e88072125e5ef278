//! Records calls of tools, and shows where their time went.
//!
//! A [`Recorder`] is a sink of toolbooth's `EventsLayer`. It keeps the phases of the latest calls:
//! the wait in the queue of each layer, the run of the tool, gaps between its items, the wait
//! before a retry, and cleanup. A [`Timeline`] is a snapshot of it.
//!
//! ```
//! use serde_json::json;
//! use toolbooth::{EventsLayer, ToolCall, tool_fn};
//! use toolbooth_timeline::{PhaseKind, Recorder};
//! use tower::{ServiceBuilder, ServiceExt};
//!
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let recorder = Recorder::new();
//! let search = ServiceBuilder::new()
//!     .layer(EventsLayer::new(recorder.clone()))
//!     .service(tool_fn("search", async |_: ()| Ok::<_, std::io::Error>("3 matches")));
//! search.oneshot(ToolCall::new("search", json!(null))).await?;
//!
//! let timeline = recorder.snapshot();
//! assert_eq!(timeline.calls[0].tool, "search");
//! assert_eq!(timeline.calls[0].phases[0].kind, PhaseKind::Run);
//! println!("{}", timeline.to_text(100));
//! # Ok(()) }
//! ```
//!
//! # Outputs
//! | for | use |
//! |---|---|
//! | a program | the fields of [`Timeline`] and [`CallRecord`] |
//! | a terminal | [`Timeline::to_text`], or [`Text`] with colour and other settings |
//! | Perfetto and other viewers of traces | [`Timeline::to_trace_json`] |
//! | a browser | [`Timeline::to_html`], a page without a server |
//! | a browser, live | `TimelineService` (feature `http`), for any HTTP server |
//! | a page of your own | [`Timeline::to_json`], and [`Recorder::changes_since`] for increments |
//!
//! What comes from calls is escaped in each of them.
//!
//! # Bounds
//! A recorder keeps 10,000 calls by default: see [`Recorder::with_capacity`]. Of each call it keeps
//! 64 [phases](Phase), 32 [marks](Mark), the first 256 bytes of each name, and with
//! [contents](Recorder::with_contents) the first 16 KiB of them. At most 32 of the phases are
//! [idle](PhaseKind::Idle): a gap of 100 ms or more between two items, reports of progress or
//! heartbeats. [`CallRecord::left_out`] counts the phases and marks that found no room.

#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc(test(attr(deny(warnings))))]

mod escape;
mod feed;
mod page;
mod record;
mod recorder;
#[cfg(feature = "http")]
mod service;
mod text;
mod trace;

pub use record::{CallRecord, Mark, MarkKind, Phase, PhaseKind, Timeline};
pub use recorder::Recorder;
#[cfg(feature = "http")]
pub use service::{TimelineBody, TimelineService};
pub use text::Text;
