//! A function that takes the context last.

use toolbooth::{CallContext, tool_fn};

async fn search(_: String, _: CallContext) -> Result<String, std::io::Error> {
    Ok("found".to_owned())
}

fn main() {
    tool_fn("search", search);
}
