//! The file and the commands of the program `toolbooth`, as a user types them.

mod booth;
mod commands;
mod faults;
mod program;
mod secrets;
mod servers;
mod tools;
mod upstreams;
