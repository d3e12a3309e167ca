//! Git history.
fn main() {}
