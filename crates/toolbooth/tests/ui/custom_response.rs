//! A tool whose response has a type that no layer can follow.

use toolbooth::{ToolCall, checked};
use tower::service_fn;

struct Weather;

fn main() {
    let tool = service_fn(|_: ToolCall| async { Ok::<_, std::io::Error>(Weather) });
    checked::<ToolCall, _>(tool);
}
