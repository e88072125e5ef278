//! The programs of this package are in the folders beside this one, one for each question that a user asks.
