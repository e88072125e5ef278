//! What a request states about its caller.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::error_handling::HandleErrorLayer;
use axum::extract::ConnectInfo;
use axum::http::{HeaderName, Version};
use axum::routing::get;
use serde_json::json;
use tokio::time::Instant;
use toolbooth::{
    BoxError, CallContext, CallDeadline, CallTenant, ConcurrencyLimitLayer, IdempotencyLayer,
    PerTool, Quota, RateLimitLayer, ShutdownLayer, TimeoutLayer, ToolRequest, Toolbox, tool_fn,
};
use toolbooth_axum::{
    Caller, CallerLayer, ClientKey, Problem, RouteNameLayer, ToolRouter, handle_error,
};
use tower::{Layer, ServiceBuilder};

use super::*;

const fn header(name: &'static str) -> HeaderName {
    HeaderName::from_static(name)
}

/// A tool that returns what its context has.
fn toolbox() -> Toolbox {
    let about = tool_fn("about", async |call: CallContext, _: ()| {
        let remaining = call.remaining().map(|left| left.as_millis());
        let key = call.extension::<ClientKey>().map(ToString::to_string);
        Ok::<_, BoxError>(json!({
            "tenant": call.tenant(),
            "priority": call.priority(),
            "remaining": remaining.map(|millis| millis.to_string()),
            "idempotency_key": call.idempotency_key(),
            "key": key,
        }))
    });
    Toolbox::builder()
        .tool("about", about)
        .build()
        .expect("a toolbox")
}

