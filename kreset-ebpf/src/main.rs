//! Kernel side.
fn main() {}
