//! A chunk of an HTTP body that passes through the five layers.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use toolbooth_bench::stacks::five;
use tower::{Service, ServiceExt};

use crate::contender::{Contender, rounds, runtime};
use crate::measure::{ratio_of, timed};
use crate::report::Report;
use crate::{CALLS, ROUNDS};

/// A body of this many chunks of 1 KiB.
struct Chunks(u32);

impl Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.0 == 0 {
            return Poll::Ready(None);
        }
        self.0 -= 1;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[0; 1024])))))
    }
}

/// A service whose request is the number of chunks of its response body.
#[derive(Clone)]
struct Download;

impl Service<Request<u32>> for Download {
    type Response = Response<Chunks>;
    type Error = Infallible;
    type Future = Ready<Result<Response<Chunks>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<u32>) -> Self::Future {
        ready(Ok(Response::new(Chunks(request.into_body()))))
    }
}

pub(crate) fn run(report: &mut Report) {
    let mut bare = contender(Download);
    let mut ours = contender(five(Download));
    rounds(ROUNDS, CALLS, &mut [&mut bare, &mut ours]);
    report.ratio("body_chunk", ratio_of(&ours, &bare));
    report.nanos("body_chunk_bare", &bare);
    report.nanos("body_chunk", &ours);
}

fn contender<'a, S, B>(service: S) -> Contender<'a>
where
    S: Service<Request<u32>, Response = Response<B>> + Clone + 'a,
    S::Error: std::fmt::Debug,
    B: Body<Data = Bytes>,
    B::Error: std::fmt::Debug,
{
    let runtime = runtime();
    Contender::new(move |count| {
        timed(|| {
            runtime.block_on(async {
                let response = service.clone().oneshot(Request::new(count)).await;
                let mut body = std::pin::pin!(response.expect("no stack rejects").into_body());
                let mut bytes = 0;
                while let Some(frame) =
                    std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await
                {
                    bytes += frame
                        .expect("no stack rejects")
                        .data_ref()
                        .map_or(0, Bytes::len);
                }
                assert_eq!(bytes, count as usize * 1024);
            });
        })
    })
}
