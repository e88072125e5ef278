//! Remote servers as tools: in this process over HTTP, and as programs.

mod calls;
mod upstream;
