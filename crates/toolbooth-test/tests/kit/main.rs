//! The test kit itself: scripts, faults, assertions, factories and the configurable tools.

mod assertions;
mod calls;
mod faults;
mod scripts;
mod tools;
