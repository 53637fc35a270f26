//! The parts of kreset's kernel side that know nothing of BPF: parsers of packets, and what
//! sequence numbers say.
//!
//! The programs use them, and tests and fuzzers run the same code on a host. The programs
//! themselves are the binary of this crate.
#![no_std]

pub mod payload;
pub mod reset;
pub mod segment;
pub mod sequence;
pub mod window;
