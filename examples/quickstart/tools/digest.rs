//! Computes the SHA-256 digests of many files, several at a time.

use std::fmt::Write;
use std::io;
use std::path::Path;

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use tokio::task::spawn_blocking;
use toolbooth::{CallContext, ToolCall, ToolError, ToolOutput, tool_fn};
use tower::Service;

use crate::record::Record;
use crate::repository;

/// The number of files that a call reads concurrently.
const AT_ONCE: usize = 8;

#[derive(Deserialize)]
struct Args {
    /// The extension of the files.
    extension: String,
}

pub(crate) fn digest()
-> impl Service<ToolCall, Response = ToolOutput, Error = ToolError, Future: Send> + Clone {
    tool_fn("digest", run)
}

async fn run(call: CallContext, args: Args) -> io::Result<Map<String, Value>> {
    Record::started(&call);
    let files = spawn_blocking(move || repository::files_with(&args.extension)).await??;
    stream::iter(files)
        .map(async |file| spawn_blocking(move || digest_of(&file)).await?)
        .buffer_unordered(AT_ONCE)
        .inspect_ok(|(file, digest)| call.emit(format!("{digest}  {file}")))
        .map_ok(|(file, digest)| (file, Value::from(digest)))
        .try_collect()
        .await
}

fn digest_of(file: &Path) -> io::Result<(String, String)> {
    let digest = Sha256::digest(std::fs::read(file)?);
    let mut hex = String::with_capacity(2 * digest.len());
    for byte in digest {
        write!(hex, "{byte:02x}").map_err(io::Error::other)?;
    }
    Ok((repository::relative(file), hex))
}
