//! The kernel side of kreset: one file per hook, each a thin way from the
//! hook's arguments to a record on the ring buffer.
//!
//! All raw kernel reads are in [`kernel`]; what is remembered of a connection
//! is in [`connection`]; the ring and its loss count are in [`ring`].
#![no_std]
#![no_main]
#![allow(
    clippy::needless_pass_by_value,
    reason = "aya's macros hand each program its context by value"
)]

mod connection;
mod fentry;
mod filter;
mod kernel;
mod listener;
mod packet;
mod payload;
mod receive_reset;
mod reset;
mod ring;
mod seed;
mod seed_by_probe;
mod segment;
mod send_reset;
mod set_state;
mod settings;
mod snapshot;
mod trouble;

/// Never runs: the verifier rejects a program from which it is reachable.
#[cfg(not(test))]
#[panic_handler]
const fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Helpers such as `bpf_probe_read_kernel` are for GPL-compatible programs.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
