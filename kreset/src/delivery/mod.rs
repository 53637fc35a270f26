//! From the pipeline to the sinks, without ever holding the pipeline up.

mod backoff;
pub mod spool;

pub use backoff::Backoff;
