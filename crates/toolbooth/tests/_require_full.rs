//! Without this file, a run with a layer's feature off would skip that layer's tests and still be green.

#[cfg(not(feature = "full"))]
compile_error!("run the tests of this crate with `--features full`, or with the workspace");
