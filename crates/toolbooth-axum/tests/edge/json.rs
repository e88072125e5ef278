//! Responses of JSON, and problems.

use futures_util::stream;
use serde_json::{Value, json};
use toolbooth::{
    BoxError, ConcurrencyLimitLayer, Content, RateLimitLayer, TimeoutLayer, ToolError, ToolOutput,
    ToolSpec, Toolbox, stream_tool_fn, tool_fn,
};
use toolbooth_axum::ToolRouter;
use tower::{Layer, ServiceBuilder};

use super::*;

const SECRET: &str = "postgres://admin:hunter2@db";

#[expect(clippy::panic, reason = "it is what a test is about")]
fn toolbox() -> Toolbox {
    let echo = tool_fn("echo", async |args: Value| Ok::<_, BoxError>(args));
    let sleep = tool_fn("sleep", async |call: toolbooth::CallContext, _: ()| {
        call.emit("awake soon");
        tokio::time::sleep(ms(60_000)).await;
        Ok::<_, BoxError>("awake")
    });
    let fails = tool_fn("fails", async |_: ()| {
        Err::<(), _>(ToolError::failed(SECRET))
    });
    let panics = tool_fn("panics", async |_: ()| -> Result<(), BoxError> {
        panic!("no route to {SECRET}")
    });
    let is_error = tool_fn("is_error", async |_: ()| {
        Ok::<_, BoxError>(ToolOutput::error("no such file").with_meta("code", 2))
    });
    let lines = stream_tool_fn("lines", |count: Count| {
        stream::iter((0..count.count).map(|line| Ok::<_, BoxError>(format!("line {line}").into())))
    });
    Toolbox::builder()
        .tool(
            ToolSpec::new("echo").with_description("Returns its arguments"),
            echo,
        )
        .tool("sleep", sleep)
        .tool("fails", fails)
        .tool("panics", panics)
        .tool("is_error", is_error)
        .tool("lines", lines)
        .build()
        .expect("a toolbox")
}

#[derive(serde::Deserialize)]
struct Count {
    count: usize,
}

fn app() -> Router {
    ToolRouter::new(toolbox()).into_router()
}

