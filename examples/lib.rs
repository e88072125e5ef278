//! The programs of this package are in the folders beside this one, one for each question that a user asks.
//! What the two servers are made of is here, so that the tests of this workspace run the very same.

#[cfg(feature = "servers")]
pub mod servers;
