//! kreset: who reset a Kafka connection, and why.

pub mod event;
pub mod facts;
pub mod kernel;
