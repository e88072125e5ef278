//! Requests into the HTTP service.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::TestCaseError;
use rmcp::model::RequestId;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use toolbooth_mcp::{HttpOptions, HttpService};
use tower::ServiceExt as _;

use crate::envelope::{cancelled, request, response};
use crate::fuzz;
use crate::message::{Text, initialize, message, to_text};
use crate::server::{LONG, Server};

/// The maximum size of a response.
const MAX_BODY: usize = 256 * 1_024;

/// The session that the first request has begun, in the value of a header.
const SESSION: &str = "@session";

#[derive(Debug, Clone)]
struct Step {
    method: Method,
    headers: Vec<(&'static str, &'static [u8])>,
    /// Whether the request belongs to the session that the first one began.
    in_session: bool,
    body: Text,
    wait: u64,
    /// When the client drops its connection, in milliseconds.
    gone: Option<u64>,
}

/// What a client received.
struct Received {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
    /// Whether the body ended by itself.
    is_whole: bool,
}

fn steps() -> impl Strategy<Value = (bool, Vec<Step>)> {
    let header = prop_oneof![
        (
            select(vec!["accept", "content-type"]),
            select(vec![
                &b"application/json"[..],
                b"text/event-stream",
                b"*/*",
                b"",
                b"\xff",
                b"application/json; charset=utf-16",
                b"application/json, text/event-stream;q=0",
            ])
        ),
        (
            Just("mcp-protocol-version"),
            select(vec![
                &b"2025-11-25"[..],
                b"2026-07-28",
                b"2025-03-26",
                b"1",
                b"",
                b"\xff",
            ])
        ),
        (
            Just("mcp-session-id"),
            select(vec![&b"none"[..], b"", b"\xff", b"../a", b"@session"])
        ),
        (
            Just("mcp-method"),
            select(vec![&b"tools/call"[..], b"ping", b"", b"\xff"])
        ),
        (
            Just("mcp-name"),
            select(vec![&b"echo"[..], b"hang", b"", b"=?base64?!?="])
        ),
        (
            Just("last-event-id"),
            select(vec![&b"0/0"[..], b"1/0", b"0", b"-1/9", b"99/99", b""])
        ),
        (Just("traceparent"), select(vec![&b"00-"[..], b"\xff", b""])),
        (
            Just("host"),
            select(vec![
                &b"localhost"[..],
                b"evil.example",
                b"",
                b"[::1",
                b"\xff"
            ])
        ),
        (
            Just("origin"),
            select(vec![
                &b"null"[..],
                b"http://localhost",
                b"http://[",
                b"\xff"
            ])
        ),
        (
            Just("content-length"),
            select(vec![&b"0"[..], b"99999999999", b"-1", b"x"])
        ),
    ];
    let method = prop_oneof![
        8 => Just(Method::POST),
        1 => Just(Method::GET),
        1 => select(vec![Method::DELETE, Method::PUT, Method::OPTIONS, Method::HEAD]),
    ];
    let headers = prop_oneof![3 => Just(Vec::new()), 1 => vec(header, 1..4)];
    let gone = option::weighted(0.1, 0_u64..3_000);
    let step = (method, headers, any::<bool>(), message(), 0_u64..40, gone).prop_map(
        |(method, headers, in_session, body, wait, gone)| Step {
            method,
            headers,
            in_session,
            body: Text(body),
            wait: if wait < 30 { 0 } else { wait * 20 },
            gone,
        },
    );
    (any::<bool>(), vec(step, 0..10))
}

#[test]
fn each_request_over_http_gets_one_response() {
    fuzz("http", 4, &steps(), async |(begins, steps)| {
        let server = Server::new();
        // The comments of rmcp follow the clock of the system, which is not paused.
        let options = HttpOptions::new()
            .with_max_sessions(3)
            .with_keep_alive(Duration::from_secs(3_600));
        let service = server.server.clone().into_http(options);
        let session = match begins {
            true => Some(begin(&service).await?),
            false => None,
        };
        let mut sent: Vec<(Step, JoinHandle<_>)> = Vec::new();
        for step in steps {
            let request = to_request(&step, session.as_ref());
            let limit = step.gone.map_or(LONG, Duration::from_millis);
            let receiving = receive(service.clone(), request, limit);
            let wait = Duration::from_millis(step.wait);
            sent.push((step, tokio::spawn(receiving)));
            sleep(wait).await;
        }
        let mut received = Vec::new();
        for (step, receiving) in sent {
            let response = receiving.await;
            let response = response.map_err(|error| TestCaseError::fail(error.to_string()))?;
            received.push((step, response));
        }
        // Those whose client is gone end by their limit.
        sleep(LONG).await;
        prop_assert_eq!(server.running(), 0, "calls run on");
        check(&received)?;
        service.close();
        drop(service);
        server.ended().await
    });
}

async fn begin(service: &HttpService) -> Result<HeaderValue, TestCaseError> {
    let step = Step {
        method: Method::POST,
        headers: Vec::new(),
        in_session: false,
        body: Text(to_text(&initialize())),
        wait: 0,
        gone: None,
    };
    let begun = receive(service.clone(), to_request(&step, None), LONG).await;
    let session = begun.and_then(|begun| begun.headers.get("mcp-session-id").cloned());
    session.ok_or_else(|| TestCaseError::fail("no session"))
}

