//! Kafka's own brokers and clients.

pub mod broker;
pub mod certificates;
pub mod client;
pub mod home;
pub mod process;
pub mod proxy;
pub mod scratch;
