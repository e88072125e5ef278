//! The program `toolbooth`.

fn main() {}
