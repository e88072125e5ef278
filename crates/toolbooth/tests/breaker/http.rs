//! What HTTP and gRPC responses count as: by their head and trailers, whether they are read or not.

use ::http::{HeaderMap, Request, Response, StatusCode};
use bytes::Bytes;
use http_body::Body;
use http_body_util::{BodyExt, Full};
use toolbooth::breaker::{CallResult, Failures};
use tower::service_fn;

use super::counts::{Verdict, verdict_of};
use super::*;

/// A response of one data frame.
#[derive(Debug, Clone, Copy)]
struct Reply {
    status: u16,
    /// A header of the head.
    head: Option<(&'static str, &'static str)>,
    /// The code of gRPC in the trailers.
    trailers: Option<&'static str>,
    is_grpc: bool,
}

/// What the client does with the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Client {
    Reads,
    /// Reads one frame, and leaves.
    Leaves,
    DropsUnread,
}

const CLIENTS: [Client; 3] = [Client::Reads, Client::Leaves, Client::DropsUnread];

impl Reply {
    const fn of(status: u16) -> Self {
        Self {
            status,
            head: None,
            trailers: None,
            is_grpc: false,
        }
    }

    /// A response of gRPC with this code in its head.
    const fn grpc_head(code: &'static str) -> Self {
        Self {
            head: Some(("grpc-status", code)),
            is_grpc: true,
            ..Self::of(200)
        }
    }

    /// A response of gRPC with this code in its trailers.
    const fn grpc_trailers(code: &'static str) -> Self {
        Self {
            trailers: Some(code),
            is_grpc: true,
            ..Self::of(200)
        }
    }

    fn response(self) -> Response<impl Body<Data = Bytes, Error = ToolError> + Unpin + use<>> {
        let mut response = Response::builder().status(self.status);
        if self.is_grpc {
            response = response.header("content-type", "application/grpc+proto");
        }
        if let Some((name, value)) = self.head {
            response = response.header(name, value);
        }
        let trailers = self.trailers.map(|code| {
            let code = code.parse().expect("a header");
            HeaderMap::from_iter([("grpc-status".parse().expect("a name"), code)])
        });
        // The length is declared, as in a response of a buffered body.
        let body = Full::new(Bytes::from("body")).map_err(|never| match never {});
        let body = body.with_trailers(std::future::ready(trailers.map(Ok)));
        response.body(body).expect("a response")
    }
}

impl Client {
    async fn receive<B: Body<Data = Bytes, Error = ToolError> + Unpin>(self, mut body: B) {
        match self {
            Self::Reads => drop(body.collect().await.expect("a body")),
            Self::Leaves => drop(body.frame().await.expect("a frame")),
            Self::DropsUnread => {}
        }
    }
}

/// Makes a call through the breaker to a service that replies with this.
async fn receive(breaker: &CircuitBreakerLayer, reply: Reply, client: Client) {
    let service = breaker.layer(service_fn(move |_: Request<()>| {
        std::future::ready(Ok::<_, ToolError>(reply.response()))
    }));
    if let Ok(response) = service.oneshot(Request::new(())).await {
        client.receive(response.into_body()).await;
    }
}

