//! Reads records from a file of which one line is malformed: it fails half way, and what it had
//! read by then is kept.

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

/// How many good lines come before the malformed one.
pub(crate) const GOOD_LINES: usize = 12;

#[derive(Deserialize)]
struct Args {
    /// Tells the files of calls apart.
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
    // Registered before there is a file, so that there is no moment at which it would be left behind.
    Record::of(&call).on_cleanup(&call, async move |_| {
        fs::remove_file(removed).await.expect("it was written");
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

/// Each file of the repository with its size; one line was cut off on its way.
async fn export() -> io::Result<String> {
    let files = tokio::task::spawn_blocking(repository::files).await??;
    let mut text = String::new();
    for (index, file) in files.iter().enumerate() {
        let name = repository::shown(file);
        let bytes = fs::metadata(file).await?.len();
        match index {
            GOOD_LINES => text += &format!("{name}\n"),
            _ => text += &format!("{name},{bytes}\n"),
        }
    }
    Ok(text)
}
