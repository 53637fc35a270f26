//! kreset-trace.
fn main() {}
