//! A body as an answer: when it ends, what passes, and what cuts it.

use http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt, Empty, Full};
use tokio::time::Instant;
use toolbooth::{ErrorKind, Outcome, PartialResultLayer};

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

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn whole_body_passes_and_ends_the_call() {
    let (limit, (request, told)) = (one(), get());
    let whole = Response::builder().status(201).header("x-cost", "3");
    let whole = whole.body(Full::new(Bytes::from("whole"))).unwrap();
    let response = limited(&limit, request, whole).await;
    assert_eq!(
        (response.status(), &response.headers()["x-cost"]),
        (StatusCode::CREATED, &"3".parse().unwrap())
    );
    assert_eq!(limit.in_flight(), 1);
    let mut body = Box::pin(response.into_body());
    assert_eq!(body.size_hint().exact(), Some(5));
    // A body that says its end has it with its last frame.
    assert_eq!(frame(&mut body).await.unwrap().unwrap(), "whole");
    assert_eq!(limit.in_flight(), 0);
    assert!(body.is_end_stream());
    assert!(frame(&mut body).await.is_none());
    assert_eq!(told.outcomes().await, [Outcome::Completed]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn empty_body_completes_before_it_is_polled() {
    let limit = one();
    for response in [
        Response::new(Empty::<Bytes>::new().boxed()),
        Response::new(Full::new(Bytes::new()).boxed()),
    ] {
        let (request, told) = get();
        let response = limited(&limit, request, response).await;
        assert_eq!(limit.in_flight(), 0);
        assert_eq!(told.outcomes().await, [Outcome::Completed]);
        assert!(response.body().is_end_stream());
        assert_eq!(response.body().size_hint().exact(), Some(0));
        assert!(frame(&mut Box::pin(response.into_body())).await.is_none());
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn body_that_only_ends_with_none_ends_there() {
    let (limit, (request, told)) = (one(), get());
    let dropped = Count::default();
    let body = Scripted::new(
        &dropped,
        [Step::Data("a"), Step::Sleep(ms(10)), Step::Data("b")],
    );
    let mut body = Box::pin(
        limited(&limit, request, Response::new(body))
            .await
            .into_body(),
    );
    assert_eq!(frame(&mut body).await.unwrap().unwrap(), "a");
    assert_eq!(frame(&mut body).await.unwrap().unwrap(), "b");
    assert_eq!((limit.in_flight(), dropped.get()), (1, 0));
    assert!(frame(&mut body).await.is_none());
    assert_eq!((limit.in_flight(), dropped.get()), (0, 1));
    assert!(frame(&mut body).await.is_none());
    assert_eq!(told.outcomes().await, [Outcome::Completed]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn body_that_says_its_end_ends_with_its_last_frame() {
    let (limit, (request, told)) = (one(), get());
    let mut body = Scripted::new(&Count::default(), [Step::Data("a"), Step::Data("b")]);
    body.says_its_end = true;
    let mut body = Box::pin(
        limited(&limit, request, Response::new(body))
            .await
            .into_body(),
    );
    assert_eq!(frame(&mut body).await.unwrap().unwrap(), "a");
    assert_eq!((limit.in_flight(), body.is_end_stream()), (1, false));
    assert_eq!(frame(&mut body).await.unwrap().unwrap(), "b");
    assert_eq!((limit.in_flight(), body.is_end_stream()), (0, true));
    assert_eq!(told.outcomes().await, [Outcome::Completed]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn body_of_a_declared_length_ends_with_its_last_byte() {
    // By its header, or by its size hint.
    for by_header in [true, false] {
        let (limit, (request, told)) = (one(), get());
        let mut body = Scripted::new(
            &Count::default(),
            [Step::Data("abc"), Step::Data("de"), Step::Stuck],
        );
        let mut response = Response::builder();
        if by_header {
            response = response.header(header::CONTENT_LENGTH, 5);
        } else {
            body.hint = SizeHint::with_exact(5);
        }
        let response = response.body(body).unwrap();
        let mut body = Box::pin(limited(&limit, request, response).await.into_body());
        assert_eq!(frame(&mut body).await.unwrap().unwrap(), "abc");
        assert_eq!(limit.in_flight(), 1);
        assert_eq!(frame(&mut body).await.unwrap().unwrap(), "de");
        assert_eq!(limit.in_flight(), 0);
        assert_eq!(told.outcomes().await, [Outcome::Completed]);
        // A call that has ended is not cut any more.
        pass(ms(1_000)).await;
        assert!(tokio_test::task::spawn(body.frame()).poll().is_pending());
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn length_that_is_no_number_is_no_length() {
    for length in ["five", "-5", "5, 5", "18446744073709551616"] {
        let (limit, (request, told)) = (one(), get());
        let body = Scripted::new(&Count::default(), [Step::Data("abcde")]);
        let response = Response::builder().header(header::CONTENT_LENGTH, length);
        let response = limited(&limit, request, response.body(body).unwrap()).await;
        let mut body = Box::pin(response.into_body());
        assert_eq!(frame(&mut body).await.unwrap().unwrap(), "abcde");
        assert_eq!(limit.in_flight(), 1);
        assert!(frame(&mut body).await.is_none());
        assert_eq!(limit.in_flight(), 0);
        assert_eq!(told.outcomes().await, [Outcome::Completed]);
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn body_longer_than_it_declared_still_passes() {
    let (limit, (request, told)) = (one(), get());
    let body = Scripted::new(&Count::default(), [Step::Data("abcdefg"), Step::Data("h")]);
    let response = Response::builder()
        .header(header::CONTENT_LENGTH, 5)
        .body(body)
        .unwrap();
    let mut body = Box::pin(limited(&limit, request, response).await.into_body());
    assert_eq!(frame(&mut body).await.unwrap().unwrap(), "abcdefg");
    assert_eq!(limit.in_flight(), 0);
    assert_eq!(frame(&mut body).await.unwrap().unwrap(), "h");
    assert!(frame(&mut body).await.is_none());
    assert_eq!(told.outcomes().await, [Outcome::Completed]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn trailers_pass_after_the_end() {
    for declared in [None, Some(1)] {
        let (limit, (request, told)) = (one(), get());
        let body = Scripted::new(
            &Count::default(),
            [Step::Data("a"), Step::Trailers("x-sum")],
        );
        let mut response = Response::builder();
        if let Some(length) = declared {
            response = response.header(header::CONTENT_LENGTH, length);
        }
        let response = response.body(body).unwrap();
        let mut body = Box::pin(limited(&limit, request, response).await.into_body());
        assert_eq!(frame(&mut body).await.unwrap().unwrap(), "a");
        assert_eq!(limit.in_flight(), usize::from(declared.is_none()));
        assert_eq!(frame(&mut body).await.unwrap().unwrap(), "trailer x-sum");
        assert!(frame(&mut body).await.is_none());
        assert_eq!(limit.in_flight(), 0);
        assert_eq!(told.outcomes().await, [Outcome::Completed]);
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn trailers_are_the_end_of_their_body() {
    // A server asks for nothing behind them.
    let (limit, (request, told)) = (one(), get());
    let steps = [Step::Data("a"), Step::Trailers("x-sum"), Step::Stuck];
    let body = Scripted::new(&Count::default(), steps);
    let response = limited(&limit, request, Response::new(body)).await;
    let mut body = Box::pin(response.into_body());
    assert_eq!(frame(&mut body).await.unwrap().unwrap(), "a");
    assert_eq!(limit.in_flight(), 1);
    assert_eq!(frame(&mut body).await.unwrap().unwrap(), "trailer x-sum");
    assert_eq!(limit.in_flight(), 0);
    drop(body);
    assert_eq!(told.outcomes().await, [Outcome::Completed]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn trailers_that_come_after_the_limit_pass_where_the_end_came_before_it() {
    let (limit, (request, told)) = (one(), get());
    let steps = [
        Step::Data("a"),
        Step::Sleep(ms(900)),
        Step::Trailers("x-sum"),
    ];
    let body = Scripted::new(&Count::default(), steps);
    let response = Response::builder()
        .header(header::CONTENT_LENGTH, 1)
        .body(body)
        .unwrap();
    let mut body = Box::pin(limited(&limit, request, response).await.into_body());
    assert_eq!(frame(&mut body).await.unwrap().unwrap(), "a");
    assert_eq!(frame(&mut body).await.unwrap().unwrap(), "trailer x-sum");
    assert!(frame(&mut body).await.is_none());
    assert_eq!(told.outcomes().await, [Outcome::Completed]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn size_hint_passes_through() {
    let (limit, (request, _told)) = (one(), get());
    let mut hint = SizeHint::new();
    hint.set_lower(3);
    hint.set_upper(30);
    let mut body = Scripted::new(&Count::default(), [Step::Data("abc")]);
    body.hint = hint;
    let response = limited(&limit, request, Response::new(body)).await;
    let hint = response.body().size_hint();
    assert_eq!((hint.lower(), hint.upper()), (3, Some(30)));
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn body_cut_by_the_limit_gives_its_chunks_then_an_error_then_nothing() {
    let start = Instant::now();
    let (limit, (request, told)) = (one(), get());
    let dropped = Count::default();
    let steps = ["0", "200", "400", "600"].into_iter();
    let steps = steps.flat_map(|text| [Step::Data(text), Step::Sleep(ms(200))]);
    let body = Scripted::new(&dropped, steps);
    let mut body = Box::pin(
        limited(&limit, request, Response::new(body))
            .await
            .into_body(),
    );
    for chunk in ["0", "200", "400"] {
        assert_eq!(frame(&mut body).await.unwrap().unwrap(), chunk);
    }
    let struck = frame(&mut body).await.unwrap().unwrap_err();
    assert_eq!(
        struck.to_string(),
        "timed out after 400ms (total limit of 400ms)"
    );
    assert_eq!((struck.tool(), start.elapsed()), (Some("GET *"), ms(400)));
    assert!(frame(&mut body).await.is_none());
    assert_eq!((limit.in_flight(), dropped.get()), (0, 1));
    assert_eq!(told.outcomes().await, [Outcome::TimedOut]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn body_that_nobody_polls_is_dropped_at_the_limit() {
    let (limit, (request, told)) = (one(), get());
    let dropped = Count::default();
    let body = Scripted::new(&dropped, [Step::Stuck]);
    let mut body = Box::pin(
        limited(&limit, request, Response::new(body))
            .await
            .into_body(),
    );
    pass(ms(399)).await;
    assert_eq!((limit.in_flight(), dropped.get()), (1, 0));
    pass(ms(1)).await;
    assert_eq!((limit.in_flight(), dropped.get()), (0, 1));
    assert_eq!(told.outcomes().await, [Outcome::TimedOut]);
    pass(ms(5_000)).await;
    assert_eq!(
        frame(&mut body).await.unwrap().unwrap_err().kind(),
        ErrorKind::Timeout
    );
    assert!(frame(&mut body).await.is_none());
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn body_with_a_last_chunk_that_waits_for_its_consumer_is_not_at_its_end() {
    // The limit comes while nobody polls, and one chunk is ready then.
    let (limit, (request, _told)) = (one(), get());
    let mut body = Scripted::new(&Count::default(), [Step::Data("abc")]);
    body.says_its_end = true;
    let mut body = Box::pin(
        limited(&limit, request, Response::new(body))
            .await
            .into_body(),
    );
    pass(ms(400)).await;
    assert!(!body.is_end_stream());
    assert_eq!(frame(&mut body).await.unwrap().unwrap(), "abc");
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn dropped_body_is_a_cancelled_call() {
    for polls in [0, 1] {
        let (limit, (mut request, told)) = (one(), get());
        let context = request.context().clone();
        let dropped = Count::default();
        let body = Scripted::new(&dropped, [Step::Data("a"), Step::Data("b"), Step::Stuck]);
        let mut body = Box::pin(
            limited(&limit, request, Response::new(body))
                .await
                .into_body(),
        );
        for _ in 0..polls {
            assert_eq!(frame(&mut body).await.unwrap().unwrap(), "a");
        }
        assert_eq!((limit.in_flight(), dropped.get()), (1, 0));
        drop(body);
        assert_eq!((limit.in_flight(), dropped.get()), (0, 1));
        assert_eq!(
            context.cancel_reason(),
            Some(toolbooth::CancelReason::CallerGone)
        );
        assert_eq!(told.outcomes().await, [Outcome::Cancelled]);
    }
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn body_that_fails_is_a_failed_call() {
    let (limit, (request, told)) = (one(), get());
    let body = Scripted::new(
        &Count::default(),
        [Step::Data("a"), Step::Fail("reset"), Step::Stuck],
    );
    let mut body = Box::pin(
        limited(&limit, request, Response::new(body))
            .await
            .into_body(),
    );
    assert_eq!(frame(&mut body).await.unwrap().unwrap(), "a");
    let failed = frame(&mut body).await.unwrap().unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Tool);
    assert_eq!(
        std::error::Error::source(&failed).unwrap().to_string(),
        "reset"
    );
    assert!(frame(&mut body).await.is_none());
    assert_eq!(limit.in_flight(), 0);
    assert_eq!(told.outcomes().await, [Outcome::Failed]);
}

#[tokio::test(flavor = "current_thread", start_paused = true)]
async fn frames_are_counted_and_not_kept() {
    let tool = service_fn(async |mut request: Request<()>| {
        request.context().emit("emitted");
        let steps = [Step::Data("a"), Step::Data("b"), Step::Fail("reset")];
        Ok::<_, ToolError>(Response::new(Scripted::new(&Count::default(), steps)))
    });
    let response = PartialResultLayer::new()
        .layer(tool)
        .oneshot(get().0)
        .await
        .unwrap();
    let mut body = Box::pin(response.into_body());
    assert_eq!(frame(&mut body).await.unwrap().unwrap(), "a");
    assert_eq!(frame(&mut body).await.unwrap().unwrap(), "b");
    let failed = frame(&mut body).await.unwrap().unwrap_err();
    let partial = failed.partial().unwrap();
    assert_eq!(support::texts(partial.contents()), ["emitted"]);
    assert_eq!(partial.delivered(), 2);
}