async fn verdict(policy: BreakerPolicy, reply: Reply, client: Client) -> Verdict {
    verdict_of(policy, |breaker| async move {
        receive(&breaker, reply, client).await;
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn status_of_500_or_above_and_408_are_failures_by_default() {
    for policy in [two(), two().with_failures(Failures::http())] {
        for (statuses, expected) in [
            (
                [100, 200, 301, 400, 401, 404, 407, 409, 429, 499, 600].as_slice(),
                Verdict::Success,
            ),
            (&[408, 500, 501, 502, 503, 504, 599], Verdict::Failure),
        ] {
            for status in statuses {
                let verdict = verdict(policy.clone(), Reply::of(*status), Client::Reads).await;
                assert_eq!(verdict, expected, "{status}");
            }
        }
    }
}

/// Case B3b. The head decides, whether or not its body is read.
#[tokio::test(start_paused = true)]
async fn body_that_is_not_read_counts_by_its_head() {
    for client in CLIENTS {
        let failed = verdict(two(), Reply::of(503), client).await;
        assert_eq!(failed, Verdict::Failure, "{client:?}");
        let worked = verdict(two(), Reply::of(200), client).await;
        assert_eq!(worked, Verdict::Success, "{client:?}");
        let breaker = CircuitBreakerLayer::new();
        for _ in 0..5 {
            assert_eq!(breaker.state(), BreakerState::Closed);
            receive(&breaker, Reply::of(503), client).await;
        }
        assert_eq!(breaker.state(), BreakerState::Open);
        advance(OPEN).await;
        receive(&breaker, Reply::of(200), client).await;
        assert_eq!(breaker.state(), BreakerState::Closed);
    }
}

#[tokio::test(start_paused = true)]
async fn head_of_a_failure_stands_however_its_body_ends() {
    // The body fails, and the body expires.
    let failing = verdict_of(two().with_panics(false), |breaker| async move {
        let service = breaker.layer(service_fn(|_: Request<()>| {
            let body =
                futures_util::stream::pending::<Result<http_body::Frame<Bytes>, ToolError>>();
            let body = http_body_util::StreamBody::new(body);
            std::future::ready(Response::builder().status(500).body(body))
        }));
        let limited = toolbooth::TimeoutLayer::new(ms(10)).layer(service);
        let response = limited.oneshot(Request::new(())).await.expect("a head");
        let error = response
            .into_body()
            .collect()
            .await
            .expect_err("it expires");
        assert_eq!(error.kind(), ErrorKind::Timeout);
    });
    assert_eq!(failing.await, Verdict::Failure);
}

/// Case B2. The code of gRPC is in the head.
#[tokio::test(start_paused = true)]
async fn grpc_status_in_the_head_counts() {
    for client in CLIENTS {
        let breaker = CircuitBreakerLayer::new();
        for _ in 0..5 {
            assert_eq!(breaker.state(), BreakerState::Closed);
            receive(&breaker, Reply::grpc_head("14"), client).await;
        }
        assert_eq!(breaker.state(), BreakerState::Open);
        let worked = verdict(two(), Reply::grpc_head("0"), client).await;
        assert_eq!(worked, Verdict::Success, "{client:?}");
    }
    // Without a content type, too.
    let plain = Reply {
        is_grpc: false,
        ..Reply::grpc_head("14")
    };
    assert_eq!(verdict(two(), plain, Client::Reads).await, Verdict::Failure);
}

/// Case B2. The code of gRPC is in the trailers.
#[tokio::test(start_paused = true)]
async fn grpc_status_in_the_trailers_counts() {
    let breaker = CircuitBreakerLayer::new();
    for call in 0..20 {
        let open = call >= 5;
        assert_eq!(breaker.state() == BreakerState::Open, open, "{call}");
        receive(&breaker, Reply::grpc_trailers("14"), Client::Reads).await;
    }
    for (client, expected) in [
        (Client::Reads, Verdict::Success),
        (Client::Leaves, Verdict::Success),
        // Nothing shows yet how the call ends.
        (Client::DropsUnread, Verdict::Ignored),
    ] {
        let worked = verdict(two(), Reply::grpc_trailers("0"), client).await;
        assert_eq!(worked, expected, "{client:?}");
    }
    // The code of the head decides.
    let both = Reply {
        trailers: Some("0"),
        ..Reply::grpc_head("14")
    };
    assert_eq!(verdict(two(), both, Client::Reads).await, Verdict::Failure);
}

#[tokio::test(start_paused = true)]
async fn each_grpc_status_is_a_failure_or_a_success() {
    const CODES: [&str; 18] = [
        "0", "1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "13", "14", "15", "16",
        "none",
    ];
    for code in CODES {
        let expected = match code {
            "2" | "4" | "13" | "14" | "15" | "none" => Verdict::Failure,
            _ => Verdict::Success,
        };
        for policy in [two(), two().with_failures(Failures::grpc())] {
            for reply in [Reply::grpc_head(code), Reply::grpc_trailers(code)] {
                let verdict = verdict(policy.clone(), reply, Client::Reads).await;
                assert_eq!(verdict, expected, "{reply:?}");
            }
        }
        let by_http = || two().with_failures(Failures::http());
        let reply = Reply::grpc_head(code);
        let verdict = verdict(by_http(), reply, Client::Reads).await;
        assert_eq!(verdict, Verdict::Success, "{code}");
    }
    // A proxy responds without a code.
    let proxy = Reply {
        is_grpc: true,
        ..Reply::of(503)
    };
    assert_eq!(verdict(two(), proxy, Client::Reads).await, Verdict::Failure);
}

/// Case B3. The predicate is called with each head and with the trailers.
#[tokio::test(start_paused = true)]
async fn predicate_sees_each_head_and_trailers() {
    for status in [200, 401, 408, 429, 500] {
        for (counts, expected) in [(true, Verdict::Failure), (false, Verdict::Success)] {
            let policy = two().with_failures(move |result| match result {
                CallResult::Http(head) => counts && head.status == status,
                result => result.error().is_some(),
            });
            let verdict = verdict(policy, Reply::of(status), Client::Reads).await;
            assert_eq!(verdict, expected, "{status}");
        }
    }
    let seen = Recorder::new();
    let recorder = seen.clone();
    let policy = two().with_failures(move |result| {
        recorder.record((result.http_status(), result.grpc_status()));
        false
    });
    let breaker = CircuitBreakerLayer::with_policy(policy);
    receive(&breaker, Reply::grpc_trailers("8"), Client::Reads).await;
    receive(&breaker, Reply::grpc_head("5"), Client::Reads).await;
    let ok = Some(StatusCode::OK);
    assert_eq!(seen.values(), [(ok, None), (None, Some(8)), (ok, Some(5))]);
}