#[tokio::test(start_paused = true)]
async fn response_is_the_collected_output_with_the_id_of_the_call() {
    let app = app();
    let (status, mut body) = json(&app, request("echo", r#"{"a":[1]}"#)).await;
    assert_eq!(status, 200);
    let call_id = body["call_id"].take();
    assert!(
        call_id.as_str().is_some_and(|id| id.starts_with("call-")),
        "{call_id}"
    );
    assert_eq!(
        body,
        json!({ "call_id": null, "contents": [{ "type": "json", "value": { "a": [1] } }] })
    );

    let (status, mut body) = json(&app, request("is_error", "")).await;
    body["call_id"].take();
    assert_eq!(status, 200);
    assert_eq!(
        body,
        json!({
            "call_id": null,
            "contents": [{ "type": "text", "text": "no such file" }],
            "is_error": true,
            "meta": { "code": 2 },
        })
    );
}

#[tokio::test(start_paused = true)]
async fn empty_body_is_an_empty_object() {
    let app = app();
    let empty = Request::post("/tools/echo")
        .body(Body::empty())
        .expect("a request");
    for request in [empty, request("echo", "")] {
        let (status, body) = json(&app, request).await;
        assert_eq!(
            (status.as_u16(), &body["contents"][0]["value"]),
            (200, &json!({}))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn bodies_that_are_no_arguments_are_problems() {
    let app = app();
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(200), "]".repeat(200));
    for (body, detail) in [
        (
            "[1]",
            "invalid arguments: invalid type: sequence, expected a map at line 1 column 0",
        ),
        (
            "null",
            "invalid arguments: invalid type: null, expected a map at line 1 column 4",
        ),
        (
            "{",
            "the body is not JSON: EOF while parsing an object at line 1 column 1",
        ),
        (
            &deep,
            "the body is not JSON: recursion limit exceeded at line 1 column 132",
        ),
    ] {
        let (status, body) = json(&app, request("echo", body)).await;
        assert_eq!(
            body,
            json!({
                "type": "about:blank",
                "title": "Bad Request",
                "status": 400,
                "detail": detail,
                "kind": "invalid_arguments",
            })
        );
        assert_eq!(status, 400);
    }
    let wrong_utf8 = Request::post("/tools/echo")
        .header("content-type", "application/json")
        .body(Body::from(&b"{\"a\":\"\xff\"}"[..]))
        .expect("a request");
    let (status, body) = json(&app, wrong_utf8).await;
    assert_eq!(
        (status.as_u16(), &body["kind"]),
        (400, &json!("invalid_arguments"))
    );
}

#[tokio::test(start_paused = true)]
async fn form_of_a_browser_is_415_even_if_it_is_empty() {
    let app = app();
    for media_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data",
    ] {
        for body in ["{}", ""] {
            let request = Request::post("/tools/echo")
                .header("content-type", media_type)
                .body(Body::from(body))
                .expect("a request");
            let (status, body) = json(&app, request).await;
            assert_eq!(status, 415, "{media_type}");
            assert_eq!(body["kind"], "unsupported_media_type");
        }
    }
    let undeclared = Request::post("/tools/echo")
        .body(Body::from("{}"))
        .expect("a request");
    assert_eq!(json(&app, undeclared).await.0, 415);
}

#[tokio::test(start_paused = true)]
async fn body_has_a_maximum_length() {
    let app: Router = ToolRouter::new(toolbox()).with_max_body(16).into_router();
    let (status, _) = json(&app, request("echo", r#"{"a":"12345678"}"#)).await;
    assert_eq!(status, 200);
    let (status, body) = json(&app, request("echo", r#"{"a":"123456789"}"#)).await;
    assert_eq!(
        (status.as_u16(), &body["kind"]),
        (413, &json!("body_too_large"))
    );
}

#[tokio::test(start_paused = true)]
async fn body_must_arrive_in_time() {
    let app: Router = ToolRouter::new(toolbox())
        .with_body_timeout(ms(200))
        .into_router();
    let started = tokio::time::Instant::now();
    let never = stream::pending::<Result<Bytes, BoxError>>();
    let request = Request::post("/tools/echo")
        .header("content-type", "application/json")
        .body(Body::from_stream(never))
        .expect("a request");
    let (status, body) = json(&app, request).await;
    assert_eq!(
        (status.as_u16(), &body["kind"]),
        (408, &json!("body_timeout"))
    );
    assert_eq!(started.elapsed(), ms(200));
}

#[tokio::test(start_paused = true)]
async fn body_that_ends_early_is_a_problem() {
    let app = app();
    let broken = stream::iter([Ok::<_, BoxError>("{\"a\":"), Err("connection reset".into())]);
    let request = Request::post("/tools/echo")
        .header("content-type", "application/json")
        .body(Body::from_stream(broken))
        .expect("a request");
    let (status, body) = json(&app, request).await;
    assert_eq!(
        (status.as_u16(), &body["kind"]),
        (400, &json!("body_interrupted"))
    );
}

#[tokio::test(start_paused = true)]
async fn unknown_tool_is_404_with_the_nearest_names() {
    let app = app();
    let (status, body) = json(&app, request("ecko", "{}")).await;
    assert_eq!(status, 404);
    assert_eq!(
        body["detail"],
        "there is no tool named `ecko`, did you mean `echo`?"
    );
    assert_eq!(
        (&body["nearest"], &body["started"]),
        (&json!(["echo"]), &json!(false))
    );

    let long = "x".repeat(10_000);
    let (status, body) = json(&app, request(&long, "{}")).await;
    assert_eq!(
        (status.as_u16(), &body["kind"]),
        (404, &json!("unknown_tool"))
    );
    assert!(body.to_string().len() < 1_000);

    let (status, body) = json(&app, request("%ff", "{}")).await;
    assert_eq!(
        (status.as_u16(), &body["kind"]),
        (400, &json!("invalid_path"))
    );
}

#[tokio::test(start_paused = true)]
async fn tool_that_fails_or_panics_has_a_fixed_text() {
    let app = app();
    for (tool, kind) in [("fails", "tool_error"), ("panics", "panicked")] {
        let response = send(&app, request(tool, "")).await;
        assert_eq!(response.status(), 500);
        let error = response
            .extensions()
            .get::<ToolError>()
            .expect("the error for a log");
        assert!(format!("{error:?}").contains(SECRET), "{error:?}");
        let body: Value = serde_json::from_slice(&bytes(response).await).expect("json");
        assert!(!body.to_string().contains("hunter2"), "{body}");
        let seen = (&body["detail"], &body["kind"], &body["started"]);
        assert_eq!(
            seen,
            (&json!("the tool failed"), &json!(kind), &json!(true))
        );
    }
}

#[tokio::test(start_paused = true)]
async fn timeout_is_504_with_the_partial_result() {
    let limited = ServiceBuilder::new()
        .layer(TimeoutLayer::new(ms(500)))
        .layer(toolbooth::PartialResultLayer::new())
        .service(toolbox());
    let app: Router = ToolRouter::with_service(toolbox(), limited).into_router();
    let started = tokio::time::Instant::now();
    let (status, body) = json(&app, request("sleep", "")).await;
    assert_eq!((status.as_u16(), started.elapsed()), (504, ms(500)));
    let seen = (
        &body["title"],
        &body["kind"],
        &body["tool"],
        &body["started"],
    );
    let expected = ["Gateway Timeout", "timeout", "sleep"].map(Value::from);
    let [title, kind, tool] = &expected;
    assert_eq!(seen, (title, kind, tool, &json!(true)));
    assert_eq!(
        body["partial"],
        json!({ "contents": [{ "type": "text", "text": "awake soon" }] })
    );
}

#[tokio::test(start_paused = true)]
async fn rejections_have_their_status_and_retry_after_rounded_up() {
    let hour = Duration::from_secs(3_600);
    let rate = RateLimitLayer::new(toolbooth::Quota::with_period(hour)).reject();
    let limited = rate.layer(toolbox());
    let app: Router = ToolRouter::with_service(toolbox(), limited).into_router();
    assert_eq!(json(&app, request("echo", "")).await.0, 200);
    tokio::time::advance(ms(1)).await;
    let response = send(&app, request("echo", "")).await;
    assert_eq!(response.status(), 429);
    assert_eq!(response.headers()["retry-after"], "3600");
    let body: Value = serde_json::from_slice(&bytes(response).await).expect("json");
    assert_eq!(body["retry_after_ms"], 3_599_999);

    let full = ConcurrencyLimitLayer::new(0).with_queue_capacity(0);
    let app: Router = ToolRouter::with_service(toolbox(), full.layer(toolbox())).into_router();
    let response = send(&app, request("echo", "")).await;
    assert_eq!(response.status(), 503);
    assert!(!response.headers().contains_key("retry-after"));
}

#[tokio::test(start_paused = true)]
async fn stream_is_collected_up_to_the_limit() {
    let items = 5;
    let size = "line 0".len() + 64;
    let app = |limit| -> Router {
        ToolRouter::new(toolbox())
            .with_collect_limit(limit)
            .into_router()
    };
    let (status, body) = json(&app(items * size), request("lines", r#"{"count":5}"#)).await;
    assert_eq!(status, 200);
    assert_eq!(body["contents"].as_array().map(Vec::len), Some(items));
    assert_eq!(
        body["contents"][4],
        json!({ "type": "text", "text": "line 4" })
    );

    let (status, body) = json(&app(items * size - 1), request("lines", r#"{"count":5}"#)).await;
    assert_eq!(
        (status.as_u16(), &body["kind"]),
        (500, &json!("response_too_large"))
    );
    assert_eq!(
        body["partial"]["contents"].as_array().map(Vec::len),
        Some(items - 1)
    );
    assert!(
        body["detail"]
            .as_str()
            .is_some_and(|text| text.contains("349 bytes")),
        "{body}"
    );
}

#[tokio::test(start_paused = true)]
async fn response_that_nests_too_deep_is_a_failure_of_the_tool() {
    let deep = tool_fn("deep", async |call: toolbooth::CallContext, _: ()| {
        let deep = (0..1_000).fold(Value::Null, |value, _| Value::Array(vec![value]));
        call.emit(Content::Json(deep.clone()));
        Ok::<_, BoxError>(ToolOutput::json(deep))
    });
    let toolbox = Toolbox::builder()
        .tool("deep", deep)
        .build()
        .expect("a toolbox");
    let app: Router = ToolRouter::new(toolbox).into_router();
    let (status, body) = json(&app, request("deep", "")).await;
    assert_eq!(
        (status.as_u16(), &body["kind"]),
        (500, &json!("tool_error"))
    );
}

#[tokio::test(start_paused = true)]
async fn descriptions_are_listed_and_found_by_name() {
    let app = app();
    let get = |path: &str| Request::get(path).body(Body::empty()).expect("a request");
    let (status, body) = json(&app, get("/tools")).await;
    assert_eq!(status, 200);
    let listed: Vec<ToolSpec> = serde_json::from_value(body["tools"].clone()).expect("specs");
    assert_eq!(listed, toolbox().specs());

    let (status, body) = json(&app, get("/tools/echo")).await;
    assert_eq!(status, 200);
    assert_eq!(
        body,
        json!({
            "name": "echo",
            "description": "Returns its arguments",
            "inputSchema": { "type": "object" },
        })
    );
    let (status, body) = json(&app, get("/tools/ecko")).await;
    assert_eq!((status.as_u16(), &body["nearest"]), (404, &json!(["echo"])));
}

#[tokio::test(start_paused = true)]
async fn other_methods_are_405_with_those_that_are_allowed() {
    let app = app();
    for (path, allowed) in [("/tools", "GET,HEAD"), ("/tools/echo", "GET,HEAD,POST")] {
        let request = Request::put(path).body(Body::empty()).expect("a request");
        let response = send(&app, request).await;
        assert_eq!((response.status().as_u16(), path), (405, path));
        assert_eq!(response.headers()["allow"], allowed);
        assert_eq!(
            response.headers()["content-type"],
            "application/problem+json"
        );
    }
}