fn to_request(step: &Step, session: Option<&HeaderValue>) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(Bytes::from(step.body.0.clone())));
    *request.method_mut() = step.method.clone();
    *request.uri_mut() = "/mcp".parse().expect("a path");
    let headers = request.headers_mut();
    for (name, value) in [
        ("host", "localhost:8000"),
        ("content-type", "application/json"),
        ("accept", "application/json, text/event-stream"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Some(session) = session.filter(|_| step.in_session) {
        headers.insert("mcp-session-id", session.clone());
        let version = HeaderValue::from_static("2025-11-25");
        headers.insert("mcp-protocol-version", version);
    }
    for (name, value) in &step.headers {
        let value = match (session, *value == SESSION.as_bytes()) {
            (Some(session), true) => session.clone(),
            _ => HeaderValue::from_bytes(value).expect("a value"),
        };
        headers.insert(HeaderName::from_static(name), value);
    }
    request
}

/// Sends a request, and reads its response. `None` if the client is gone before it begins.
async fn receive(
    service: HttpService,
    request: Request<Full<Bytes>>,
    limit: Duration,
) -> Option<Received> {
    let gone = sleep(limit);
    tokio::pin!(gone);
    let response = tokio::select! {
        response = service.oneshot(request) => response.unwrap_or_else(|error| match error {}),
        () = &mut gone => return None,
    };
    let (parts, mut body) = response.into_parts();
    let mut received = Received {
        status: parts.status,
        headers: parts.headers,
        body: Vec::new(),
        is_whole: false,
    };
    loop {
        let frame = tokio::select! {
            frame = body.frame() => frame,
            () = &mut gone => return Some(received),
        };
        let Some(Ok(frame)) = frame else {
            received.is_whole = true;
            return Some(received);
        };
        received
            .body
            .extend_from_slice(frame.data_ref().map_or(&[], |data| data));
        if received.body.len() > MAX_BODY {
            return Some(received);
        }
    }
}

fn check(all: &[(Step, Option<Received>)]) -> Result<(), TestCaseError> {
    let cancelled: Vec<RequestId> = all
        .iter()
        .filter_map(|(step, _)| cancelled(&step.body.0))
        .collect();
    // A client that deletes its session ends its calls.
    let deletes = all.iter().any(|(step, _)| step.method == Method::DELETE);
    for (step, received) in all {
        let is_here = step.gone.is_none();
        let Some(received) = received else {
            prop_assert!(!is_here, "no response to {step:?}");
            continue;
        };
        let tail = received.body.len().saturating_sub(400);
        let tail = received.body[tail..].escape_ascii();
        let is_bounded = received.body.len() <= MAX_BODY;
        prop_assert!(is_bounded, "no end of `{tail}` to {step:?}");
        let status = received.status;
        let is_known = !status.is_server_error()
            || [StatusCode::SERVICE_UNAVAILABLE, StatusCode::NOT_IMPLEMENTED].contains(&status);
        prop_assert!(is_known, "{status} to {step:?}");
        let messages = messages(received)?;
        let Some(request) =
            request(&step.body.0).filter(|request| request.is_valid && step.method == Method::POST)
        else {
            continue;
        };
        prop_assert!(status != StatusCode::ACCEPTED, "no response to {step:?}");
        if status != StatusCode::OK || !is_here || request.is_subscription {
            continue;
        }
        prop_assert!(received.is_whole, "no end of the response to {step:?}");
        let ids = messages.iter().filter_map(response);
        let ids: Vec<_> = ids.filter(|id| !id.is_null()).collect();
        let may_be_silent = deletes || cancelled.contains(&request.id);
        prop_assert!(
            ids.len() == 1 || (ids.is_empty() && may_be_silent),
            "{ids:?} to {step:?}"
        );
        let expected = request.id.into_json_value();
        prop_assert!(
            ids.iter().all(|id| *id == expected),
            "{ids:?}, not {expected}"
        );
    }
    Ok(())
}

/// Reads the messages of a response, which is JSON, events, or text.
fn messages(received: &Received) -> Result<Vec<Value>, TestCaseError> {
    let fail = |error: String| TestCaseError::fail(error);
    let content = received.headers.get("content-type");
    let content = content.and_then(|content| content.to_str().ok());
    let body = std::str::from_utf8(&received.body).map_err(|error| fail(error.to_string()))?;
    let parse =
        |text: &str| serde_json::from_str(text).map_err(|error| fail(format!("{text}: {error}")));
    match content {
        Some("application/json") if !body.is_empty() => Ok(vec![parse(body)?]),
        Some("text/event-stream") => {
            // The last one may not be whole.
            let events = body.rsplit_once("\n\n").map_or("", |(events, _)| events);
            let data = events.lines().filter_map(|line| line.strip_prefix("data:"));
            let data = data.map(str::trim).filter(|data| !data.is_empty());
            data.map(parse).collect()
        }
        _ => Ok(Vec::new()),
    }
}
