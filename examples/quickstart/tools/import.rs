//! Reads records from a file with one malformed line, and fails there. The records before are the
//! partial result.

use std::env::temp_dir;
use std::io;

use serde::Deserialize;
use serde_json::json;
use tokio::fs;
use tokio::io::{AsyncBufReadExt, BufReader};
use toolbooth::{BoxError, CallContext, ToolCall, ToolError, ToolOutput, tool_fn};
use tower::Service;

use crate::record::Record;
use crate::repository;

/// The number of valid lines before the malformed one.
pub(crate) const VALID_LINES: usize = 12;

#[derive(Deserialize)]
struct Args {
    /// Makes the file name unique to the call.
    number: usize,
}

pub(crate) fn import()
-> impl Service<ToolCall, Response = ToolOutput, Error = ToolError, Future: Send> + Clone {
    tool_fn("import", run)
}

async fn run(call: CallContext, args: Args) -> Result<String, BoxError> {
    Record::started(&call);
    let process = std::process::id();
    let path = temp_dir().join(format!(
        "toolbooth-quickstart-{process}-{}.csv",
        args.number
    ));
    let removed = path.clone();
    // Registered before the file exists, so that the file is removed in any case.
    Record::of(&call).on_cleanup(&call, async move |_| {
        fs::remove_file(removed).await.expect("the file exists");
    });
    fs::write(&path, export().await?).await?;

    let mut lines = BufReader::new(fs::File::open(&path).await?).lines();
    let mut records = 0_usize;
    while let Some(line) = lines.next_line().await? {
        let (file, bytes) = parse(&line)
            .ok_or_else(|| format!("line {} has no number of bytes: {line:?}", records + 1))?;
        call.emit(json!({ "file": file, "bytes": bytes }));
        records += 1;
    }
    Ok(format!("{records} records"))
}

fn parse(line: &str) -> Option<(&str, u64)> {
    let (file, bytes) = line.split_once(',')?;
    Some((file, bytes.parse().ok()?))
}

/// Returns a line with the name and size of each file. One line is truncated.
async fn export() -> io::Result<String> {
    let files = tokio::task::spawn_blocking(repository::files).await??;
    let mut text = String::new();
    for (index, file) in files.iter().enumerate() {
        let name = repository::relative(file);
        let bytes = fs::metadata(file).await?.len();
        match index {
            VALID_LINES => text += &format!("{name}\n"),
            _ => text += &format!("{name},{bytes}\n"),
        }
    }
    Ok(text)
}
