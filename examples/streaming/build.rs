//! The tool: a build that tells each step as it is done.

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

/// A line every 300 ms. The next step begins when the line of the one before is taken: the reader sets the pace.
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