fn with(headers: &[(&'static str, &str)]) -> Request<Body> {
    let mut request = request("about", "");
    for (name, value) in headers {
        let value = value.parse().expect("a value of a header");
        request.headers_mut().append(header(name), value);
    }
    let peer: SocketAddr = "[2001:db8::7]:4711".parse().expect("an address");
    request.extensions_mut().insert(ConnectInfo(peer));
    request
}

async fn about(app: &Router, request: Request<Body>) -> Value {
    let (status, body) = json(app, request).await;
    assert_eq!(status, 200, "{body}");
    body["contents"][0]["value"].clone()
}

fn reads_all() -> CallerLayer {
    CallerLayer::new()
        .with_tenant_header(header("x-tenant"))
        .with_priority_header(header("x-priority"), -10..=10)
        .with_timeout_header(header("x-request-timeout-ms"), ms(60_000))
        .with_idempotency_key_header(header("idempotency-key"))
        .with_peer_key()
}

const STATED: [(&str, &str); 5] = [
    ("x-tenant", "acme"),
    ("x-priority", "5"),
    ("x-request-timeout-ms", "1500"),
    ("idempotency-key", "k1"),
    ("x-forwarded-for", "10.9.9.9, 10.0.0.1"),
];

#[tokio::test(start_paused = true)]
async fn nothing_is_read_by_default() {
    let app: Router = ToolRouter::new(toolbox()).into_router();
    let expected = json!({
        "tenant": null, "priority": 0, "remaining": null, "idempotency_key": null,
        "key": "2001:db8::/64",
    });
    for app in [app.clone(), app.layer(CallerLayer::new())] {
        assert_eq!(about(&app, with(&STATED)).await, expected);
    }
}

#[tokio::test(start_paused = true)]
async fn headers_that_are_read_become_settings_of_the_call() {
    let routes = || -> Router { ToolRouter::new(toolbox()).into_router() };
    let expected = json!({
        "tenant": "acme", "priority": 5, "remaining": "1500", "idempotency_key": "k1",
        "key": "2001:db8::/64",
    });
    let app = routes().layer(reads_all());
    assert_eq!(about(&app, with(&STATED)).await, expected);
    // The same below a layer of toolbooth around the route, whose call is the parent.
    let layers = ServiceBuilder::new()
        .layer(reads_all())
        .layer(HandleErrorLayer::new(handle_error))
        .layer(TimeoutLayer::new(ms(5_000)));
    assert_eq!(
        about(&routes().layer(layers), with(&STATED)).await,
        expected
    );
    // Without the headers, only what is known otherwise.
    let nothing = json!({
        "tenant": null, "priority": 0, "remaining": null, "idempotency_key": null,
        "key": "2001:db8::/64",
    });
    assert_eq!(about(&app, with(&[])).await, nothing);
}

#[tokio::test(start_paused = true)]
async fn deadline_and_priority_are_bounded() {
    let app = ToolRouter::new(toolbox()).into_router().layer(reads_all());
    let found = about(
        &app,
        with(&[("x-priority", "99"), ("x-request-timeout-ms", "600000")]),
    )
    .await;
    assert_eq!(
        (&found["priority"], &found["remaining"]),
        (&json!(10), &json!("60000"))
    );
    let found = about(&app, with(&[("x-priority", "-99")])).await;
    assert_eq!(found["priority"], -10);
}

#[tokio::test(start_paused = true)]
async fn header_with_a_value_that_is_not_allowed_is_a_problem_that_does_not_repeat_it() {
    let app = ToolRouter::new(toolbox()).into_router().layer(reads_all());
    let long = "x".repeat(300);
    for stated in [
        &[("x-tenant", "a secret")][..],
        &[("x-tenant", &long)],
        &[("x-tenant", "acme"), ("x-tenant", "other")],
        &[("x-priority", "high")],
        &[("x-request-timeout-ms", "1s")],
        &[("idempotency-key", "")],
    ] {
        let (status, body) = json(&app, with(stated)).await;
        let (name, value) = stated[0];
        assert_eq!(
            (status.as_u16(), &body["kind"]),
            (400, &json!("invalid_header"))
        );
        let detail = format!("the header `{name}` has a value that is not allowed");
        assert_eq!(body["detail"], detail);
        assert!(value.len() < 5 || !body.to_string().contains(value));
    }
}

#[tokio::test(start_paused = true)]
async fn what_an_outer_layer_has_verified_stays() {
    let app = ToolRouter::new(toolbox()).into_router().layer(reads_all());
    let mut request = with(&STATED);
    request.extensions_mut().insert(CallTenant::new("verified"));
    request.extensions_mut().insert(ClientKey::new("account-7"));
    request
        .extensions_mut()
        .insert(CallDeadline::new(Instant::now() + ms(200)));
    let found = about(&app, request).await;
    assert_eq!(
        (&found["tenant"], &found["remaining"]),
        (&json!("verified"), &json!("200"))
    );
    assert_eq!(found["key"], "account-7");
}

#[tokio::test(start_paused = true)]
async fn tenant_and_key_come_from_functions_of_the_request() {
    #[derive(Clone)]
    struct Account(&'static str);
    let callers = CallerLayer::new()
        .with_tenant(|head| head.extension::<Account>().map(|account| account.0.into()))
        .with_key(|head| head.header("x-api-key").map(Into::into));
    let app = ToolRouter::new(toolbox()).into_router().layer(callers);
    let mut request = with(&[("x-api-key", "k7")]);
    request.extensions_mut().insert(Account("acme"));
    let found = about(&app, request).await;
    assert_eq!(
        (&found["tenant"], &found["key"]),
        (&json!("acme"), &json!("k7"))
    );
    let found = about(&app, with(&[])).await;
    assert_eq!(
        (&found["tenant"], &found["key"]),
        (&json!(null), &json!("2001:db8::/64"))
    );

    let callers = CallerLayer::new().with_forwarded_key(2);
    let app = ToolRouter::new(toolbox()).into_router().layer(callers);
    assert_eq!(about(&app, with(&STATED)).await["key"], "10.9.9.9");
    assert_eq!(about(&app, with(&[])).await["key"], "2001:db8::/64");
}

#[tokio::test(start_paused = true)]
async fn limits_by_key_separate_clients() {
    let hourly = || Quota::with_period(ms(3_600_000));
    let calls = RateLimitLayer::by(hourly(), ClientKey::of_call).reject();
    let tools = ToolRouter::with_service(toolbox(), calls.layer(toolbox())).into_router();
    let requests = RateLimitLayer::by_request(hourly(), ClientKey::of_request).reject();
    let layers = ServiceBuilder::new()
        .layer(HandleErrorLayer::new(handle_error))
        .layer(requests);
    let routes: Router = ToolRouter::new(toolbox()).into_router();
    for app in [tools, routes.layer(layers)] {
        let from = |peer: &str| {
            let mut request = with(&[]);
            let peer: SocketAddr = peer.parse().expect("an address");
            request.extensions_mut().insert(ConnectInfo(peer));
            request
        };
        let mut statuses = Vec::new();
        for peer in [
            "10.0.0.1:1",
            "10.0.0.1:2",
            "10.0.0.2:1",
            "[2001:db8::1]:1",
            "[2001:db8::2]:1",
        ] {
            statuses.push(send(&app, from(peer)).await.status().as_u16());
        }
        assert_eq!(statuses, [200, 429, 200, 200, 429]);
    }
}

#[tokio::test(start_paused = true)]
async fn repeated_call_with_an_idempotency_key_runs_once() {
    let runs = Arc::new(Mutex::new(0));
    let count = Arc::clone(&runs);
    let pay = tool_fn("pay", move |_: ()| {
        let count = Arc::clone(&count);
        async move {
            *count.lock().expect("no panic") += 1;
            Ok::<_, BoxError>("paid")
        }
    });
    let toolbox = Toolbox::builder()
        .tool("pay", pay)
        .build()
        .expect("a toolbox");
    let once = IdempotencyLayer::new().layer(toolbox.clone());
    let app = ToolRouter::with_service(toolbox, once)
        .into_router()
        .layer(reads_all());
    for (key, expected) in [("k1", 1), ("k1", 1), ("k2", 2)] {
        let mut request = request("pay", "");
        let key = key.parse().expect("a value");
        request.headers_mut().insert("idempotency-key", key);
        assert_eq!(send(&app, request).await.status(), 200);
        assert_eq!(*runs.lock().expect("no panic"), expected);
    }
}

/// One value of a limit around the routes and around the tools is one limit.
#[tokio::test(start_paused = true)]
async fn call_of_a_tool_does_not_wait_for_the_permit_of_its_request() {
    let limit = ConcurrencyLimitLayer::new(1);
    let tools = ToolRouter::with_service(toolbox(), limit.layer(toolbox())).into_router();
    let layers = ServiceBuilder::new()
        .layer(HandleErrorLayer::new(handle_error))
        .layer(limit.clone());
    let app: Router<()> = tools.layer(layers);
    for request in [with(&[]), events_request("about", "")] {
        let response = tokio::time::timeout(ms(1_000), send(&app, request)).await;
        let response = response.expect("it does not wait for itself");
        assert_eq!((response.status().as_u16(), limit.in_flight()), (200, 1));
        bytes(response).await;
        assert_eq!((limit.in_flight(), limit.queued()), (0, 0));
    }
}

/// A call that only a hook outside of all layers knows.
#[tokio::test(start_paused = true)]
async fn call_of_the_request_lasts_as_long_as_the_call_of_the_tool() {
    let sleep = tool_fn("sleep", async |_: ()| {
        tokio::time::sleep(ms(100)).await;
        Ok::<_, BoxError>("awake")
    });
    let toolbox = Toolbox::builder()
        .tool("sleep", sleep)
        .build()
        .expect("a toolbox");
    let app: Router = ToolRouter::new(toolbox).into_router();
    for mut request in [request("sleep", ""), events_request("sleep", "")] {
        let started = Instant::now();
        let (ended, end) = tokio::sync::oneshot::channel();
        request.context().on_cleanup(move |_| async move {
            let _ = ended.send(started.elapsed());
        });
        let response = send(&app, request).await;
        assert_eq!(response.status(), 200);
        let body = bytes(response).await;
        assert!(String::from_utf8_lossy(&body).contains("awake"), "{body:?}");
        assert_eq!(end.await, Ok(ms(100)));
    }
}

#[tokio::test(start_paused = true)]
async fn extractor_gives_handlers_what_the_router_has() {
    let toolbox = toolbox();
    let handler = async move |caller: Caller| {
        let seen = json!({
            "tenant": caller.tenant(),
            "priority": caller.priority(),
            "key": caller.key().map(ClientKey::as_str),
            "deadline": caller.deadline().is_some(),
        });
        let call = caller.call("about", json!({}))?;
        let output = toolbox.clone().oneshot(call).await?.collect().await?;
        Ok::<_, Problem>(axum::Json(
            json!({ "seen": seen, "told": output.contents()[0] }),
        ))
    };
    let app = Router::new()
        .route("/tools/about", axum::routing::post(handler))
        .layer(reads_all());
    let (status, body) = json(&app, with(&STATED)).await;
    assert_eq!(status, 200);
    assert_eq!(
        body["seen"],
        json!({ "tenant": "acme", "priority": 5, "key": "2001:db8::/64", "deadline": true })
    );
    let told = &body["told"]["value"];
    assert_eq!(
        (&told["tenant"], &told["remaining"]),
        (&json!("acme"), &json!("1500"))
    );
}

#[tokio::test(start_paused = true)]
async fn route_is_the_name_of_the_tool() {
    let limits = PerTool::new(ms(5_000)).with("/slow/{id}", ms(100));
    let slow = async || tokio::time::sleep(ms(1_000)).await;
    let layers = ServiceBuilder::new()
        .layer(RouteNameLayer::new())
        .layer(HandleErrorLayer::new(handle_error))
        .layer(TimeoutLayer::new(limits));
    let app: Router = Router::new()
        .route("/slow/{id}", get(slow))
        .route("/other/{id}", get(slow))
        .layer(layers);
    let get = |path: &str| {
        Request::get(path)
            .version(Version::HTTP_11)
            .body(Body::empty())
    };
    let (status, body) = json(&app, get("/slow/7").expect("a request")).await;
    assert_eq!(
        (status.as_u16(), &body["tool"]),
        (504, &json!("/slow/{id}"))
    );
    assert_eq!(
        send(&app, get("/other/7").expect("a request"))
            .await
            .status(),
        200
    );
}

#[tokio::test(start_paused = true)]
async fn tool_call_ends_with_the_limit_around_its_route() {
    let (sender, mut receiver) = tokio::sync::mpsc::channel(2);
    let hangs = tool_fn("hangs", move |call: CallContext, _: ()| {
        let sender = sender.clone();
        call.on_cleanup(move |outcome| async move {
            let _ = sender.send(outcome).await;
        });
        call.emit("begun");
        std::future::pending::<Result<(), BoxError>>()
    });
    let toolbox = Toolbox::builder()
        .tool("hangs", hangs)
        .build()
        .expect("a toolbox");
    let shutdown = ShutdownLayer::new();
    let layers = ServiceBuilder::new()
        .layer(HandleErrorLayer::new(handle_error))
        .layer(TimeoutLayer::new(ms(100)))
        .layer(shutdown.clone());
    let app: Router = ToolRouter::new(toolbox).into_router();
    let app = app.layer(layers);
    let (status, _) = json(&app, request("hangs", "")).await;
    assert_eq!(status, 504);
    assert_eq!(receiver.recv().await, Some(toolbooth::Outcome::Cancelled));
    let response = send(&app, events_request("hangs", "")).await;
    assert_eq!(response.status(), 200);
    assert!(response.into_body().collect().await.is_err());
    assert_eq!(receiver.recv().await, Some(toolbooth::Outcome::Cancelled));
    assert_eq!(shutdown.in_flight(), 0);
}
