//! What crosses the boundary between kreset's kernel side and its loader:
//! the records on the ring buffer, the kernel offsets injected before load,
//! the settings that the kernel filters by, and the bounds by which both know a
//! request. Nothing else.
//!
//! Every type here is plain old data without padding (checked by the
//! `zerocopy` derives), holds integers only, and is decoded by the loader as
//! untrusted bytes.
#![no_std]

pub mod counter;
pub mod kafka;
pub mod offsets;
pub mod ports;
pub mod record;
pub mod settings;
