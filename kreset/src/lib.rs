//! kreset: who reset a Kafka connection, and why.

pub mod capture;
pub mod classify;
pub mod cli;
pub mod config;
pub mod correlate;
pub mod delivery;
pub mod event;
pub mod facts;
pub mod kernel;
pub mod probe;
pub mod report;
pub mod run;
pub mod sink;
pub mod util;
