//! What a client receives for each error, and what a tool makes of a status.

use std::time::Duration;

use tonic::metadata::MetadataValue;
use tonic::{Code, ConnectError, Status, TimeoutExpired};
use tonic_types::{ErrorDetails, StatusExt};
use toolbooth::{
    CancelReason, DenyReason, ErrorKind, OverloadReason, TimeoutScope, ToolCall, ToolError,
};
use toolbooth_test::ms;
use toolbooth_tonic::{ERROR_DOMAIN, status, tool_error};

const SECRET: &str = "postgres://admin:hunter2@db";
const SECOND: Duration = Duration::from_secs(1);

fn one_of_each() -> Vec<(ToolError, Code)> {
    vec![
        (
            ToolError::timeout(TimeoutScope::Total, SECOND, SECOND),
            Code::DeadlineExceeded,
        ),
        (ToolError::rate_limited(SECOND), Code::ResourceExhausted),
        (
            ToolError::overloaded(OverloadReason::queue_full(1)),
            Code::Unavailable,
        ),
        (
            ToolError::overloaded(OverloadReason::shutting_down(SECOND)),
            Code::Unavailable,
        ),
        (ToolError::circuit_open(SECOND), Code::Unavailable),
        (
            ToolError::cancelled(CancelReason::Shutdown),
            Code::Unavailable,
        ),
        (
            ToolError::cancelled(CancelReason::CallerGone),
            Code::Cancelled,
        ),
        (ToolError::unknown_tool("sing"), Code::NotFound),
        (
            ToolError::invalid_arguments(".", "no"),
            Code::InvalidArgument,
        ),
        (
            ToolError::denied(DenyReason::decided("read-only mode")),
            Code::PermissionDenied,
        ),
        (ToolError::too_deep(5), Code::FailedPrecondition),
        (ToolError::panicked(SECRET), Code::Internal),
        (ToolError::failed(SECRET), Code::Internal),
    ]
}

#[test]
fn every_kind_has_a_code_and_a_reason() {
    let mut kinds = std::collections::HashSet::new();
    for (error, code) in one_of_each() {
        let status = status(&error);
        assert_eq!(status.code(), code, "{error}");
        assert_eq!(status.message(), error.public_message());
        let info = status.get_details_error_info().expect("always there");
        assert_eq!(info.reason, error.kind().as_str().to_uppercase());
        assert_eq!(info.domain, ERROR_DOMAIN);
        kinds.insert(error.kind());
    }
    assert_eq!(kinds.len(), 11, "one kind is missing");
}

#[test]
fn time_to_retry_is_in_the_details_and_the_metadata() {
    let of = |error: ToolError| {
        let status = status(&error);
        let delay = status.get_details_retry_info();
        let text = |name| {
            let value = status.metadata().get(name)?;
            Some(value.to_str().expect("ASCII").to_owned())
        };
        let texts = (text("retry-after"), text("grpc-retry-pushback-ms"));
        (delay.and_then(|info| info.retry_delay), texts)
    };
    let some = |text: &str| Some(text.to_owned());
    let wait = Duration::new(1, 200_000_001);
    let expected = (Some(wait), (some("2"), some("1201")));
    assert_eq!(of(ToolError::rate_limited(wait)), expected);
    assert_eq!(of(ToolError::circuit_open(wait)), expected);
    let shutdown = OverloadReason::shutting_down(wait);
    assert_eq!(of(ToolError::overloaded(shutdown)), expected);

    // What is not known is not there.
    let unknown = (None, (None, None));
    let full = OverloadReason::queue_full(1);
    assert_eq!(of(ToolError::overloaded(full)), unknown);
    assert_eq!(of(ToolError::circuit_open(None)), unknown);
    assert_eq!(of(ToolError::failed("no")), unknown);

    // A retry does not help.
    let never = (None, (None, some("-1")));
    assert_eq!(of(ToolError::overloaded(OverloadReason::Closed)), never);
    let heavy = OverloadReason::too_heavy(9, 3);
    assert_eq!(of(ToolError::overloaded(heavy)), never);

    // The longest that each of them can represent.
    let (delay, texts) = of(ToolError::rate_limited(Duration::MAX));
    assert_eq!(delay, Some(tonic_types::RetryInfo::MAX_RETRY_DELAY));
    assert_eq!(texts, (some(&u64::MAX.to_string()), some("2147483647")));
}

