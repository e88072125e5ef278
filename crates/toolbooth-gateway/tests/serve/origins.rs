//! Requests that a page in a browser may have caused.

use http::Request;
use http_body_util::Full;

use crate::support::{Program, send};

const FILE: &str = "
[tools.greet]
command = ['echo', 'hello', '{name}']
";

#[tokio::test]
async fn page_of_another_name_or_origin_receives_403_before_anything_is_called() {
    let program = Program::start(FILE).await;
    for address in [&program.http, &program.admin] {
        let own = format!("http://{address}");
        for (header, value, allowed) in [
            ("origin", &*own, true),
            ("host", "localhost", true),
            ("host", "evil.example", false),
            ("origin", "https://evil.example", false),
            ("origin", "null", false),
            ("x-other", "evil.example", true),
        ] {
            for path in [
                "/mcp",
                "/tools",
                "/tools/greet",
                "/health",
                "/timeline/events",
            ] {
                let request = Request::get(format!("http://{address}{path}"))
                    .header(header, value)
                    .header("connection", "close")
                    .body(Full::default())
                    .expect("valid");
                if allowed && path == "/timeline/events" {
                    continue;
                }
                let (head, _) = send(request).await;
                assert_eq!(
                    head.status() != 403,
                    allowed,
                    "{address}{path} {header}: {value}"
                );
            }
        }
    }
}
