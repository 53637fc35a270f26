//! Small parts without knowledge of connections.

pub mod clock;
pub(crate) mod decompress;
pub mod duration;
pub mod escape;
pub mod exit;
#[cfg(test)]
pub(crate) mod golden;
pub(crate) mod heap;
pub mod host_names;
pub(crate) mod named;
pub(crate) mod plain;
pub mod ports;
pub mod private;
pub mod redact;
pub mod size;
pub mod stderr;
pub mod units;
