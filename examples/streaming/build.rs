//! The tool: a build that streams a line for each step.

use std::time::Duration;

use futures_util::stream::{Stream, unfold};
use serde::Deserialize;
use tokio::time::sleep;
use toolbooth::{BoxError, CallContext, Content};

#[derive(Deserialize)]
pub(crate) struct Build {
    steps: usize,
    hangs_in: Option<usize>,
}

/// Returns a line every 300 ms. A step starts when the consumer has read the line of the last one.
pub(crate) fn build(
    _: CallContext,
    build: Build,
) -> impl Stream<Item = Result<Content, BoxError>> + Send + 'static {
    unfold((1, build), async |(step, build)| {
        if step > build.steps {
            return None;
        }
        if build.hangs_in == Some(step) {
            std::future::pending::<()>().await;
        }
        sleep(Duration::from_millis(300)).await;
        let line = Content::from(format!("step {step} of {}", build.steps));
        Some((Ok(line), (step + 1, build)))
    })
}
