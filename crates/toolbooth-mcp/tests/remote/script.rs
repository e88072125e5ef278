//! Servers that no library would write: line by line, with faults.

use std::io::{BufRead as _, Write as _};

use serde_json::{Value, json};

/// Reads requests until the input ends, and writes what the script has for each.
pub(crate) fn run(script: &str) {
    let (script, argument) = script.split_once(':').unwrap_or((script, ""));
    if script == "mute" {
        return read_all();
    }
    if script == "exits" {
        eprintln!("{argument}");
        return;
    }
    let mut pages = 0;
    let mut methods = Vec::new();
    // Not locked: a script may read in between.
    for line in std::iter::from_fn(next_line) {
        let Ok(request) = serde_json::from_str::<Value>(&line) else {
            continue;
        };
        let id = &request["id"];
        let result = |result: Value| json!({ "jsonrpc": "2.0", "id": id, "result": result });
        let method = request["method"].as_str().unwrap_or_default();
        methods.push(method.to_owned());
        match method {
            "initialize" if script == "needs-discover" && methods.len() == 1 => {
                let error = json!({ "code": -32600, "message": "discover first" });
                write(&json!({ "jsonrpc": "2.0", "id": id, "error": error }).to_string());
            }
            "tools/call" if request["params"]["arguments"]["die"] == true => return,
            "tools/call" if ["tells-methods", "needs-discover"].contains(&script) => {
                let content = json!([{ "type": "text", "text": methods.join(" ") }]);
                write(&result(json!({ "content": content })).to_string());
            }
            "server/discover" => {
                let error = json!({ "code": -32601, "message": "unknown method" });
                write(&json!({ "jsonrpc": "2.0", "id": id, "error": error }).to_string());
            }
            "initialize" => write(
                &result(json!({
                    "protocolVersion": "2025-11-25",
                    "capabilities": { "tools": {} },
                    "serverInfo": { "name": "script", "version": "1" },
                }))
                .to_string(),
            ),
            "tools/list" => {
                pages += 1;
                write(&result(page(script, pages)).to_string());
                if script == "stops-reading" {
                    loop {
                        std::thread::park();
                    }
                }
            }
            "tools/call" => respond(script, id),
            _ => {}
        }
    }
}

/// Sends each kind of request, and returns the results and the codes of errors by method.
fn ask() -> Value {
    let text = json!({ "type": "text", "text": "hi" });
    let schema = json!({ "type": "object", "properties": {} });
    let requests = [
        ("ping", json!({})),
        ("roots/list", json!({})),
        (
            "elicitation/create",
            json!({ "message": "name?", "requestedSchema": schema }),
        ),
        (
            "sampling/createMessage",
            json!({ "messages": [{ "role": "user", "content": text }], "maxTokens": 1 }),
        ),
        ("other/request", json!({})),
    ];
    let mut responses = json!({});
    for (method, params) in requests {
        let id = format!("ask-{method}");
        let request = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params });
        write(&request.to_string());
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).expect("a response");
        let response: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(response["id"], id);
        let error = &response["error"]["code"];
        responses[method] = match error.is_null() {
            true => response["result"].clone(),
            false => error.clone(),
        };
    }
    responses
}

fn read_all() {
    for line in std::io::stdin().lock().lines() {
        drop(line);
    }
}

fn page(script: &str, number: usize) -> Value {
    let tool = |name: String| json!({ "name": name, "inputSchema": { "type": "object" } });
    match script {
        "same-page" => json!({ "tools": [], "nextCursor": "again" }),
        "endless" => json!({ "tools": [], "nextCursor": number.to_string() }),
        "many" => {
            let tools = (0..1_000).map(|n| tool(format!("tool-{number}-{n}")));
            json!({ "tools": tools.collect::<Vec<_>>(), "nextCursor": number.to_string() })
        }
        "large" => {
            let mut tool = tool(format!("tool-{number}"));
            tool["description"] = Value::from("x".repeat(4 * 1_024 * 1_024));
            json!({ "tools": [tool], "nextCursor": number.to_string() })
        }
        "twice" => json!({ "tools": [tool("a".to_owned()), tool("a".to_owned())] }),
        "control" => json!({ "tools": [tool("a\nb".to_owned())] }),
        _ => json!({ "tools": [tool("a".to_owned())] }),
    }
}

fn respond(script: &str, id: &Value) {
    let whole = |text: &str| {
        let content = json!([{ "type": "text", "text": text }]);
        json!({ "jsonrpc": "2.0", "id": id, "result": { "content": content } }).to_string()
    };
    match script {
        "noise" => {
            write("Listening on stdio...");
            write("");
            write("[1, 2]");
            write("{\"level\":\"info\"}");
            write("\u{feff}{\"jsonrpc\":\"2.0\",\"method\":\"weird/notification\"}");
            write(&whole("after the noise"));
        }
        "huge" => {
            let text = "x".repeat(17 * 1_024 * 1_024);
            write(&whole(&text));
        }
        "huge-id-last" => {
            let text = "x".repeat(17 * 1_024 * 1_024);
            let content = json!([{ "type": "text", "text": text }]);
            write(&format!(
                "{{\"result\":{{\"content\":{content}}},\"jsonrpc\":\"2.0\",\"id\":{id}}}"
            ));
        }
        "deep" => {
            let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
            write(&format!(
                "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{deep}}}"
            ));
        }
        "wrong-id" => {
            write(&json!({ "jsonrpc": "2.0", "id": 999, "result": { "content": [] } }).to_string());
            write(&json!({ "jsonrpc": "2.0", "id": "x", "result": { "content": [] } }).to_string());
            write(&whole("the right one"));
        }
        "another-result" => {
            let tools = json!({ "tools": [] });
            write(&json!({ "jsonrpc": "2.0", "id": id, "result": tools }).to_string());
        }
        "unknown-block" => {
            let content = json!([{ "type": "text", "text": "a" }, { "type": "hologram", "x": 1 }]);
            let result = json!({ "content": content, "isError": true });
            write(&json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string());
        }
        "writes-errors" => {
            let line = "x".repeat(1_023);
            (0..1_024).for_each(|_| eprintln!("{line}"));
            write(&whole("after a megabyte"));
        }
        "asks" => write(&whole(&ask().to_string())),
        "like-another" => {
            let content = json!([{ "type": "text", "text": "a" }]);
            let result = json!({ "action": "accept", "content": content });
            write(&json!({ "jsonrpc": "2.0", "id": id, "result": result }).to_string());
        }
        "empty" => write(&json!({ "jsonrpc": "2.0", "id": id, "result": {} }).to_string()),
        // No response.
        _ => {}
    }
}

fn next_line() -> Option<String> {
    let mut line = String::new();
    let read = std::io::stdin().read_line(&mut line).expect("a line");
    (read > 0).then_some(line)
}

fn write(line: &str) {
    let mut output = std::io::stdout().lock();
    let written = writeln!(output, "{line}").and_then(|()| output.flush());
    // The client may be gone.
    drop(written);
}
