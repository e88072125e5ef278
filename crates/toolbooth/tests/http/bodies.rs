//! Bodies: when they end the call, what passes through, and when they expire.

use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use tokio::time::Instant;
use toolbooth::{CancelReason, ErrorKind, Outcome, PartialResultLayer};

use super::*;

/// The next frame of a body: its data as text, the names of its trailers, or its error.
async fn frame<B>(body: &mut B) -> Option<Result<String, ToolError>>
where
    B: Body<Data = Bytes, Error = ToolError> + Unpin,
{
    Some(body.frame().await?.map(|frame| match frame.into_data() {
        Ok(data) => String::from_utf8(data.to_vec()).expect("utf-8"),
        Err(frame) => {
            let trailers: HeaderMap = frame.into_trailers().expect("data or trailers");
            trailers
                .keys()
                .map(|name| format!("trailer {name}"))
                .collect()
        }
    }))
}

/// The next frame of a body, which must be one.
async fn text<B: Body<Data = Bytes, Error = ToolError> + Unpin>(body: &mut B) -> String {
    frame(body).await.expect("a frame").expect("no error")
}

/// The next frame of a body, which must be an error, and the last one.
async fn error<B: Body<Data = Bytes, Error = ToolError> + Unpin>(body: &mut B) -> ToolError {
    let error = frame(body).await.expect("a frame").expect_err("an error");
    assert!(frame(body).await.is_none());
    error
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn buffered_body_passes_through_and_ends_the_call_with_its_last_frame() {
    let buffered = Response::builder().status(201).header("x-cost", "3");
    let buffered = buffered.body(Full::new(Bytes::from("whole"))).unwrap();
    let (limit, mut request) = (one(), get());
    let outcomes = Outcomes::of(request.context());
    let response = send(limit.clone(), request, buffered).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    assert_eq!(response.headers()["x-cost"], "3");
    assert_eq!(limit.in_flight(), 1);
    let mut body = Box::pin(response.into_body());
    assert_eq!(body.size_hint().exact(), Some(5));
    assert_eq!(text(&mut body).await, "whole");
    assert_eq!(limit.in_flight(), 0);
    assert!(body.is_end_stream());
    assert!(frame(&mut body).await.is_none());
    assert_eq!(outcomes.all().await, [Outcome::Completed]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn empty_body_ends_the_call_before_it_is_polled() {
    for empty in [
        Empty::<Bytes>::new().boxed(),
        Full::new(Bytes::new()).boxed(),
    ] {
        let (mut body, call) = body_of(Response::new(empty)).await;
        assert!(!call.is_running());
        assert_eq!(call.outcomes.all().await, [Outcome::Completed]);
        assert!(body.is_end_stream());
        assert_eq!(body.size_hint().exact(), Some(0));
        assert!(frame(&mut body).await.is_none());
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn body_that_does_not_know_its_end_ends_the_call_with_none() {
    let probe = Probe::new();
    let steps = [Step::Data("a"), Step::Sleep(ms(10)), Step::Data("b")];
    let (mut body, call) = body_of(Response::new(Scripted::inside(&probe, steps))).await;
    assert_eq!(text(&mut body).await, "a");
    assert_eq!(text(&mut body).await, "b");
    assert_eq!((call.is_running(), probe.running()), (true, 1));
    assert!(frame(&mut body).await.is_none());
    assert_eq!((call.is_running(), probe.running()), (false, 0));
    assert!(frame(&mut body).await.is_none());
    assert_eq!(call.outcomes.all().await, [Outcome::Completed]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn body_that_knows_its_end_ends_the_call_with_its_last_frame() {
    let mut body = Scripted::new([Step::Data("a"), Step::Data("b")]);
    body.knows_its_end = true;
    let (mut body, call) = body_of(Response::new(body)).await;
    assert_eq!(text(&mut body).await, "a");
    assert_eq!((call.is_running(), body.is_end_stream()), (true, false));
    assert_eq!(text(&mut body).await, "b");
    assert_eq!((call.is_running(), body.is_end_stream()), (false, true));
    assert_eq!(call.outcomes.all().await, [Outcome::Completed]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn body_of_a_declared_length_ends_the_call_with_its_last_byte() {
    // Declared by the header or by the size hint.
    for by_header in [true, false] {
        let steps = [Step::Data("abc"), Step::Data("de"), Step::Pending];
        let mut body = Scripted::new(steps);
        let response = if by_header {
            declared(&5, body)
        } else {
            body.hint = SizeHint::with_exact(5);
            Response::new(body)
        };
        let (mut body, call) = body_of(response).await;
        assert_eq!(text(&mut body).await, "abc");
        assert!(call.is_running());
        assert_eq!(text(&mut body).await, "de");
        assert!(!call.is_running());
        assert_eq!(call.outcomes.all().await, [Outcome::Completed]);
        // A call that has ended does not expire.
        pass(ms(1_000)).await;
        assert!(tokio_test::task::spawn(body.frame()).poll().is_pending());
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn declared_length_that_is_no_number_is_ignored() {
    for length in ["five", "-5", "5, 5", "18446744073709551616"] {
        let response = declared(&length, Scripted::new([Step::Data("abcde")]));
        let (mut body, call) = body_of(response).await;
        assert_eq!(text(&mut body).await, "abcde");
        assert!(call.is_running());
        assert!(frame(&mut body).await.is_none());
        assert!(!call.is_running());
        assert_eq!(call.outcomes.all().await, [Outcome::Completed]);
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn body_longer_than_declared_passes_through() {
    let body = Scripted::new([Step::Data("abcdefg"), Step::Data("h")]);
    let (mut body, call) = body_of(declared(&5, body)).await;
    assert_eq!(text(&mut body).await, "abcdefg");
    assert!(!call.is_running());
    assert_eq!(text(&mut body).await, "h");
    assert!(frame(&mut body).await.is_none());
    assert_eq!(call.outcomes.all().await, [Outcome::Completed]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn trailers_pass_through_and_end_the_call() {
    // A server does not poll after the trailers.
    let steps = [Step::Data("a"), Step::Trailers("x-sum"), Step::Pending];
    let (mut body, call) = body_of(Response::new(Scripted::new(steps))).await;
    assert_eq!(text(&mut body).await, "a");
    assert!(call.is_running());
    assert_eq!(text(&mut body).await, "trailer x-sum");
    assert!(!call.is_running());
    drop(body);
    assert_eq!(call.outcomes.all().await, [Outcome::Completed]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn grpc_response_ends_with_its_trailers_and_not_with_its_declared_length() {
    for (media_type, ends_with_trailers) in [
        ("application/grpc", true),
        ("application/grpc+proto", true),
        ("application/grpc-web+proto", false),
        ("application/json", false),
    ] {
        let steps = [
            Step::Data("a"),
            Step::Trailers("grpc-status"),
            Step::Pending,
        ];
        let mut response = declared(&1, Scripted::new(steps));
        let media_type = http::HeaderValue::from_static(media_type);
        response.headers_mut().insert("content-type", media_type);
        let (mut body, call) = body_of(response).await;
        assert_eq!(text(&mut body).await, "a");
        assert_eq!(call.is_running(), ends_with_trailers);
        assert_eq!(text(&mut body).await, "trailer grpc-status");
        assert!(!call.is_running());
        assert_eq!(call.outcomes.all().await, [Outcome::Completed]);
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn trailers_after_the_declared_length_pass_through_even_after_the_limit() {
    for sleep in [ms(0), ms(900)] {
        let steps = [Step::Data("a"), Step::Sleep(sleep), Step::Trailers("x-sum")];
        let (mut body, call) = body_of(declared(&1, Scripted::new(steps))).await;
        assert_eq!(text(&mut body).await, "a");
        assert!(!call.is_running());
        assert_eq!(text(&mut body).await, "trailer x-sum");
        assert!(frame(&mut body).await.is_none());
        assert_eq!(call.outcomes.all().await, [Outcome::Completed]);
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn size_hint_passes_through() {
    let mut body = Scripted::new([Step::Data("abc")]);
    body.hint.set_lower(3);
    body.hint.set_upper(30);
    let (body, _call) = body_of(Response::new(body)).await;
    let hint = body.size_hint();
    assert_eq!((hint.lower(), hint.upper()), (3, Some(30)));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn expired_body_delivers_its_frames_then_an_error() {
    let start = Instant::now();
    let probe = Probe::new();
    let steps = ["0", "200", "400", "600"].into_iter();
    let steps = steps.flat_map(|text| [Step::Data(text), Step::Sleep(ms(200))]);
    let (mut body, call) = body_of(Response::new(Scripted::inside(&probe, steps))).await;
    for data in ["0", "200", "400"] {
        assert_eq!(text(&mut body).await, data);
    }
    let expired = error(&mut body).await;
    let text = "timed out after 400ms (total limit of 400ms of `timeout`)";
    assert_eq!(expired.to_string(), text);
    assert_eq!((expired.tool(), start.elapsed()), (Some("GET *"), ms(400)));
    assert_eq!((call.is_running(), probe.running()), (false, 0));
    assert_eq!(call.outcomes.all().await, [Outcome::TimedOut]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn body_that_is_not_polled_is_dropped_at_the_limit() {
    let probe = Probe::new();
    let body = Scripted::inside(&probe, [Step::Pending]);
    let (mut body, call) = body_of(Response::new(body)).await;
    pass(ms(399)).await;
    assert_eq!((call.is_running(), probe.running()), (true, 1));
    pass(ms(1)).await;
    assert_eq!((call.is_running(), probe.running()), (false, 0));
    assert_eq!(call.outcomes.all().await, [Outcome::TimedOut]);
    pass(ms(5_000)).await;
    assert_eq!(error(&mut body).await.kind(), ErrorKind::Timeout);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn body_whose_last_frame_waits_for_its_consumer_is_not_at_its_end() {
    // The limit expires while no task polls, and one frame is ready.
    let mut body = Scripted::new([Step::Data("abc")]);
    body.knows_its_end = true;
    let (mut body, _call) = body_of(Response::new(body)).await;
    pass(ms(400)).await;
    assert!(!body.is_end_stream());
    assert_eq!(text(&mut body).await, "abc");
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn dropped_body_cancels_the_call() {
    for frames in [0, 1] {
        let probe = Probe::new();
        let steps = [Step::Data("a"), Step::Data("b"), Step::Pending];
        let (mut body, call) = body_of(Response::new(Scripted::inside(&probe, steps))).await;
        for _ in 0..frames {
            assert_eq!(text(&mut body).await, "a");
        }
        assert_eq!((call.is_running(), probe.running()), (true, 1));
        drop(body);
        assert_eq!((call.is_running(), probe.running()), (false, 0));
        assert_eq!(call.context.cancel_reason(), Some(CancelReason::CallerGone));
        assert_eq!(call.outcomes.all().await, [Outcome::Cancelled]);
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn failing_body_fails_the_call() {
    let steps = [Step::Data("a"), Step::Fail("reset"), Step::Pending];
    let (mut body, call) = body_of(Response::new(Scripted::new(steps))).await;
    assert_eq!(text(&mut body).await, "a");
    let failed = error(&mut body).await;
    assert_eq!(failed.kind(), ErrorKind::Tool);
    let source = std::error::Error::source(&failed).unwrap();
    assert_eq!(source.to_string(), "reset");
    assert!(!call.is_running());
    assert_eq!(call.outcomes.all().await, [Outcome::Failed]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn frames_are_counted_as_delivered_and_not_kept() {
    let tool = service_fn(async |mut request: Request<()>| {
        request.context().emit("emitted");
        let steps = [Step::Data("a"), Step::Data("b"), Step::Fail("reset")];
        Ok::<_, ToolError>(Response::new(Scripted::new(steps)))
    });
    let response = PartialResultLayer::new().layer(tool).oneshot(get()).await;
    let mut body = Box::pin(response.unwrap().into_body());
    assert_eq!(text(&mut body).await, "a");
    assert_eq!(text(&mut body).await, "b");
    let failed = error(&mut body).await;
    assert_eq!(support::kept(&failed), (vec!["emitted"], 0, 2));
}
