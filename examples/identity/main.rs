//! Identity.
fn main() {}
