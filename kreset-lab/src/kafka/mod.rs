//! Kafka's own brokers and clients.

pub mod broker;
pub(crate) mod certificates;
pub(crate) mod client;
pub mod home;
pub(crate) mod process;
pub(crate) mod proxy;
pub mod scratch;
