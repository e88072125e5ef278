//! The address of the operator.

use http::Request;
use http_body_util::Full;
use serde_json::{Value, json};
use toolbooth_gateway::config::TokenHash;

use crate::support::{Folder, Program, get, send};

const FILE: &str = "
[tools.greet]
command = ['echo', 'hello', '{name}']
";

#[tokio::test]
async fn operator_sees_health_readiness_metrics_and_the_page() {
    let program = Program::start(FILE).await;
    assert_eq!(program.operator("/health").await.1, "ok\n");
    let (head, ready) = program.operator("/ready").await;
    assert_eq!(head.status(), 200);
    let ready: Value = serde_json::from_str(&ready).expect("JSON");
    assert_eq!(
        (&ready["ready"], &ready["phase"]),
        (&json!(true), &json!("serving"))
    );

    let (status, _) = program.call(None, "greet", &json!({ "name": "Ada" })).await;
    assert_eq!(status, 200);
    let (head, metrics) = program.operator("/metrics").await;
    assert_eq!(
        head.headers()["content-type"],
        "text/plain; version=0.0.4; charset=utf-8"
    );
    let started = "toolbooth_calls_started_total{gen_ai_tool_name=\"greet\"} 1";
    assert!(metrics.lines().any(|line| line == started), "{metrics}");

    let (head, page) = program.operator("/timeline/").await;
    assert!(page.starts_with("<!doctype html>"));
    let policy = head.headers()["content-security-policy"]
        .to_str()
        .expect("ASCII");
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    let (_, feed) = program.operator("/timeline/feed.json").await;
    assert!(
        feed.contains("\"greet\"") && !feed.contains("Ada"),
        "{feed}"
    );
    let (head, paths) = program.operator("/tools").await;
    assert_eq!(head.status(), 404);
    assert_eq!(
        paths,
        "there are /health, /ready, /metrics and /timeline/\n"
    );

    let (head, paths) = get(&format!("http://{}/", program.http)).await;
    assert_eq!(head.status(), 404);
    assert_eq!(paths, "MCP is at /mcp, and the HTTP API at /tools\n");
}

#[tokio::test]
async fn operator_with_a_token_needs_it() {
    let folder = Folder::new();
    let hash = TokenHash::of("operator");
    let file = format!(
        "{FILE}[listen]\nhttp = '127.0.0.1:0'\n[log]\nformat = 'json'\n\
         [admin]\nlisten = '127.0.0.1:0'\ntoken_sha256 = '{hash}'\n"
    );
    let file = folder.write("booth.toml", &file);
    let program = Program::start_file(folder, &file).await;
    for path in ["/health", "/ready", "/metrics", "/timeline/"] {
        assert_eq!(program.operator(path).await.0.status(), 401, "{path}");
        let request = Request::get(format!("http://{}{path}", program.admin))
            .header("authorization", "Bearer operator")
            .body(Full::default())
            .expect("valid");
        assert_eq!(send(request).await.0.status(), 200, "{path}");
    }
}
