//! Fails a run without all features, which would skip the tests of some layers and still pass.

#[cfg(not(feature = "full"))]
compile_error!("run the tests of this crate with `--features full`, or with the workspace");
