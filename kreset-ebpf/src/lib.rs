//! The parts of kreset's kernel side that know nothing of BPF: parsers of packets, what
//! sequence numbers say, and what is kept of a connection.
//!
//! The programs use them, and tests and fuzzers run the same code on a host. The programs
//! themselves are the binary of this crate.
#![no_std]
#![cfg_attr(
    target_arch = "bpf",
    expect(
        unstable_features,
        reason = "BPF's atomic addition has no other name in Rust"
    ),
    feature(asm_experimental_arch)
)]

pub mod payload;
pub mod reset;
pub mod segment;
pub mod sequence;
pub mod shared;
pub mod unanswered;
pub mod window;
