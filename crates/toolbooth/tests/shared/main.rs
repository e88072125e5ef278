//! Limits that several processes share, with a store in memory on a paused clock.

mod away;
<<<<<<< HEAD
mod faulty;
mod keys;
=======
mod charges;
>>>>>>> c86269a (shared: bound the debt of a bucket in a store)
mod permits;
mod simulation;
mod support;
mod tokens;
