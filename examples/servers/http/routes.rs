use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request};
use axum::response::IntoResponse;
use axum::response::sse::{Event, Sse};
use axum::routing::get;
use futures_util::{Stream, StreamExt, stream};
use toolbooth::ToolRequest;
use toolbooth_axum::ToolRouter;

use super::Toolbox;

/// The time between two items of a stream.
const PACE: Duration = Duration::from_millis(50);

/// Makes the routes without limits. They do not depend on any layer.
pub fn routes(tools: Toolbox) -> Router {
    Router::new()
        .route("/numbers/{count}", get(numbers))
        .route("/ticks/{count}", get(ticks))
        // `POST /tools/{name}`: JSON, or server-sent events for a client that accepts them.
        .merge(ToolRouter::new(tools).into_router())
}

/// A streaming body: the numbers from 1, one on each line.
async fn numbers(Path(count): Path<u64>, mut request: Request) -> impl IntoResponse {
    // Runs after the last line, or when a limit expires or the client disconnects.
    request.context().on_cleanup(move |outcome| async move {
        tracing::info!(?outcome, count, "the response has ended");
    });
    let lines = paced(count).map(|number| Ok::<_, Infallible>(Bytes::from(format!("{number}\n"))));
    Body::from_stream(lines)
}

/// Server-sent events: `count` ticks.
async fn ticks(Path(count): Path<u64>) -> impl IntoResponse {
    let events = paced(count).map(|number| {
        let event = Event::default().event("tick").data(number.to_string());
        Ok::<_, Infallible>(event)
    });
    Sse::new(events)
}

/// Returns the first number at once, and each other one after [`PACE`].
pub(in crate::servers) fn paced(count: u64) -> impl Stream<Item = u64> + Send {
    stream::iter(1..=count).then(async |number| {
        if number > 1 {
            tokio::time::sleep(PACE).await;
        }
        number
    })
}
