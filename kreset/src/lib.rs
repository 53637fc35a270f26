//! kreset: who reset a Kafka connection, and why.

pub mod agent;
pub mod check;
pub mod classify;
pub mod cli;
pub mod clock;
pub mod community_id;
pub mod config;
pub mod confine;
pub mod delivery;
pub mod duration;
pub mod enrich;
pub mod event;
pub mod exit;
pub mod facts;
pub mod filter;
mod heap;
pub mod kernel;
#[cfg(feature = "metrics")]
pub mod metrics;
pub mod notice;
pub mod pipeline;
pub mod ports;
pub mod recording;
pub mod report;
pub mod run;
pub mod sample;
pub mod service;
pub mod sink;
pub mod summary;
#[cfg(test)]
mod test_support;
pub mod waiting;
