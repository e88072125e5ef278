//! Tokens, and what is a tenant's own.

use http::Request;
use http_body_util::Full;
use rmcp::service::ServiceError;
use serde_json::json;

use crate::support::{Program, call, names, send, tenant, text};

const TOOLS: &str = "
[tools.greet]
command = ['echo', 'hello', '{name}']
[tools.grant]
command = ['echo', 'secret', '{name}']
[tools.fail]
command = ['false']
[tools.nap]
command = ['sleep', '{seconds}']
";

#[tokio::test]
async fn each_tenant_lists_and_calls_its_tools_and_the_others_are_unknown() {
    let toml = format!(
        "{TOOLS}{}{}",
        tenant("alice", "tools = ['greet']"),
        tenant("bob", "")
    );
    let mut program = Program::start(&toml).await;
    let (alice, bob) = (
        program.mcp(Some("alice")).await,
        program.mcp(Some("bob")).await,
    );
    assert_eq!(names(&alice).await, ["greet"]);
    assert_eq!(names(&bob).await, ["fail", "grant", "greet", "nap"]);

    let greeted = call(&alice, "greet", json!({ "name": "Ada" }))
        .await
        .expect("a result");
    assert_eq!(text(&greeted), "hello Ada\n");
    let denied = call(&alice, "grant", json!({ "name": "Ada" })).await;
    let Err(ServiceError::McpError(error)) = denied else {
        panic!("it is unknown to alice: {denied:?}");
    };
    assert_eq!(
        error.message,
        "there is no tool named `grant`, did you mean `greet`?"
    );
    // A call has its tenant from the start: it is no second attempt.
    let failed = call(&bob, "fail", json!({})).await.expect("a result");
    assert_eq!(failed.is_error, Some(true));
    let line = program.logged("\"toolbooth.tenant\":\"bob\"").await;
    assert!(line.contains("\"toolbooth.attempt\":1"), "{line}");

    // Over the HTTP API, too. The nearest names are those of the tenant.
    let (status, problem) = program
        .call(Some("alice"), "nap", &json!({ "seconds": "0" }))
        .await;
    assert_eq!((status, &problem["kind"]), (404, &json!("unknown_tool")));
    let (status, problem) = program
        .call(Some("alice"), "grant", &json!({ "name": "Ada" }))
        .await;
    assert_eq!((status, &problem["nearest"]), (404, &json!(["greet"])));
    let (status, _) = program
        .call(Some("bob"), "grant", &json!({ "name": "Ada" }))
        .await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn session_is_unknown_with_the_token_of_another_tenant() {
    let toml = format!("{TOOLS}{}{}", tenant("alice", ""), tenant("bob", ""));
    let program = Program::start(&toml).await;
    let post = |token: &str, session: Option<&str>, body: serde_json::Value| {
        let mut request = Request::post(format!("http://{}/mcp", program.http))
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream");
        if let Some(session) = session {
            request = request.header("mcp-session-id", session);
        }
        request.body(Full::from(body.to_string())).expect("valid")
    };
    let initialize = json!({
        "jsonrpc": "2.0", "id": 1, "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": { "name": "test", "version": "1" },
        },
    });
    let (head, _) = send(post("alice", None, initialize)).await;
    let session = head.headers()["mcp-session-id"]
        .to_str()
        .expect("ASCII")
        .to_owned();
    let initialized = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    let list = json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/list" });
    let cancel = json!({
        "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": 2 },
    });
    let status = async |request| send(request).await.0.status().as_u16();
    assert_eq!(
        status(post("alice", Some(&session), initialized)).await,
        202
    );
    for message in [&list, &cancel] {
        assert_eq!(
            status(post("bob", Some(&session), message.clone())).await,
            404
        );
    }
    let delete = |token: &str| {
        Request::delete(format!("http://{}/mcp", program.http))
            .header("authorization", format!("Bearer {token}"))
            .header("mcp-session-id", &session)
            .body(Full::default())
            .expect("valid")
    };
    // Whatever the response to bob is, the session of alice remains.
    status(delete("bob")).await;
    assert_eq!(status(post("alice", Some(&session), list)).await, 200);
    assert_eq!(status(delete("alice")).await / 100, 2);
}

#[tokio::test]
async fn request_without_a_valid_token_is_401_with_a_challenge() {
    let mut program = Program::start(&format!("{TOOLS}{}", tenant("alice", ""))).await;
    let missing = "Bearer realm=\"toolbooth\"";
    let invalid = "Bearer realm=\"toolbooth\", error=\"invalid_token\"";
    for path in ["/mcp", "/tools", "/tools/greet", "/nothing"] {
        for (token, challenge) in [
            (None, missing),
            (Some("Bearer bob"), invalid),
            (Some("Bearer alic"), invalid),
            (Some("Bearer "), invalid),
            (Some("Basic alice"), invalid),
            (Some("alice"), invalid),
        ] {
            let mut request = Request::post(format!("http://{}{path}", program.http));
            if let Some(token) = token {
                request = request.header("authorization", token);
            }
            let (head, _) = send(request.body(Full::default()).expect("valid")).await;
            assert_eq!(head.status(), 401, "{path} {token:?}");
            assert_eq!(
                head.headers()["www-authenticate"],
                challenge,
                "{path} {token:?}"
            );
        }
    }
    // Lines are bounded, and have no token.
    let line = program.logged("requests had no valid token").await;
    assert!(!line.contains("bob") && !line.contains("alic"), "{line}");
    let (status, _) = program
        .call(Some("alice"), "greet", &json!({ "name": "Ada" }))
        .await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn limits_of_a_tenant_are_its_own() {
    let limited = "concurrency = 1\nqueue = 1\nrate = '3/d'";
    let toml = format!("{TOOLS}{}{}", tenant("alice", limited), tenant("bob", ""));
    let program = Program::start(&toml).await;
    let (nap, greet) = (json!({ "seconds": "1" }), json!({ "name": "Ada" }));
    // One runs, one waits, and a third one finds no place.
    let long = program.call(Some("alice"), "nap", &nap);
    let queued = async {
        program.in_flight(1).await;
        program.call(Some("alice"), "greet", &greet).await
    };
    let third = async {
        program.in_flight(2).await;
        assert_eq!(program.call(Some("bob"), "greet", &greet).await.0, 200);
        program.call(Some("alice"), "greet", &greet).await
    };
    let (long, queued, third) = tokio::join!(long, queued, third);
    assert_eq!((long.0, queued.0), (200, 200));
    assert_eq!((third.0, &third.1["kind"]), (503, &json!("overloaded")));

    // The token of the third one was refunded. Then none is left for eight hours.
    assert_eq!(program.call(Some("alice"), "greet", &greet).await.0, 200);
    let (status, problem) = program.call(Some("alice"), "greet", &greet).await;
    assert_eq!((status, &problem["kind"]), (429, &json!("rate_limited")));
    let retry = problem["retry_after_ms"].as_u64().expect("a time to retry");
    assert!((28_000_000..=28_800_000).contains(&retry), "{retry}");
    assert_eq!(program.call(Some("bob"), "greet", &greet).await.0, 200);
}
