//! The interface between kreset's kernel side and its loader: records on the
//! ring buffer, kernel offsets and settings injected before load, counters, sizes of
//! tables, and the rules that both apply: which RST counts, which connections are settled, and
//! what a Kafka request is.
//!
//! Every type here is plain old data without padding (checked by the
//! `zerocopy` derives), holds integers only, and is decoded by the loader as
//! untrusted bytes.
#![no_std]

pub mod counter;
pub mod kafka;
pub mod offsets;
pub mod ports;
pub mod process;
pub mod record;
pub mod sequence;
pub mod settings;
pub mod settled;
pub mod tables;
