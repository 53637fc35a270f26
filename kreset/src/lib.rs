//! kreset: who reset a Kafka connection, and why.

pub mod kernel;
