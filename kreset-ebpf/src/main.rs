//! The BPF programs of kreset: one file per hook in [`hooks`], each a short path
//! from the hook's arguments to a record on the ring buffer.
//!
//! All raw reads of kernel memory are in [`kernel`]; the entries of connections
//! are in [`connection`]; the ring buffer and the counters are in [`ring`].
#![no_std]
#![no_main]
#![allow(
    clippy::needless_pass_by_value,
    reason = "aya's macros hand each program its context by value"
)]

mod connection;
mod ended;
mod filter;
mod gave_up;
mod hooks;
mod kernel;
mod listener;
mod owners;
mod recent_resets;
mod ring;
mod settings;
mod snapshot;

/// Never runs: the verifier rejects a program from which it is reachable.
#[panic_handler]
const fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Helpers such as `bpf_probe_read_kernel` are for GPL-compatible programs.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
