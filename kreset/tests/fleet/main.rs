//! The way from an agent to real receivers. In each test of delivery 10,000
//! events are sent, the receiver is killed and started again in the middle,
//! and so is the agent, with SIGKILL: every event has to arrive at least
//! once, whole.

mod endure;
mod otlp;
mod process;
mod prometheus;
mod rsyslog;