#[test]
fn client_reads_the_call_and_nothing_of_the_operator() {
    let call = ToolCall::new("search", ())
        .with_id("call_8fj2")
        .with_tenant("tenant-acme");
    let layer = toolbooth::middleware::LayerName::new("timeout").renamed("pool-of-acme");
    let limited = ToolError::rate_limited(SECOND)
        .with_limit("7 at once")
        .with_layer(&layer)
        .with_call(call.context());
    let failed = ToolError::failed(SECRET).with_call(call.context());
    for (error, started, retryable) in [(limited, "false", "true"), (failed, "true", "false")] {
        let status = status(&error);
        let info = status.get_details_error_info().expect("always there");
        let mut metadata: Vec<_> = info.metadata.into_iter().collect();
        metadata.sort();
        let expected = [
            ("call_id", "call_8fj2"),
            ("retryable", retryable),
            ("started", started),
            ("tool", "search"),
        ];
        assert_eq!(metadata, expected.map(|(k, v)| (k.into(), v.into())));

        let mut headers = http::HeaderMap::new();
        status.add_header(&mut headers).expect("headers");
        let mut sent = status.details().to_vec();
        for (name, value) in &headers {
            sent.extend_from_slice(name.as_str().as_bytes());
            sent.extend_from_slice(value.as_bytes());
        }
        let sent = String::from_utf8_lossy(&sent);
        for secret in ["hunter2", "acme", "pool", "at once"] {
            assert!(!sent.contains(secret), "{secret} in {sent}");
        }
    }
}

/// Clients of other languages accept 8 KiB of headers.
#[test]
fn headers_of_a_status_are_bounded() {
    let long = "ü".repeat(100_000);
    let call = ToolCall::new(long.as_str(), ()).with_id(long.as_str());
    let nearest: Vec<toolbooth::Name> = vec![long.as_str().into(); 3];
    for error in [
        ToolError::unknown_tool(long.as_str()).with_nearest(nearest),
        ToolError::invalid_arguments(long.as_str(), long.as_str()),
        ToolError::denied(DenyReason::decided(long.as_str())),
        ToolError::failed(long.as_str()),
    ] {
        let mut headers = http::HeaderMap::new();
        let error = error.with_call(call.context());
        status(&error).add_header(&mut headers).expect("headers");
        let length: usize = headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + 32)
            .sum();
        assert!(length < 6_000, "{length} bytes for {:?}", error.kind());
    }
}

#[test]
fn error_is_the_source_of_its_status() {
    let status = status(&ToolError::panicked(SECRET));
    let source = std::error::Error::source(&status).and_then(|e| e.downcast_ref::<ToolError>());
    assert_eq!(source.map(ToolError::kind), Some(ErrorKind::Panicked));
}

/// The code, the kind, whether it is an outage, and whether it is retryable.
#[test]
fn every_code_has_a_kind_and_outages_are_those_of_the_service() {
    const OUTAGES: [Code; 5] = [
        Code::Unknown,
        Code::DeadlineExceeded,
        Code::Internal,
        Code::Unavailable,
        Code::DataLoss,
    ];
    for code in 0..=16 {
        let code = Code::from_i32(code);
        let error = tool_error(Status::new(code, SECRET));
        let kind = match code {
            Code::DeadlineExceeded => ErrorKind::Timeout,
            _ => ErrorKind::Tool,
        };
        assert_eq!(error.kind(), kind, "{code:?}");
        assert_eq!(error.is_outage(), OUTAGES.contains(&code), "{code:?}");
        // A timeout may have had effects, and is repeated for idempotent calls alone.
        assert_eq!(error.is_retryable(), kind == ErrorKind::Timeout, "{code:?}");
        assert!(!error.public_message().contains("hunter2"));
        assert!(!error.model_message().contains("hunter2"));
        assert!(status_in(&error).is_some_and(|status| status.message() == SECRET));
    }
}

