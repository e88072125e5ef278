//! A tool that cannot be cloned.

use std::future::{Ready, ready};
use std::io;
use std::task::{Context, Poll};

use toolbooth::{ToolCall, checked};
use tower::Service;

struct Weather;

impl Service<ToolCall> for Weather {
    type Response = String;
    type Error = io::Error;
    type Future = Ready<io::Result<String>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: ToolCall) -> Self::Future {
        ready(Ok("sunny".to_owned()))
    }
}

fn main() {
    checked::<ToolCall, _>(Weather);
}
