//! The parts of the two servers, which the tests of this workspace use as well.
//!
//! The examples are the other files and folders beside this file.

#[cfg(feature = "servers")]
pub mod servers;