/// Returns the status among the sources.
fn status_in(error: &ToolError) -> Option<Status> {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if let Some(status) = error.downcast_ref::<Status>() {
            return Some(status.clone());
        }
        source = error.source();
    }
    None
}

fn with_retry_info(code: Code, wait: Duration) -> Status {
    let details = ErrorDetails::with_retry_info(Some(wait));
    Status::with_error_details(code, "later", details)
}

#[test]
fn time_to_wait_makes_an_error_retryable() {
    let seen = |status: Status| {
        let error = tool_error(status);
        (error.kind(), error.is_retryable(), error.retry_after())
    };
    let busy = with_retry_info(Code::ResourceExhausted, ms(40));
    assert_eq!(seen(busy), (ErrorKind::RateLimited, true, Some(ms(40))));
    let down = with_retry_info(Code::Unavailable, ms(40));
    assert_eq!(seen(down), (ErrorKind::Tool, true, Some(ms(40))));

    // By the metadata alone. The details come first.
    let pushed = |mut status: Status, millis: &'static str| {
        let millis = MetadataValue::from_static(millis);
        status
            .metadata_mut()
            .insert("grpc-retry-pushback-ms", millis);
        seen(status)
    };
    let down = || Status::unavailable("later");
    assert_eq!(
        pushed(down(), "250"),
        (ErrorKind::Tool, true, Some(ms(250)))
    );
    let both = with_retry_info(Code::Unavailable, ms(40));
    assert_eq!(pushed(both, "250"), (ErrorKind::Tool, true, Some(ms(40))));
    for millis in ["-1", "soon", "", "99999999999999999999"] {
        assert_eq!(pushed(down(), millis), (ErrorKind::Tool, false, None));
    }
    let both = with_retry_info(Code::Unavailable, ms(40));
    assert_eq!(pushed(both, "-1"), (ErrorKind::Tool, false, Some(ms(40))));
}

#[test]
fn details_that_cannot_be_decoded_are_ignored() {
    let details = tonic::codegen::Bytes::from_static(b"\xff\xff\xff no protobuf");
    let error = tool_error(Status::with_details(Code::Unavailable, "down", details));
    assert_eq!((error.kind(), error.retry_after()), (ErrorKind::Tool, None));
}

#[test]
fn failed_connection_is_retryable_and_timeout_of_a_channel_is_a_timeout() {
    let refused = Box::new(ConnectError("connection refused".into()));
    let error = tool_error(Status::from_error(refused));
    let seen = (error.kind(), error.is_outage(), error.is_retryable());
    assert_eq!(seen, (ErrorKind::Tool, true, true));

    let expired = Status::from_error(Box::new(TimeoutExpired(())));
    assert_eq!(expired.code(), Code::Cancelled);
    assert_eq!(tool_error(expired).kind(), ErrorKind::Timeout);
}

/// The server's layers held the call back, so that repeating it is safe.
#[test]
fn call_that_another_server_of_toolbooth_held_back_is_retryable() {
    let full = OverloadReason::queue_full(1);
    let refused = tool_error(status(&ToolError::overloaded(full)));
    assert_eq!(
        (refused.kind(), refused.is_retryable()),
        (ErrorKind::Tool, true)
    );
    let closed = tool_error(status(&ToolError::overloaded(OverloadReason::Closed)));
    assert!(!closed.is_retryable());
    let failed = tool_error(status(&ToolError::failed("half way")));
    assert!(!failed.is_retryable());
    // The same words of another server may have another meaning.
    let details = ErrorDetails::with_error_info(
        "OVERLOADED",
        "example.com",
        [("started", "false"), ("retryable", "true")].map(|(k, v)| (k.to_owned(), v.to_owned())),
    );
    let other = Status::with_error_details(Code::Unavailable, "later", details);
    assert!(!tool_error(other).is_retryable());
}
