//! The `cratehold` command.

fn main() {}
