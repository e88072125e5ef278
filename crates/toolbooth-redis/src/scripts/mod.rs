//! The scripts: each command of a store is one, and takes effect as a whole.

use std::sync::LazyLock;

use redis::Script;

/// Declares a script of several files, after the prelude.
macro_rules! script {
    ($($file:literal),+) => {
        LazyLock::new(|| {
            let text = concat!(include_str!("prelude.lua"), $(include_str!($file)),+);
            Code::new(text)
        })
    };
}

pub(crate) static TAKE_TOKENS: LazyLock<Code> = script!("bucket.lua", "take_tokens.lua");
pub(crate) static RETURN_TOKENS: LazyLock<Code> = script!("bucket.lua", "return_tokens.lua");
pub(crate) static UPDATE_PERMITS: LazyLock<Code> = script!("update_permits.lua");
pub(crate) static HEARTBEAT: LazyLock<Code> = script!("heartbeat.lua");
pub(crate) static STATUS: LazyLock<Code> = script!("bucket.lua", "status.lua");

/// A script and its digest, by which the server knows it.
#[derive(Debug)]
pub(crate) struct Code {
    pub(crate) text: &'static str,
    pub(crate) digest: String,
}

// === impl Code ===

impl Code {
    fn new(text: &'static str) -> Self {
        Self {
            text,
            digest: Script::new(text).get_hash().to_owned(),
        }
    }
}
