//! The parts of the servers and of the program with a collector, which the tests of this workspace
//! use as well.
//!
//! The examples are the other files and folders beside this file.

#[cfg(feature = "otlp")]
pub mod otlp;
#[cfg(feature = "servers")]
pub mod servers;
