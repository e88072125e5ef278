//! Pauses after a `rate_limited` of the tool.

use http::{Request, Response, StatusCode};
use toolbooth::{BoxError, CallContext, ErrorKind, Name};
use tower::{ServiceExt, service_fn};

use super::*;

fn tenant(call: &CallContext) -> Name {
    call.tenant().unwrap_or_default().into()
}

/// A tool that fails with this error if the priority of its call is 1.
fn upstream(error: ToolError) -> ScriptedTool {
    ScriptedTool::new(move |call| {
        let fails = call.context().priority() == 1;
        let error: BoxError = error.clone().into();
        std::future::ready(match fails {
            true => Err(error),
            false => Ok(toolbooth::ToolOutput::text("done")),
        })
    })
}

fn limiting(after: Duration) -> ScriptedTool {
    upstream(ToolError::rate_limited(after))
}

/// The time after which a rejected call may be tried again.
async fn retry_after(rate: &RateLimitLayer, call: toolbooth::ToolCall) -> Option<Duration> {
    let error = rate.layer(ScriptedTool::ready()).call(call).await.err()?;
    assert_eq!(error.kind(), ErrorKind::RateLimited);
    error.retry_after()
}

#[tokio::test(start_paused = true)]
async fn rate_limited_of_the_tool_pauses_the_limit_up_to_the_maximum() {
    for (after, pause) in [(5_000, 5_000), (3_600_000, 60_000)] {
        let rate = RateLimitLayer::new(per_second(100, 100))
            .with_cool_down(ms(60_000))
            .reject();
        let tool = limiting(ms(after));
        let error = error_of(rate.layer(tool.handle()), call().with_priority(1)).await;
        assert_eq!(error.retry_after(), Some(ms(after)));
        assert_eq!(retry_after(&rate, call()).await, Some(ms(pause)));
        assert_eq!((rate.remaining(), rate.reset_after()), (0, ms(pause)));
        sleep(ms(pause - 1)).await;
        assert_eq!(retry_after(&rate, call()).await, Some(ms(1)));
        sleep(ms(1)).await;
        // The bucket has refilled meanwhile.
        assert_eq!(rate.remaining(), 100);
        assert_eq!(retry_after(&rate, call()).await, None);
    }
}

#[tokio::test(start_paused = true)]
async fn limit_is_not_paused_by_default() {
    for rate in [
        RateLimitLayer::new(per_second(100, 100)),
        RateLimitLayer::new(per_second(100, 100)).with_cool_down(None),
    ] {
        error_of(rate.layer(limiting(ms(5_000))), call().with_priority(1)).await;
        assert_eq!(rate.remaining(), 99);
    }
}

#[tokio::test(start_paused = true)]
async fn other_errors_and_rejections_inside_do_not_pause() {
    let rate = RateLimitLayer::new(per_second(100, 100)).with_cool_down(ms(60_000));
    let broken = upstream(ToolError::failed("broken"));
    error_of(rate.layer(broken), call().with_priority(1)).await;
    let inner = RateLimitLayer::new(per_second(1, 1)).reject();
    let tool = rate.layer(inner.layer(ScriptedTool::ready()));
    tool.clone().call(call()).await.unwrap();
    let rejected = error_of(tool, call()).await;
    assert_eq!(rejected.kind(), ErrorKind::RateLimited);
    // The rejected call has its token back.
    assert_eq!(rate.remaining(), 98);
}

#[tokio::test(start_paused = true)]
async fn waiters_start_after_the_pause_in_order() {
    let rate = RateLimitLayer::new(per_second(10, 2)).with_cool_down(ms(60_000));
    let tool = ScriptedTool::new(|call| async move {
        match call.context().priority() {
            1 => sleep(ms(5)).await,
            _ => return Ok(toolbooth::ToolOutput::text("done")),
        }
        Err(ToolError::rate_limited(ms(1_000)).into())
    });
    let fails = call().with_priority(1);
    let soon = call().with_deadline(Instant::now() + ms(500));
    let calls = [fails, call(), call(), soon, call(), call()];
    let ended = call_all(rate.layer(tool), calls).await;
    let at: Vec<_> = ended.iter().map(|call| call.at.as_millis()).collect();
    assert_eq!(at, [5, 0, 1_005, 500, 1_005, 1_105]);
    // It was queued already, and waits for its deadline.
    assert_eq!(ended[3].error_kind(), Some(ErrorKind::Timeout));
    assert_eq!(rate.queued(), 0);
}

#[tokio::test(start_paused = true)]
async fn later_shorter_pause_does_not_end_the_first() {
    let rate = RateLimitLayer::new(per_second(100, 100))
        .with_cool_down(ms(60_000))
        .reject();
    let [long, short] = [5_000, 1_000].map(|after| {
        task::spawn(
            rate.layer(limiting(ms(after)))
                .call(call().with_priority(1)),
        )
    });
    for mut call in [long, short] {
        assert_ready_err!(call.poll());
    }
    assert_eq!(retry_after(&rate, call()).await, Some(ms(5_000)));
}

#[tokio::test(start_paused = true)]
async fn only_the_key_of_the_call_is_paused() {
    let rate = RateLimitLayer::by(per_second(100, 100), tenant);
    let rate = rate.with_cool_down(ms(60_000)).reject();
    let fails = call().with_tenant("a").with_priority(1);
    error_of(rate.layer(limiting(ms(5_000))), fails).await;
    assert_eq!(
        retry_after(&rate, call().with_tenant("a")).await,
        Some(ms(5_000))
    );
    assert_eq!(retry_after(&rate, call().with_tenant("b")).await, None);
}

/// The call waits for its token first.
#[tokio::test(start_paused = true)]
async fn waiter_that_is_rate_limited_by_the_tool_pauses_the_limit() {
    let rate = RateLimitLayer::new(per_second(10, 1)).with_cool_down(ms(60_000));
    let mut tool = rate.layer(limiting(ms(5_000)));
    tool.call(call()).await.unwrap();
    let error = tool.call(call().with_priority(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::RateLimited);
    assert_eq!(
        retry_after(&rate.clone().reject(), call()).await,
        Some(ms(5_000))
    );
}

#[tokio::test(start_paused = true)]
async fn retry_after_of_a_response_pauses_the_limit() {
    for (status, header, pause) in [
        (StatusCode::TOO_MANY_REQUESTS, "7", Some(ms(7_000))),
        (StatusCode::SERVICE_UNAVAILABLE, " 7 ", Some(ms(7_000))),
        (
            StatusCode::TOO_MANY_REQUESTS,
            "99999999999",
            Some(ms(60_000)),
        ),
        (
            StatusCode::TOO_MANY_REQUESTS,
            "Wed, 21 Oct 2026 07:28:00 GMT",
            None,
        ),
        (
            StatusCode::TOO_MANY_REQUESTS,
            "100000000000000000000",
            Some(ms(60_000)),
        ),
        (StatusCode::TOO_MANY_REQUESTS, "-1", None),
        (StatusCode::TOO_MANY_REQUESTS, "+1", None),
        (StatusCode::OK, "7", None),
    ] {
        let rate = RateLimitLayer::new(per_second(100, 100))
            .with_cool_down(ms(60_000))
            .reject();
        let respond = move |_: Request<()>| async move {
            let response = Response::builder()
                .status(status)
                .header("retry-after", header);
            response.body(String::new())
        };
        let tool = rate.layer(service_fn(respond));
        // The head suffices: the body is not read.
        tool.oneshot(Request::new(())).await.unwrap();
        assert_eq!(retry_after(&rate, call()).await, pause, "{status} {header}");
    }
}
