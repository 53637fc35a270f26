//! The way from an agent to real receivers. In each test of delivery 10,000
//! events are sent, the receiver is killed and started again in the middle,
//! and so is the agent, with SIGKILL: every event has to arrive at least
//! once, whole.
#![expect(
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test that meets what it did not expect has to fail, and says what it measured"
)]

mod certificates;
#[cfg(feature = "all-receivers")]
mod collector;
mod contrib;
#[cfg(feature = "all-receivers")]
mod correlate;
mod endure;
mod http;
#[cfg(feature = "all-receivers")]
mod kafka;
#[cfg(feature = "all-receivers")]
mod opensearch;
mod otlp;
mod otlp_server;
#[cfg(feature = "all-receivers")]
mod outage;
#[cfg(feature = "all-receivers")]
mod own_connections;
mod process;
mod prometheus;
#[cfg(feature = "all-receivers")]
mod real;
mod rsyslog;
