//! The `magnes` program.

fn main() {}
