use std::sync::Arc;

use toolbooth::{ToolError, tool_fn};

fn main() {
    let state = Arc::new(());
    tool_fn("t", async move |_: ()| {
        drop(state.clone());
        Ok::<_, ToolError>(())
    });
}
