//! `./prove`: the long reliability runs.

fn main() {}
