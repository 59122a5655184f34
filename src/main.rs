//! The command line of portreeve.

fn main() {}
